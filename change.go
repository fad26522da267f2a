// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/speadx/speadx/bpf"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/ledger"
)

// ChangeReason says why the endpoints of a receiver cannot change as was asked for.
type ChangeReason string

// The reasons.
const (
	ChangeBadSource      ChangeReason = "bad_source"       // it cannot be read
	ChangeBadName        ChangeReason = "bad_name"         // the stream's name is too long, or has characters that are not printed
	ChangeFixed          ChangeReason = "fixed"            // files and TCP connections cannot come or go
	ChangeNoStream       ChangeReason = "no_stream"        // there is no such stream
	ChangeNoSpareStream  ChangeReason = "no_spare_stream"  // a new stream needs memory, which is all in use
	ChangeStreamEnded    ChangeReason = "stream_ended"     // its stop item came
	ChangeReceived       ChangeReason = "received_already" // by a stream of this receiver
	ChangeNotReceived    ChangeReason = "not_received"     // by the stream
	ChangeOtherInterface ChangeReason = "other_interface"  // no thread that feeds the stream receives on the interface
	ChangeEnding         ChangeReason = "ending"           // the receiver is shutting down
	ChangeFailed         ChangeReason = "failed"           // the kernel refused it: see Err
)

// changeTexts are predicates to the source, with the remedy.
var changeTexts = map[ChangeReason]string{
	ChangeBadSource:      "cannot be read",
	ChangeBadName:        fmt.Sprintf("is for a stream whose name cannot be used (at most %d bytes that can be printed)", maxStreamName),
	ChangeFixed:          "is a file or of TCP, or the stream is, and that cannot change (restart with other sources)",
	ChangeNoStream:       "is of no stream of this receiver",
	ChangeNoSpareStream:  "would be a new stream, and no spare stream is left (restart with this source, or with more spare streams)",
	ChangeStreamEnded:    "is for a stream that has ended (give it another name: it becomes a new stream)",
	ChangeReceived:       "is received already, and a packet belongs to one stream",
	ChangeNotReceived:    "is not received by the stream",
	ChangeOtherInterface: "comes in where no receiving thread of the stream is (restart with this source)",
	ChangeEnding:         "comes too late: reception ends",
	ChangeFailed:         "cannot be changed",
}

// maxStreamName bounds the name of a stream that Add makes. The name is in each log line,
// each answer and each series about the stream.
const maxStreamName = 255

// goodName reports whether a stream can have the name.
func goodName(name string) bool {
	return len(name) <= maxStreamName && utf8.ValidString(name) && strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// ChangeError is the error of [Receiver.Add] and [Receiver.Remove]. Nothing has changed
// then. With [ChangeFailed] there is one exception: packets may have come for a new stream
// before it failed. It then remains, without endpoints, and its packets are counted.
type ChangeError struct {
	Stream string // as given, "" if it was not
	Source string
	Reason ChangeReason
	Detail string // the stream or the interface that the reason is about; may be ""
	Err    error  // the cause, if there is one
}

// Error names the source, the stream and the reason.
func (e *ChangeError) Error() string {
	s := fmt.Sprintf("speadx: source %q", e.Source)
	if e.Stream != "" {
		s += fmt.Sprintf(" of stream %q", e.Stream)
	}
	s += " " + changeTexts[e.Reason]
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *ChangeError) Unwrap() error { return e.Err }

// Is reports that the receiver is closed, or about to be, to errors.Is(err, [ErrClosed]).
func (e *ChangeError) Is(target error) bool { return target == ErrClosed && e.Reason == ChangeEnding }

// changes keeps the endpoints that are received, which may change while packets flow. The
// receiving threads take no lock: they are given new tables.
type changes struct {
	mu    sync.Mutex
	over  bool          // nothing changes any more
	used  atomic.Int32  // how many of the receiver's streams are: spare ones come last
	ended chan struct{} // closed when all streams have ended
	once  sync.Once     // of ended
	links sync.Mutex    // of the receiver's links and vitals
}

// end is called when the receiver shuts down. It waits for a change that is under way.
func (c *changes) end() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
}

// liveEndpoint is an endpoint that a stream receives.
type liveEndpoint struct {
	addr    netip.AddrPort
	links   []liveLink     // AF_XDP: the interfaces that were named or found
	sockets []planEndpoint // UDP sockets
	watched map[int]string // interfaces that the latter depend on
}

// liveLink is an endpoint on an interface, and the devices below that.
type liveLink struct {
	planLink
	devices []*device
}

// beginChanges notes what Open has opened.
func (r *Receiver) beginChanges() error {
	r.changes.ended = make(chan struct{})
	used := 0
	for _, s := range r.streams {
		if !s.plan.spare {
			used++
		}
		for _, link := range s.plan.xdp {
			l, err := r.liveLink(link)
			if err != nil {
				return err
			}
			e := s.endpoint(link.addr)
			e.links = append(e.links, l)
		}
		for _, ep := range s.plan.udp {
			e := s.endpoint(ep.addr)
			e.sockets = append(e.sockets, ep)
			e.watched = s.plan.watched[ep.addr]
		}
	}
	r.changes.used.Store(int32(used))
	return nil
}

// endpoint returns the live endpoint with the address, which is made if need be.
func (s *stream) endpoint(addr netip.AddrPort) *liveEndpoint {
	for i := range s.live {
		if s.live[i].addr == addr {
			return &s.live[i]
		}
	}
	s.live = append(s.live, liveEndpoint{addr: addr})
	return &s.live[len(s.live)-1]
}

// liveLink finds the open devices below an interface.
func (r *Receiver) liveLink(link planLink) (liveLink, error) {
	l := liveLink{planLink: link}
	lowers, err := r.plan.machine.lowers(cmp.Or(link.part, link.name))
	if err != nil {
		return l, err
	}
	for _, d := range r.devices {
		if slices.Contains(lowers, d.plan.facts.Name) {
			l.devices = append(l.devices, d)
		}
	}
	return l, nil
}

// Endpoints says what a receiver receives now, by stream. Spare streams are not among them
// until they are used.
func (r *Receiver) Endpoints() []StreamEndpoints {
	r.changes.mu.Lock()
	defer r.changes.mu.Unlock()
	var out []StreamEndpoints
	for _, s := range r.streams[:r.changes.used.Load()] {
		e := StreamEndpoints{Name: s.name(), Files: s.plan.paths(), Listeners: slices.Clone(s.plan.tcp), Ended: s.ended()}
		for i := range s.live {
			e.Endpoints = append(e.Endpoints, s.live[i].addr)
		}
		out = append(out, e)
	}
	return out
}

// StreamEndpoints is what a stream receives.
type StreamEndpoints struct {
	Name      string
	Endpoints []netip.AddrPort // UDP; they can change
	Files     []string
	Listeners []netip.AddrPort // TCP
	Ended     bool             // nothing that comes is taken any more
}

// SpareStreams is how many of [Config.SpareStreams] are not used yet.
func (r *Receiver) SpareStreams() int { return len(r.streams) - int(r.changes.used.Load()) }

// Add receives one more source, in the network namespace of the calling thread, while
// packets of the others flow: groups are joined, and the XDP program gets the endpoints or
// UDP sockets are opened. The source is as in [ParseSource]: one or more UDP endpoints. They become
// endpoints of the stream with that name. If there is none, they become a new stream, for
// which a spare one is needed: see [Config.SpareStreams]. If stream is "", it has the name
// of the source.
//
// The memory stays as it was sized by Open. A stream of AF_XDP is fed by the same queues as
// before, so the endpoint must come in on an interface that the stream is received on.
//
// The error is a [*ChangeError].
func (r *Receiver) Add(ctx context.Context, stream, text string) error {
	failed := func(reason ChangeReason, detail string, err error) error {
		return &ChangeError{Stream: stream, Source: text, Reason: reason, Detail: detail, Err: err}
	}
	src, err := ParseSource(text)
	if err != nil {
		return failed(ChangeBadSource, "", err)
	}
	if src.File != "" || src.TCP {
		return failed(ChangeFixed, "", nil)
	}
	r.changes.mu.Lock()
	defer r.changes.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return failed(ChangeFailed, "", err)
	}
	if r.changes.over {
		return failed(ChangeEnding, "", nil)
	}
	for _, ep := range src.Endpoints {
		if s := r.owner(ep); s != nil {
			return failed(ChangeReceived, s.name(), nil)
		}
	}
	name := stream
	if name == "" {
		name = text
	}
	i := r.find(name)
	fresh := i < 0
	if fresh && !goodName(name) {
		return failed(ChangeBadName, "", nil)
	}
	if fresh {
		if i = int(r.changes.used.Load()); i == len(r.streams) {
			return failed(ChangeNoSpareStream, "", nil)
		}
	}
	s := r.streams[i]
	switch {
	case s.ended():
		return failed(ChangeStreamEnded, s.name(), nil)
	case s.udp == nil && len(s.plan.devices) == 0:
		return failed(ChangeFixed, s.name(), nil)
	}
	var list []liveEndpoint
	for _, ep := range src.Endpoints {
		e, iface, err := r.resolve(i, ep)
		switch {
		case err != nil:
			return failed(ChangeFailed, "", err)
		case iface != "":
			return failed(ChangeOtherInterface, iface, nil)
		}
		list = append(list, e)
	}
	if fresh {
		s.assembler.Rename(name)
		s.renamed.Store(&name)
		r.changes.used.Store(int32(i + 1))
	}
	for k := range list {
		if err := r.begin(i, &list[k]); err != nil {
			_ = r.leave(ctx, s, pointers(list[:k+1])...)
			if fresh {
				r.spareAgain(i)
			}
			return failed(ChangeFailed, "", err)
		}
	}
	s.live = append(s.live, list...)
	s.noteSince()
	r.peers.publish(r.receivesNow())
	return nil
}

// spareAgain makes stream i, the newest, a spare one again. It stays in use if packets have come
// for it meanwhile: they are counted under its name. The caller holds changes.mu.
func (r *Receiver) spareAgain(i int) {
	s := r.streams[i]
	if st := s.assembler.Stats(); st.Counts[ledger.PacketsFed] > 0 {
		return
	}
	r.changes.used.Store(int32(i))
	s.renamed.Store(nil)
	s.assembler.Rename(s.plan.name)
}

// Remove receives a source no more. It may have been given to Open or to Add, or be some of
// the endpoints of such a source. What follows goes to the kernel; groups are left, and UDP
// sockets closed. What had come is worked off first: Remove waits for that, at most one
// second or until ctx is done. If stream is "", it is the one that receives the endpoint.
//
// A stream without endpoints does not end: Add can give it endpoints again. The error is a
// [*ChangeError].
func (r *Receiver) Remove(ctx context.Context, stream, text string) error {
	failed := func(reason ChangeReason, detail string, err error) error {
		return &ChangeError{Stream: stream, Source: text, Reason: reason, Detail: detail, Err: err}
	}
	src, err := ParseSource(text)
	if err != nil {
		return failed(ChangeBadSource, "", err)
	}
	if src.File != "" || src.TCP {
		return failed(ChangeFixed, "", nil)
	}
	r.changes.mu.Lock()
	if r.changes.over {
		r.changes.mu.Unlock()
		return failed(ChangeEnding, "", nil)
	}
	err = func() error {
		defer r.changes.mu.Unlock()
		s := r.owner(src.Endpoints[0])
		if stream != "" {
			i := r.find(stream)
			if i < 0 {
				return failed(ChangeNoStream, "", nil)
			}
			s = r.streams[i]
		}
		if s == nil {
			return failed(ChangeNotReceived, "", nil)
		}
		var gone []liveEndpoint
		for _, ep := range src.Endpoints {
			i := s.index(ep)
			if i < 0 {
				return failed(ChangeNotReceived, s.name(), nil)
			}
			gone = append(gone, s.live[i])
		}
		for i := range gone {
			k := s.index(gone[i].addr)
			s.live = slices.Delete(s.live, k, k+1)
		}
		s.noteSince()
		err := r.leave(ctx, s, pointers(gone)...)
		r.peers.publish(r.receivesNow())
		if err != nil {
			return failed(ChangeFailed, "", err)
		}
		return nil
	}()
	r.checkEnded()
	return err
}

func pointers[T any](list []T) (out []*T) {
	for i := range list {
		out = append(out, &list[i])
	}
	return out
}

// find returns the index of a stream that is used, or -1.
func (r *Receiver) find(name string) int {
	return slices.IndexFunc(r.streams[:r.changes.used.Load()], func(s *stream) bool { return s.name() == name })
}

// owner returns the stream that receives an endpoint, or nil.
func (r *Receiver) owner(ep netip.AddrPort) *stream {
	for _, s := range r.streams[:r.changes.used.Load()] {
		if s.index(ep) >= 0 {
			return s
		}
	}
	return nil
}

// index is that of a live endpoint, or -1.
func (s *stream) index(ep netip.AddrPort) int {
	return slices.IndexFunc(s.live, func(e liveEndpoint) bool { return e.addr == ep })
}

// ended reports whether the stream takes no packets any more.
func (s *stream) ended() bool {
	select {
	case <-s.assembler.Done():
		return true
	default:
		return s.assembler.Stopping()
	}
}

// resolve finds out where an endpoint of stream i comes in. iface is set if that is where
// no thread of the stream receives.
func (r *Receiver) resolve(i int, ep netip.AddrPort) (e liveEndpoint, iface string, err error) {
	s, c := r.streams[i], r.cfg
	interfaces := c.Interfaces
	if i < len(c.Streams) && len(c.Streams[i].Interfaces) > 0 {
		interfaces = c.Streams[i].Interfaces
	}
	if len(s.plan.devices) == 0 {
		c.Mode = ModeUDP
	}
	scratch, found := &plan{machine: r.plan.machine}, planStream{}
	if err := scratch.addEndpoint(&c, &found, i, ep, interfaces); err != nil {
		return e, "", err
	}
	for _, d := range scratch.found {
		r.findings.report(d)
	}
	e.addr = ep
	if len(found.udp) > 0 {
		if s.udp == nil {
			return e, "any interface", nil
		}
		e.sockets = found.udp
		e.watched = found.links
	}
	for _, d := range found.devices {
		if !slices.ContainsFunc(s.plan.devices, func(have *planDevice) bool { return have.facts.Index == d.facts.Index }) {
			return e, d.facts.Name, nil
		}
	}
	for _, link := range found.xdp {
		l, err := r.liveLink(link)
		if err != nil {
			return e, "", err
		}
		e.links = append(e.links, l)
	}
	return e, "", nil
}

// begin receives an endpoint for stream i. The threads know it before the program does, and
// the program before the network: each packet that comes is taken.
func (r *Receiver) begin(i int, e *liveEndpoint) error {
	for index, name := range e.watched {
		if err := r.watchLink(index, name); err != nil {
			return err
		}
	}
	for _, ep := range e.sockets {
		got, err := r.addSocket(i, ep)
		if err != nil {
			return err
		}
		for _, note := range got.Notes {
			r.cfg.Logger.Warn("an added endpoint has less than was asked for", "endpoint", ep.addr, "reason", note)
		}
	}
	for _, l := range e.links {
		for _, d := range l.devices {
			for _, vlan := range d.plan.vlans(l.vlan) {
				if err := d.begin(planDeviceEndpoint{e.addr, i, vlan}); err != nil {
					return err
				}
			}
		}
	}
	for _, l := range e.links {
		for _, on := range l.joins() {
			if r.groups == nil {
				r.groups = &netif.Membership{}
			}
			if err := r.groups.Add(on.addr.Addr(), on.ifindex); err != nil {
				return fmt.Errorf("interface %s: %w", on.name, err)
			}
		}
	}
	return nil
}

// begin makes an endpoint one of the device's, unless it is for another interface.
func (d *device) begin(e planDeviceEndpoint) error {
	if d.has(e) {
		return nil
	}
	list := append(slices.Clone(d.endpoints), e)
	if err := d.setEndpoints(list); err != nil {
		return err
	}
	if err := d.steer.program.AddVLANEndpoint(e.addr, e.vlan); err != nil {
		_ = d.setEndpoints(d.endpoints[:len(d.endpoints)-1])
		return d.steer.peers.occupied(d.plan, err)
	}
	return nil
}

func (d *device) has(e planDeviceEndpoint) bool {
	return slices.ContainsFunc(d.endpoints, e.same)
}

// setEndpoints gives the threads of the device a new table, from their next batch on.
func (d *device) setEndpoints(list []planDeviceEndpoint) error {
	table, err := lookupTable(list)
	if err != nil {
		return err
	}
	d.endpoints = list
	for _, s := range d.sources {
		s.SetEndpoints(table)
	}
	return nil
}

// leave receives endpoints no more, which are none of the stream's live ones. The order is
// that of begin, backwards. The threads know an endpoint until they have worked off what
// came for it.
func (r *Receiver) leave(ctx context.Context, s *stream, gone ...*liveEndpoint) error {
	stream := slices.Index(r.streams, s)
	var firstErr error
	keep := func(err error) {
		if firstErr == nil {
			firstErr = err
		}
	}
	var closing []<-chan struct{}
	type end struct {
		d *device
		e planDeviceEndpoint
	}
	var ends []end
	for _, e := range gone {
		for _, l := range e.links {
			for _, on := range l.joins() {
				if group := on.addr.Addr(); r.groups != nil && !r.wanted(group, on.ifindex) {
					keep(r.groups.Leave(group, on.ifindex))
				}
			}
		}
		for _, l := range e.links {
			for _, d := range l.devices {
				for _, vlan := range d.plan.vlans(l.vlan) {
					if x := (planDeviceEndpoint{e.addr, stream, vlan}); d.has(x) && !s.wants(d, e.addr, vlan) {
						keep(d.steer.program.RemoveVLANEndpoint(e.addr, vlan))
						ends = append(ends, end{d, x})
					}
				}
			}
		}
		for _, ep := range e.sockets {
			done, err := s.udp.Remove(source.UDPEndpoint{Endpoint: source.Endpoint{Addr: ep.addr}, Interface: ep.ifindex})
			keep(err)
			if done != nil {
				closing = append(closing, done)
			}
		}
	}
	r.forgetLinks(gone)
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	for _, done := range closing {
		select {
		case <-done:
		case <-ctx.Done():
		case <-r.stopping:
		}
	}
	if len(ends) > 0 {
		r.awaitQueues(ctx)
	}
	for _, x := range ends {
		keep(x.d.setEndpoints(slices.DeleteFunc(slices.Clone(x.d.endpoints), x.e.same)))
	}
	return firstErr
}

// wanted reports whether a live endpoint of any stream needs a group on an interface.
func (r *Receiver) wanted(group netip.Addr, ifindex int) bool {
	for _, s := range r.streams {
		for i := range s.live {
			for _, l := range s.live[i].links {
				for _, on := range l.joins() {
					if on.addr.Addr() == group && on.ifindex == ifindex {
						return true
					}
				}
			}
		}
	}
	return false
}

// wants reports whether a live endpoint of the stream looks like addr in the packets of a
// device and VLAN.
func (s *stream) wants(d *device, addr netip.AddrPort, vlan bpf.VLAN) bool {
	for i := range s.live {
		for _, l := range s.live[i].links {
			if inPacket(l.addr) == inPacket(addr) && slices.Contains(l.devices, d) && slices.Contains(d.plan.vlans(l.vlan), vlan) {
				return true
			}
		}
	}
	return false
}

// inSoftirq is for how long a packet can be on its way from the program to the ring, that
// the program was run on before an endpoint was removed.
const inSoftirq = 5 * time.Millisecond

// awaitQueues waits until the threads have worked off what is on their rings now.
func (r *Receiver) awaitQueues(ctx context.Context) {
	pause := func(d time.Duration) bool {
		select {
		case <-time.After(d):
			return true
		case <-ctx.Done():
		case <-r.stopping:
		}
		return false
	}
	if !pause(inSoftirq) {
		return
	}
	for _, d := range r.devices {
		for _, s := range d.sources {
			for mark := s.Mark(); s.Position() < mark; {
				if !pause(time.Millisecond) {
					return
				}
			}
		}
	}
}

// checkEnded ends reception when all streams have ended. A stream that has lost its last
// endpoint does not hold up the end.
func (r *Receiver) checkEnded() {
	r.changes.mu.Lock()
	defer r.changes.mu.Unlock()
	any := false
	for _, s := range r.streams[:r.changes.used.Load()] {
		select {
		case <-s.assembler.Done():
			any = true
		default:
			if s.receives() {
				return
			}
		}
	}
	if any {
		r.changes.once.Do(func() { close(r.changes.ended) })
	}
}

// watchLink looks after an interface that UDP sockets depend on, once.
func (r *Receiver) watchLink(index int, name string) error {
	r.changes.links.Lock()
	defer r.changes.links.Unlock()
	if slices.ContainsFunc(r.links, func(l *netif.Link) bool { return l.Index() == index }) {
		return nil
	}
	l, err := netif.NewLink(index, name)
	if err != nil {
		return err
	}
	v, err := newVital(index, name, "", nil)
	if err != nil {
		l.Close()
		return err
	}
	r.links = append(r.links, l)
	r.vitals.list = append(r.vitals.list, v)
	return nil
}

// forgetLinks closes what is watched for endpoints that are gone, and for nothing else.
func (r *Receiver) forgetLinks(gone []*liveEndpoint) {
	needed := map[int]bool{}
	for _, s := range r.streams {
		for i := range s.live {
			for index := range s.live[i].watched {
				needed[index] = true
			}
		}
	}
	r.changes.links.Lock()
	defer r.changes.links.Unlock()
	for _, e := range gone {
		for index := range e.watched {
			r.links = slices.DeleteFunc(r.links, func(l *netif.Link) bool {
				if l.Index() != index || needed[index] {
					return false
				}
				l.Close()
				r.vitals.forget(index)
				return true
			})
		}
	}
}
