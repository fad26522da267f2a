// SPDX-License-Identifier: Apache-2.0

package spead_test

import (
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/spead"
)

// The tests named TestSpead2… hold what docs/compatibility.md says, one behaviour
// of spead2's receiver each: that it is the same here, or what is done instead. Their
// comments give the section of that document.

// §1.3: as in spead2, a packet is refused for the first reason that holds, in this order.
// Each of these packets has all the defects behind its own, too.
func TestSpead2OrderOfRejects(t *testing.T) {
	const f = spead.Flavour48
	ptrs := func(ptrs ...spead.Pointer) (b []byte) {
		for _, p := range ptrs {
			b = binary.BigEndian.AppendUint64(b, uint64(p))
		}
		return b
	}
	missing := ptrs(f.Immediate(1, 1), f.Immediate(2, 5), f.Immediate(4, 100))
	tooLong := ptrs(f.Immediate(1, 1), f.Immediate(2, 5), f.Immediate(3, 0), f.Immediate(4, 100))
	beyond := ptrs(f.Immediate(1, 1), f.Immediate(2, 5), f.Immediate(3, 3), f.Immediate(4, 3))
	for _, tt := range []struct {
		packet []byte
		want   spead.Reason
	}{
		{[]byte("magic!!"), spead.TooShort},
		{[]byte("\x53\x03\x00\x06\x00\x00\xff\xff"), spead.BadMagic},
		{[]byte("\x53\x04\x00\x06\x00\x00\xff\xff"), spead.BadFlavour},
		{[]byte("\x53\x04\x03\x06\x00\x00\xff\xff"), spead.BadFlavour},
		{append([]byte("\x53\x04\x02\x06\x00\x00\x00\x04"), missing...), spead.ItemsOverflow},
		{append([]byte("\x53\x04\x02\x06\x00\x00\x00\x03"), missing...), spead.MissingItems},
		{append([]byte("\x53\x04\x02\x06\x00\x00\x00\x04"), tooLong...), spead.PayloadOverflow},
		{append(append([]byte("\x53\x04\x02\x06\x00\x00\x00\x04"), beyond...), 1, 2, 3), spead.HeapOverflow},
	} {
		var p spead.Packet
		if got := p.Decode(tt.packet, len(tt.packet)); got != tt.want {
			t.Errorf("%x: %v, want %v", tt.packet, got, tt.want)
		}
	}
}

// §1.3: as in spead2, the items 1 to 4 have to be immediate to count; of one that stands
// twice the last does.
func TestSpead2PacketItems(t *testing.T) {
	const f = spead.Flavour48
	all := []spead.Pointer{f.Immediate(1, 7), f.Immediate(2, 100), f.Immediate(3, 20), f.Immediate(4, 10)}
	decode := func(ptrs ...spead.Pointer) (p spead.Packet, r spead.Reason) {
		b := packetOf(f, 10, ptrs...)
		r = p.Decode(b, len(b))
		return p, r
	}
	for i, want := range []spead.Reason{spead.MissingItems, spead.OK, spead.MissingItems, spead.MissingItems} {
		ptrs := slices.Clone(all)
		ptrs[i] = f.Addressed(f.ID(ptrs[i]), f.Value(ptrs[i]))
		p, r := decode(ptrs...)
		if r != want {
			t.Errorf("item %d with an address: %v, want %v", i+1, r, want)
		}
		if r == spead.OK && p.HeapLength != -1 {
			t.Errorf("an addressed heap length gives the length %d", p.HeapLength)
		}
	}
	twice := append([]spead.Pointer{f.Immediate(1, 8), f.Immediate(2, 15), f.Immediate(3, 99), f.Immediate(4, 5000)}, all...)
	if p, r := decode(twice...); r != spead.OK || p.Cnt != 7 || p.HeapLength != 100 || p.PayloadOffset != 20 || p.PayloadLength != 10 {
		t.Errorf("items that stand twice: %v, %+v", r, p)
	}
}

// §1.3: as in spead2, the flavour is read from each packet, and all seven are accepted.
func TestSpead2FlavourOfEachPacket(t *testing.T) {
	var p spead.Packet
	for idBytes := range 256 {
		for addrBytes := range 256 {
			b := packetOf(48, 0)
			b[2], b[3] = byte(idBytes), byte(addrBytes)
			want := spead.BadFlavour
			if idBytes >= 1 && addrBytes >= 1 && idBytes+addrBytes == 8 {
				want = spead.MissingItems
			}
			if r := p.Decode(b, len(b)); r != want {
				t.Errorf("widths %d and %d: %v, want %v", idBytes, addrBytes, r, want)
			}
		}
	}
}

// §1.5: as in spead2, an immediate item is there both as a number and as the H/8 bytes that
// it has on the wire.
func TestSpead2ImmediateAsBytes(t *testing.T) {
	for _, f := range allFlavours() {
		var g spead.ItemGroup
		value := 0x0102030405060708 & f.MaxValue()
		id := min(0x40, f.MaxID())
		h := &memHeap{flavour: f, items: spead.AppendItems(nil, f, []spead.Pointer{f.Immediate(id, value)}, nil)}
		if it := h.items[0]; !it.Immediate || it.Value != value {
			t.Errorf("%v: item %+v", f, it)
		}
		update(t, &g, h)
		want := binary.BigEndian.AppendUint64(nil, value)[8-f.AddrBits()/8:]
		if got := g.ByID(id).Raw(); !slices.Equal(got, want) {
			t.Errorf("%v: bytes %x, want %x", f, got, want)
		}
	}
}

// embed makes a descriptor of pointers and payload, of whatever kind.
func embed(f spead.Flavour, payload string, ptrs ...spead.Pointer) spead.OutItem {
	n := uint64(len(payload))
	all := append([]spead.Pointer{f.Immediate(1, 1), f.Immediate(2, n), f.Immediate(3, 0), f.Immediate(4, n)}, ptrs...)
	b := packetOf(f, 0, all...)
	return spead.OutItem{ID: spead.IDDescriptor, Data: append(b, payload...)}
}

// §1.8: as in spead2, a descriptor without an id, with the id 0 or with one that is no
// immediate item describes nothing. spead2 logs it; here it is an error of that item.
func TestSpead2DescriptorWithoutID(t *testing.T) {
	const f = spead.Flavour48
	format := "u\x00\x08"
	for name, id := range map[string][]spead.Pointer{
		"none":      nil,
		"0":         {f.Immediate(spead.IDDescriptorID, 0)},
		"addressed": {f.Addressed(spead.IDDescriptorID, 0)},
	} {
		var g spead.ItemGroup
		_, err := g.Update(received(t, f, embed(f, "name"+format,
			append(id, f.Addressed(spead.IDDescriptorName, 0), f.Addressed(spead.IDDescriptorFormat, 4))...)))
		if g.Len() != 0 || err == nil || !strings.Contains(err.Error(), "no id") {
			t.Errorf("%s: %d items, error %v", name, g.Len(), err)
		}
	}
}

// §1.8: as in spead2, a descriptor need not tell its length, but has to be there from its
// beginning to where its items reach.
func TestSpead2DescriptorWithoutLength(t *testing.T) {
	const f = spead.Flavour48
	for _, tt := range []struct {
		name   string
		offset uint64
		reach  uint64
		ok     bool
	}{{"whole", 0, 4, true}, {"beginning lacks", 1, 4, false}, {"end lacks", 0, 8, false}} {
		b := packetOf(f, 0, f.Immediate(1, 1), f.Immediate(3, tt.offset), f.Immediate(4, 7),
			f.Immediate(spead.IDDescriptorID, 0x1000), f.Addressed(spead.IDDescriptorName, 0), f.Addressed(spead.IDDescriptorFormat, tt.reach))
		d, err := spead.ParseDescriptor(append(b, "nameu\x00\x08"...), 0)
		if (err == nil) != tt.ok || tt.ok && (d.Name != "name" || len(d.Format) != 1) {
			t.Errorf("%s: %+v, error %v", tt.name, d, err)
		}
	}
}

// §1.8: as in spead2, what is unknown in a descriptor is passed over, a name can be
// immediate, and what is left over of format and shape is no field and no dimension.
func TestSpead2OddDescriptors(t *testing.T) {
	const f = spead.Flavour48
	payload := "unknown" + "u\x00\x08" + "i\x00\x10" + "u\x00" + "\x00\x00\x00\x00\x00\x00\x03" + "\x01\x00\x00\x00\x00\x00\x63" + "\x00\x00"
	d, err := spead.ParseDescriptor(embed(f, payload,
		f.Immediate(spead.IDDescriptorID, 0x1000), f.Immediate(spead.IDDescriptorName, 0x73616d706c65), // "sample"
		f.Addressed(0x3fff, 0), f.Immediate(0x3ffe, 1),
		f.Addressed(spead.IDDescriptorFormat, 7), f.Addressed(spead.IDDescriptorShape, 15)).Data, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := spead.Descriptor{ID: 0x1000, Name: "sample", Format: []spead.FormatField{{Type: 'u', Bits: 8}, {Type: 'i', Bits: 16}}, Shape: []int64{3, -1}}
	if !reflect.DeepEqual(*d, want) {
		t.Errorf("descriptor %+v, want %+v", *d, want)
	}
}

// §1.8: as in spead2, a numpy type overrides format and shape, and brings its own byte
// order; a format's numbers are big-endian, and packed.
func TestSpead2DTypeOverridesFormat(t *testing.T) {
	const f = spead.Flavour48
	for _, tt := range []struct {
		dtype string
		raw   []byte
		want  any
	}{
		{"", []byte{0x12, 0x34, 0x56}, []any{uint64(0x123), uint64(0x456)}},
		{"{'descr': '<u2', 'fortran_order': False, 'shape': ()}", []byte{0x12, 0x34, 0x56}, uint64(0x3412)},
		{"{'descr': '>u2', 'fortran_order': False, 'shape': ()}", []byte{0x12, 0x34, 0x56}, uint64(0x1234)},
	} {
		var g spead.ItemGroup
		d := format(0x1000, "x", "u12", 2)
		d.DType = tt.dtype
		update(t, &g, received(t, f, described(t, d, f), spead.OutItem{ID: 0x1000, Data: tt.raw}))
		if got := g.ByID(0x1000).Value().Any(); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("dtype %q: %v, want %v", tt.dtype, got, tt.want)
		}
	}
}

// §1.8: a difference. spead2 wants names and descriptions in ASCII; here UTF-8 is accepted.
func TestSpead2NamesInUTF8(t *testing.T) {
	const f = spead.Flavour48
	var g spead.ItemGroup
	d := format(0x1000, "Antennenhöhe", "u8")
	d.Description = "in µm"
	update(t, &g, received(t, f, described(t, d, f), item(t, d, 7)))
	if it := g.ByName("Antennenhöhe"); it == nil || it.Descriptor().Description != "in µm" || it.Value().At(0) != uint64(7) {
		t.Errorf("item %+v", it)
	}
}

// §1.8: a difference. Numbers have at most 64 bits; in spead2 a format may say any width.
func TestSpead2NumbersOf64Bits(t *testing.T) {
	const f = spead.Flavour48
	for fields, ok := range map[string]bool{"u64": true, "i64": true, "u65": false, "i128": false, "b64": true, "b65": false} {
		var g spead.ItemGroup
		_, err := g.Update(received(t, f, described(t, format(0x1000, "x", fields), f)))
		if (err == nil) != ok || g.Len() > 0 != ok {
			t.Errorf("%s: %d items, error %v", fields, g.Len(), err)
		}
	}
}

// §1.8: a difference. Of numpy's types the long doubles are refused, which differ between
// machines. As in spead2, objects and elements of no size are refused, a numpy shape has no
// variable dimension, and nothing but the three keys may stand in a header.
func TestSpead2TypesRefused(t *testing.T) {
	const f = spead.Flavour48
	for _, header := range []string{
		"{'descr': '<f16', 'fortran_order': False, 'shape': ()}",
		"{'descr': '<c32', 'fortran_order': False, 'shape': ()}",
		"{'descr': '|O', 'fortran_order': False, 'shape': ()}",
		"{'descr': [('a', '<u2'), ('b', '|O')], 'fortran_order': False, 'shape': ()}",
		"{'descr': '|S0', 'fortran_order': False, 'shape': ()}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (None,)}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
		"{'descr': '<f4', 'fortran_order': 0, 'shape': ()}",
		"{'descr': '<f4', 'fortran_order': False}",
		"{'descr': '<f4', 'fortran_order': False, 'shape': (), 'more': 1}",
		"__import__('os')",
	} {
		var g spead.ItemGroup
		_, err := g.Update(received(t, f, described(t, &spead.Descriptor{ID: 0x1000, Name: "x", DType: header}, f)))
		if g.Len() != 0 || err == nil || !strings.Contains(err.Error(), "dtype") {
			t.Errorf("%s: %d items, error %v", header, g.Len(), err)
		}
	}
}

// §1.9: as in spead2's bug compatibility, each of the three defects of old PySPEAD can be
// made up for; bytes as PySPEAD sends them.
func TestSpead2PySPEADDescriptors(t *testing.T) {
	const f = spead.Flavour40
	id, name := f.Immediate(spead.IDDescriptorID, 0x1000), f.Addressed(spead.IDDescriptorName, 0)
	// A field of 4 bytes, which it has in 64-40 anyway, and dimensions of 8, not 6: the
	// first is variable, by bit 1 of its flags.
	old := "x" + "u\x00\x00\x08" + "\x02\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x05"
	d, err := spead.ParseDescriptor(embed(f, old, id, name, f.Addressed(spead.IDDescriptorFormat, 1), f.Addressed(spead.IDDescriptorShape, 5)).Data,
		spead.CompatPySPEAD)
	if err != nil || !slices.Equal(d.Shape, []int64{-1, 5}) || !slices.Equal(d.Format, []spead.FormatField{{Type: 'u', Bits: 8}}) {
		t.Errorf("descriptor %+v, error %v", d, err)
	}
	// The widths alone: in 64-48 a field would take 3 bytes.
	const f48 = spead.Flavour48
	d, err = spead.ParseDescriptor(embed(f48, "xi\x00\x00\x10u\x00\x00\x08"+"\x01\x00\x00\x00\x00\x00\x00\x00",
		f48.Immediate(spead.IDDescriptorID, 0x1000), f48.Addressed(spead.IDDescriptorName, 0),
		f48.Addressed(spead.IDDescriptorFormat, 1), f48.Addressed(spead.IDDescriptorShape, 9)).Data, spead.CompatDescriptorWidths)
	if err != nil || !slices.Equal(d.Shape, []int64{-1}) || !slices.Equal(d.Format, []spead.FormatField{{Type: 'i', Bits: 16}, {Type: 'u', Bits: 8}}) {
		t.Errorf("descriptor %+v, error %v", d, err)
	}
	// The flag alone: flags of 3 have both bits.
	for _, c := range []struct {
		compat spead.Compat
		flag   string
		want   int64
	}{{0, "\x01", -1}, {0, "\x02", 4}, {spead.CompatShapeBit1, "\x01", 4}, {spead.CompatShapeBit1, "\x02", -1}, {0, "\x03", -1}, {spead.CompatShapeBit1, "\x03", -1}} {
		d, err := spead.ParseDescriptor(embed(f, "xu\x00\x00\x08"+c.flag+"\x00\x00\x00\x00\x04", id, name,
			f.Addressed(spead.IDDescriptorFormat, 1), f.Addressed(spead.IDDescriptorShape, 5)).Data, c.compat)
		if err != nil || !slices.Equal(d.Shape, []int64{c.want}) {
			t.Errorf("compat %d, flag %q: %+v, error %v", c.compat, c.flag, d, err)
		}
	}
}

// §1.9: as in spead2, numbers of a numpy type are read the other way round, with PySPEAD's
// third defect; those of a format are not.
func TestSpead2PySPEADByteOrder(t *testing.T) {
	const f = spead.Flavour48
	for _, tt := range []struct {
		d    *spead.Descriptor
		want uint64
	}{
		{&spead.Descriptor{ID: 0x1000, Name: "x", DType: "{'descr': '<u2', 'fortran_order': False, 'shape': ()}"}, 0x1234},
		{&spead.Descriptor{ID: 0x1000, Name: "x", DType: "{'descr': '>u2', 'fortran_order': False, 'shape': ()}"}, 0x3412},
		{format(0x1000, "x", "u16"), 0x1234},
	} {
		g := spead.ItemGroup{Compat: spead.CompatSwapEndian}
		update(t, &g, received(t, f, described(t, tt.d, f), spead.OutItem{ID: 0x1000, Data: []byte{0x12, 0x34}}))
		if got := g.ByName("x").Value().At(0); got != tt.want {
			t.Errorf("dtype %q: %#x, want %#x", tt.d.DType, got, tt.want)
		}
	}
}

// §2.8: a difference. What is wrong with an item is an error of that item, and all others
// of the heap are taken; in spead2 one such item is an exception of the whole update.
func TestSpead2ErrorsByItem(t *testing.T) {
	const f = spead.Flavour48
	var g spead.ItemGroup
	short, text, good := format(0x1000, "short", "u32", 10), format(0x1001, "text", "c8", -1), format(0x1002, "good", "u8", -1)
	items, err := g.Update(received(t, f, described(t, short, f), described(t, text, f), described(t, good, f),
		spead.OutItem{ID: 0x1000, Data: make([]byte, 39)}, spead.OutItem{ID: 0x1001, Data: []byte("\xff")}, spead.OutItem{ID: 0x1002, Data: []byte("ok")}))
	if len(items) != 1 || items[0].Name() != "good" {
		t.Errorf("updated are %v", items)
	}
	var failed []string
	for _, e := range unjoin(err) {
		var ie *spead.ItemError
		if !errors.As(e, &ie) || ie.Field != "value" {
			t.Fatalf("error %v", e)
		}
		failed = append(failed, ie.Name)
	}
	if !slices.Equal(failed, []string{"short", "text"}) {
		t.Errorf("errors of %v: %v", failed, err)
	}
}

// unjoin gives the errors that one joins.
func unjoin(err error) []error {
	for err != nil {
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			return many.Unwrap()
		}
		err = errors.Unwrap(err)
	}
	return nil
}

// §2.8: a difference. A descriptor that makes no sense takes away what was known of its
// item, which is then described by nothing: its value is kept, as bytes. In spead2 it is an
// exception of the whole update.
func TestSpead2WrongDescriptor(t *testing.T) {
	const f = spead.Flavour48
	var g spead.ItemGroup
	good := format(0x1000, "x", "u8")
	update(t, &g, received(t, f, described(t, good, f), item(t, good, 5)))
	if _, err := g.Update(received(t, f, described(t, format(0x1000, "x", "u0"), f), item(t, good, 6))); err == nil {
		t.Error("no error")
	}
	if it := g.ByID(0x1000); g.ByName("x") != nil || it == nil || it.Descriptor() != nil || !it.HasValue() || it.Raw()[len(it.Raw())-1] != 6 {
		t.Errorf("item %+v, by its name %+v", it, g.ByName("x"))
	}
}

// §2.8: a difference. Items that nothing describes are kept, as bytes or numbers; spead2
// warns of them and drops them.
func TestSpead2UnknownItemsAreKept(t *testing.T) {
	const f = spead.Flavour48
	var g spead.ItemGroup
	got := update(t, &g, received(t, f, spead.OutItem{ID: 0x1000, Data: []byte("abc")}, spead.OutItem{ID: 0x1001, Immediate: true, Value: 1 << 40}))
	if len(got) != 2 || string(g.ByID(0x1000).Raw()) != "abc" || g.ByID(0x1001).Value().At(0) != uint64(1<<40) {
		t.Errorf("items %v", got)
	}
}

// §2.8: as in spead2, a new descriptor takes the place of the items with its id or its name,
// and the new item has no value; the same descriptor once more changes nothing.
func TestSpead2DescriptorReplaces(t *testing.T) {
	const f = spead.Flavour48
	var g spead.ItemGroup
	a, b := format(0x1000, "a", "u8"), format(0x1001, "b", "u8")
	update(t, &g, received(t, f, described(t, a, f), described(t, b, f), item(t, a, 1), item(t, b, 2)))
	version := g.ByName("a").Version()
	update(t, &g, received(t, f, described(t, a, f)))
	if it := g.ByName("a"); it.Version() != version || it.Value().At(0) != uint64(1) {
		t.Errorf("after the same descriptor: version %d (was %d), has a value: %v", it.Version(), version, it.HasValue())
	}
	update(t, &g, received(t, f, described(t, format(0x1000, "b", "u8"), f)))
	if it := g.ByName("b"); g.Len() != 1 || g.ByName("a") != nil || g.ByID(0x1001) != nil || it != g.ByID(0x1000) || it.HasValue() || it.Version() <= version {
		t.Errorf("%d items, %+v", g.Len(), it)
	}
}

// §2.8: a difference. A value raises its item's version by one; in spead2 by two. In both a
// new version says that something came.
func TestSpead2Version(t *testing.T) {
	const f = spead.Flavour48
	var g spead.ItemGroup
	d := format(0x1000, "a", "u8")
	update(t, &g, received(t, f, described(t, d, f)))
	for want := uint64(2); want < 6; want++ {
		update(t, &g, received(t, f, item(t, d, 1)))
		if v := g.ByName("a").Version(); v != want {
			t.Errorf("version %d, want %d", v, want)
		}
	}
}

// §2.8: as in spead2, the items 0 to 6 have no values.
func TestSpead2SpecialItemsHaveNoValue(t *testing.T) {
	const f = spead.Flavour48
	var g spead.ItemGroup
	got := update(t, &g, received(t, f, spead.ControlItem(spead.CtrlUpdate), spead.OutItem{ID: 7, Immediate: true, Value: 1}))
	if len(got) != 1 || got[0].ID() != 7 || g.Len() != 1 {
		t.Errorf("updated are %v, of %d items", got, g.Len())
	}
}

// §2.8: as in spead2, bytes beyond what the shape needs are ignored, and too few are an
// error; a variable dimension takes as many elements as there are.
func TestSpead2SizeOfAValue(t *testing.T) {
	const f = spead.Flavour48
	fixed, variable := format(0x1000, "fixed", "u16", 2), format(0x1001, "variable", "u16", -1, 2)
	for _, tt := range []struct {
		bytes           int
		fixed, variable []int // shapes; nil: no value
	}{{3, nil, []int{0, 2}}, {4, []int{2}, []int{1, 2}}, {5, []int{2}, []int{1, 2}}, {11, []int{2}, []int{2, 2}}} {
		var g spead.ItemGroup
		_, err := g.Update(received(t, f, described(t, fixed, f), described(t, variable, f),
			spead.OutItem{ID: 0x1000, Data: make([]byte, tt.bytes)}, spead.OutItem{ID: 0x1001, Data: make([]byte, tt.bytes)}))
		if (err != nil) != (tt.fixed == nil) {
			t.Errorf("%d bytes: error %v", tt.bytes, err)
		}
		if it := g.ByName("fixed"); it.HasValue() != (tt.fixed != nil) || it.HasValue() && !slices.Equal(it.Value().Shape(), tt.fixed) {
			t.Errorf("%d bytes: %+v", tt.bytes, it)
		}
		if it := g.ByName("variable"); !it.HasValue() || !slices.Equal(it.Value().Shape(), tt.variable) {
			t.Errorf("%d bytes: %+v", tt.bytes, it)
		}
	}
}

// §2.8: as in spead2, an array of no elements that is sent in no bytes does not come: there
// is no item then, and the old value stays.
func TestSpead2EmptyValueDoesNotCome(t *testing.T) {
	const f = spead.Flavour48
	var g spead.ItemGroup
	d := format(0x1000, "a", "u8", -1)
	update(t, &g, received(t, f, described(t, d, f), item(t, d, []byte{1, 2})))
	if got := update(t, &g, received(t, f, item(t, d, []byte{}), spead.OutItem{ID: 7, Data: []byte{1}})); len(got) != 1 || g.ByName("a").Value().Len() != 2 {
		t.Errorf("updated are %v, a has %d elements", got, g.ByName("a").Value().Len())
	}
}

// §2.8: as in spead2, characters in one dimension are a string, in ASCII; in none or in
// more they are single bytes.
func TestSpead2Text(t *testing.T) {
	const f = spead.Flavour48
	for _, tt := range []struct {
		shape []int64
		data  string
		want  any // nil: an error
	}{
		{[]int64{-1}, "MeerKAT", "MeerKAT"},
		{[]int64{3}, "abc", "abc"},
		{[]int64{-1}, "caf\xc3\xa9", nil},
		{nil, "x", "x"},
		{[]int64{2, 1}, "a\xe9", []any{[]any{"a"}, []any{"\xe9"}}},
	} {
		var g spead.ItemGroup
		_, err := g.Update(received(t, f, described(t, format(0x1000, "x", "c8", tt.shape...), f), spead.OutItem{ID: 0x1000, Data: []byte(tt.data)}))
		if (err == nil) != (tt.want != nil) {
			t.Errorf("%q: error %v", tt.data, err)
		}
		if err == nil && !reflect.DeepEqual(g.ByName("x").Value().Any(), tt.want) {
			t.Errorf("%q in the shape %v is %#v", tt.data, tt.shape, g.ByName("x").Value().Any())
		}
	}
}
