// SPDX-License-Identifier: Apache-2.0

package spead

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
)

// Heap is a finished heap, as an [ItemGroup] takes it; *heap.Heap is one.
type Heap interface {
	Flavour() Flavour
	Items() []RawItem
	// Lease is another number after Release. So whoever has noted it can tell
	// that the heap's memory holds something else by now.
	Lease() uint64
	// Release gives the heap's memory back.
	Release()
}

// ItemGroup makes named, typed values of the heaps of one stream: it remembers
// what descriptors have said, and the last value of each item.
//
//	var group spead.ItemGroup
//	for each heap {
//		updated, err := group.Update(h)
//		…
//		h.Release()
//	}
//
// The rules are those of spead2. A descriptor that is the same as before changes
// nothing. Another one for the same id or the same name takes the place of what had
// either; the new item has no value, and a higher version than those it replaces.
// Each value raises its item's version by one. Items that nothing describes are
// kept as well, by their id, as bytes or as an unsigned number.
//
// # How long values are valid
//
// An immediate value, and one that is copied, is valid until the next value of its
// item. Any other lies in its heap. So without Hold it is valid until that heap's
// Release, which is the caller's; [Item.HasValue] is false after it, and
// [Item.Value] panics.
//
// With Hold the group takes each heap over from Update, and releases it when the
// last of its values has been replaced, or at once if it has none. Then the caller
// never does, and a value is valid until the Update that replaces it, or
// [ItemGroup.Release]. Hold is how many heaps may be held: 1 for a stream whose items
// all come in every heap, and one more for each item that comes more rarely.
// CopyBelow is for those: small values are copied, and hold nothing. If a heap more
// would be held, the oldest is released, and what lay in it has no value any more: no
// sender can keep heaps from the pool. The consumer slack
// (speadx.Config.ConsumerHeaps) has to be one more than Hold, as the new heap is there
// while the old ones still are.
//
// Nothing is allocated by an Update whose heap brings the descriptors it had
// before, byte for byte, and values of the same shapes. A sender cannot make a group
// grow without bounds: see MaxItems.
//
// The zero value is ready. A group belongs to one goroutine.
type ItemGroup struct {
	// Compat makes up for the defects of old senders.
	Compat Compat
	// Hold is how many heaps that values lie in the group keeps, at most. 0: it keeps
	// none, and the caller releases them.
	Hold int
	// CopyBelow makes values of fewer bytes than this be copied into memory of
	// the item's own: they do not hold a heap, and stay valid until they are
	// replaced.
	CopyBelow int
	// MaxItems bounds the items that are remembered. Default: 4096.
	MaxItems int

	byID   map[uint64]*Item
	byName map[string]*Item

	described []*Item // by the heap before, in its order
	updated   []*Item
	errs      []error
	failures  int // errors of this Update, those not kept included
	round     uint64
	bytes     int         // of all descriptors
	held      []*heldHeap // the oldest first
	spare     []*heldHeap // not in use
}

// heldHeap is a heap that items have values in.
type heldHeap struct {
	heap Heap
	refs int
}

const (
	defaultMaxItems = 4096
	// itemBytes is how many bytes of descriptors there may be for each item, on
	// the average of MaxItems.
	itemBytes = 1 << 10
)

// maxErrors is how many errors of one heap are told apart.
const maxErrors = 16

// ItemError says what is wrong with one item of a heap.
type ItemError struct {
	ID    uint64
	Name  string // "" if it has none
	Field string // of the descriptor, or "value"
	Err   error
}

func (e *ItemError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("item %#x: %s: %v", e.ID, e.Field, e.Err)
	}
	return fmt.Sprintf("item %#x (%s): %s: %v", e.ID, e.Name, e.Field, e.Err)
}

// Unwrap is the reason.
func (e *ItemError) Unwrap() error { return e.Err }

// Item is one item of an [ItemGroup]: what its descriptor says, and its last
// value. It belongs to the goroutine of its group.
type Item struct {
	id      uint64
	desc    *Descriptor // nil if nothing describes it
	layout  Layout
	known   int // elements over the dimensions that are not variable
	varying int // the variable dimension, -1: there is none
	rawDesc []byte
	version uint64
	gone    bool // another has its place

	value   Value
	arr     *array // of the last value that had one: kept for the next
	raw     []byte
	word    [8]byte // an immediate
	copied  []byte  // a copied value
	anyType *Type   // of what nothing describes: of the last value, kept for the next
	round   uint64  // of the last Update that brought a value

	heap  Heap // that raw lies in, nil if in the item
	lease uint64
	held  *heldHeap
}

// ID is the item's id.
func (it *Item) ID() uint64 { return it.id }

// Name is the item's name, "" if nothing describes it.
func (it *Item) Name() string {
	if it.desc == nil {
		return ""
	}
	return it.desc.Name
}

// Descriptor is what the sender says of the item, nil if it has said nothing. It
// must not be changed.
func (it *Item) Descriptor() *Descriptor { return it.desc }

// Layout is how the item's values are read. Without a descriptor it is empty.
func (it *Item) Layout() *Layout { return &it.layout }

// Version rises by one with each value, and when the item is described anew.
func (it *Item) Version() uint64 { return it.version }

// HasValue reports whether a value has come since the item was described, the last one
// made sense, and it can still be used.
func (it *Item) HasValue() bool { return it.value.Valid() && !it.stale() }

// Value is the item's last value; the zero Value if there was none. It panics if
// the value's heap has been released: see [ItemGroup].
func (it *Item) Value() Value {
	it.checkLease()
	return it.value
}

// Raw is the bytes of the item's last value as they came: of an immediate item as
// many as a value of the flavour has, big-endian. It panics like Value.
func (it *Item) Raw() []byte {
	it.checkLease()
	return it.raw
}

// stale reports whether the memory of the value holds something else by now.
func (it *Item) stale() bool { return it.heap != nil && it.heap.Lease() != it.lease }

func (it *Item) checkLease() {
	if it.stale() {
		panic(fmt.Sprintf("spead: item %#x (%s): the heap of its value has been released", it.id, it.Name()))
	}
}

// ByID is the item with that id, nil if there is none.
func (g *ItemGroup) ByID(id uint64) *Item { return g.byID[id] }

// ByName is the item with that name, nil if there is none.
func (g *ItemGroup) ByName(name string) *Item { return g.byName[name] }

// Len is how many items there are.
func (g *ItemGroup) Len() int { return len(g.byID) }

// All iterates over the items by rising id.
func (g *ItemGroup) All() iter.Seq[*Item] {
	return func(yield func(*Item) bool) {
		for _, id := range slices.Sorted(maps.Keys(g.byID)) {
			if !yield(g.byID[id]) {
				return
			}
		}
	}
}

// Described are the items that the heap of the last Update had descriptors of, new
// or repeated, in its order. The slice is valid until the next Update.
func (g *ItemGroup) Described() []*Item { return g.described }

// Update takes the descriptors and then the values of a heap. It returns the
// items that got a value, each once, in the order of the heap; the slice is valid
// until the next Update. Of an item that stands twice the last value counts.
//
// Of an incomplete heap only what came as a whole is taken: immediate items,
// and those addressed ones of which no byte is missing. The others keep the values
// they had.
//
// The error joins an [*ItemError] for each item that makes no sense, up to 16; all
// others are taken nevertheless. An item with a wrong value has no value from then
// on. One with a wrong descriptor is described by nothing, since what was said of it
// before holds no longer.
func (g *ItemGroup) Update(h Heap) ([]*Item, error) {
	if g.byID == nil {
		g.byID, g.byName = make(map[uint64]*Item), make(map[string]*Item)
	}
	if g.MaxItems == 0 {
		g.MaxItems = defaultMaxItems
	}
	g.round++
	g.updated, g.errs, g.failures = g.updated[:0], nil, 0
	items := h.Items()
	g.describe(items)
	hold := g.hold(h)
	for i := range items {
		if r := &items[i]; r.ID > IDStreamCtrl && !r.Missing {
			g.set(r, h, hold)
		}
	}
	g.letGo(hold)
	for len(g.held) > g.Hold {
		g.drop(g.held[0])
	}
	if g.failures > len(g.errs) {
		g.errs = append(g.errs, fmt.Errorf("and %d errors more", g.failures-len(g.errs)))
	}
	if len(g.errs) > 0 {
		return g.updated, fmt.Errorf("spead: %w", errors.Join(g.errs...))
	}
	return g.updated, nil
}

// Release gives back all heaps that are held, and forgets the values. What
// descriptors said stays.
func (g *ItemGroup) Release() {
	for _, it := range g.byID {
		g.clear(it)
	}
}

func (g *ItemGroup) fail(id uint64, name, field string, err error) {
	if g.failures++; len(g.errs) < maxErrors {
		g.errs = append(g.errs, &ItemError{ID: id, Name: name, Field: field, Err: err})
	}
}

// describe takes the descriptors of a heap.
func (g *ItemGroup) describe(items []RawItem) {
	before := g.described
	n := 0 // descriptors taken
	for i := range items {
		r := &items[i]
		if r.ID != IDDescriptor || r.Immediate || r.Missing {
			continue
		}
		// A sender repeats its descriptors in one order: mostly this one is that
		// of the same place in the heap before.
		if n < len(before) && !before[n].gone && slices.Equal(before[n].rawDesc, r.Data) {
			n++
			continue
		}
		it := g.descriptor(r)
		if it == nil {
			continue
		}
		if n < len(before) {
			before[n] = it
		} else {
			before = append(before, it)
		}
		n++
	}
	clear(before[n:])
	g.described = before[:n]
}

// descriptor takes one descriptor and returns its item, nil if it makes no sense.
func (g *ItemGroup) descriptor(r *RawItem) *Item {
	d, err := parseDescriptor(r.Data, g.Compat)
	if d == nil {
		g.fail(IDDescriptor, "", fmt.Sprintf("descriptor at offset %d of the heap", r.Offset), err)
		return nil
	}
	it := &Item{id: d.ID, desc: d, version: 1}
	if err == nil {
		it.layout, err = d.layout()
	}
	if err == nil {
		var ok bool
		if it.known, it.varying, ok = it.layout.known(); !ok {
			err = fmt.Errorf("shape: %v has more elements than a heap can hold", it.layout.Shape)
		}
	}
	old, namesake := g.byID[d.ID], g.byName[d.Name]
	if err == nil && old != nil && old.desc != nil && old.same(it) {
		// The bytes are kept for the next comparison, if there is room for them.
		if more := len(r.Data) - len(old.rawDesc); g.bytes+more <= g.MaxItems*itemBytes {
			g.bytes += more
			old.rawDesc = append(old.rawDesc[:0], r.Data...)
		}
		return old
	}
	if old != nil {
		it.version = old.version + 1
		g.remove(old)
	}
	if err != nil {
		g.fail(d.ID, d.Name, "descriptor", err)
		if old != nil { // as one that nothing describes, so that its version goes on
			g.byID[d.ID] = &Item{id: d.ID, version: it.version, varying: -1}
		}
		return nil
	}
	if namesake != nil && namesake != old {
		it.version = max(it.version, namesake.version+1)
		g.remove(namesake)
	}
	switch {
	case len(g.byID) >= g.MaxItems:
		err = fmt.Errorf("there are %d items already (MaxItems)", len(g.byID))
	case g.bytes+len(r.Data) > g.MaxItems*itemBytes:
		err = fmt.Errorf("there are %d bytes of descriptors already (MaxItems allows %d)", g.bytes, g.MaxItems*itemBytes)
	}
	if err != nil {
		g.fail(d.ID, d.Name, "descriptor", err)
		return nil
	}
	it.rawDesc = slices.Clone(r.Data)
	g.bytes += len(it.rawDesc)
	g.byID[d.ID], g.byName[d.Name] = it, it
	return it
}

// same reports whether two items are described alike.
func (it *Item) same(o *Item) bool {
	a, b := it.desc, o.desc
	return a.Name == b.Name && a.Description == b.Description && a.DType == b.DType &&
		slices.Equal(a.Format, b.Format) && slices.Equal(a.Shape, b.Shape)
}

// remove takes an item out of the group. What stands for it in a list of items is
// known by gone.
func (g *ItemGroup) remove(it *Item) {
	if it == nil {
		return
	}
	g.clear(it)
	it.gone = true
	g.bytes -= len(it.rawDesc)
	delete(g.byID, it.id)
	if it.desc != nil {
		delete(g.byName, it.desc.Name)
	}
}

// set takes one value.
func (g *ItemGroup) set(r *RawItem, h Heap, hold *heldHeap) {
	it := g.byID[r.ID]
	if it == nil {
		if len(g.byID) >= g.MaxItems {
			g.fail(r.ID, "", "value", fmt.Errorf("there are %d items already (MaxItems)", g.MaxItems))
			return
		}
		it = &Item{id: r.ID, varying: -1}
		g.byID[r.ID] = it
	}
	g.clear(it)
	switch {
	case r.Immediate:
		n := h.Flavour().AddrBits() / 8
		for i := range n {
			it.word[i] = byte(r.Value >> (8 * (n - 1 - i)))
		}
		it.raw = it.word[:n]
	case len(r.Data) < g.CopyBelow:
		it.copied = append(it.copied[:0], r.Data...)
		it.raw = it.copied
	default:
		it.raw, it.heap, it.lease = r.Data, h, h.Lease()
		if hold != nil {
			hold.refs++
			it.held = hold
		}
	}
	it.version++
	if err := it.interpret(r.Immediate); err != nil {
		g.fail(it.id, it.Name(), "value", err)
		g.clear(it)
		return
	}
	if it.round != g.round {
		it.round = g.round
		g.updated = append(g.updated, it)
	}
}

// interpret makes the value of the raw bytes.
func (it *Item) interpret(immediate bool) error {
	raw := it.raw
	if it.desc == nil {
		kind := KindRaw
		if immediate {
			kind = KindUint
		}
		// An older value keeps its type: this one gets another if it differs.
		if it.anyType == nil || it.anyType.Kind != kind || it.anyType.Bits != 8*len(raw) {
			it.anyType = &Type{Kind: kind, Bits: 8 * len(raw)}
			it.arr = newArray(nil, OrderC, 1, it.anyType.Bits)
		}
		it.value = Value{typ: it.anyType, data: raw, arr: it.arr}
		return nil
	}
	l := &it.layout
	most := 8 * len(raw) / l.Type.Bits
	n, variable := it.known, 0
	if it.varying >= 0 {
		if it.known > 0 {
			variable = most / it.known
		}
		n = variable * it.known
	}
	if n > most {
		return fmt.Errorf("%d bytes are %d elements of %v, and the shape %v needs %d", len(raw), most, &l.Type, l.Shape, n)
	}
	// An immediate is filled up at its head.
	data := raw
	if size := (n*l.Type.Bits + 7) / 8; immediate {
		data = raw[len(raw)-size:]
	}
	if it.arr == nil || it.varying >= 0 && it.arr.shape[it.varying] != variable {
		shape := slices.Clone(l.Shape)
		if it.varying >= 0 {
			shape[it.varying] = variable
		}
		it.arr = newArray(shape, l.Order, n, l.Type.Bits)
	}
	v := Value{typ: &l.Type, data: data, arr: it.arr, outer: len(l.Shape)}
	if err := v.check(); err != nil {
		return err
	}
	it.value = v
	return nil
}

// clear takes an item's value away.
func (g *ItemGroup) clear(it *Item) {
	it.value, it.raw, it.heap = Value{}, nil, nil
	if held := it.held; held != nil {
		it.held = nil
		g.letGo(held)
	}
}

// hold takes a heap over, if the group does that.
func (g *ItemGroup) hold(h Heap) *heldHeap {
	if g.Hold <= 0 {
		return nil
	}
	n := len(g.spare)
	if n == 0 {
		g.spare, n = append(g.spare, &heldHeap{}), 1
	}
	held := g.spare[n-1]
	g.spare = g.spare[:n-1]
	held.heap, held.refs = h, 1 // that of Update itself
	g.held = append(g.held, held)
	return held
}

// letGo takes one user off a heap, and releases it if that was the last.
func (g *ItemGroup) letGo(held *heldHeap) {
	if held == nil {
		return
	}
	if held.refs--; held.refs == 0 {
		held.heap.Release()
		held.heap = nil
		i := slices.Index(g.held, held)
		g.held = slices.Delete(g.held, i, i+1)
		g.spare = append(g.spare, held)
	}
}

// drop takes the values in a heap away, and so releases it.
func (g *ItemGroup) drop(held *heldHeap) {
	for _, it := range g.byID {
		if it.held == held {
			g.clear(it)
		}
	}
}
