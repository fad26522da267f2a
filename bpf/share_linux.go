// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrOtherVersion is in the error of [JoinSteer] if the program on the interface is that of
// another version of this package.
var ErrOtherVersion = errors.New("the receiver on this interface is of another version of speadx")

// ErrDetached is in the error of [JoinSteer] if the program is on the interface no more.
var ErrDetached = errors.New("the program is no longer on the interface")

// Owner is a receiver that has queues of a shared program.
type Owner struct {
	PID  int // in its own PID namespace
	Name string
}

func (o Owner) String() string { return fmt.Sprintf("%s (process %d)", o.Name, o.PID) }

// TakenError says that another receiver has what was asked for.
type TakenError struct {
	Owner    Owner
	Endpoint netip.AddrPort // that the other one receives; not valid: it is about queues
	Queues   []int          // that the other one has, of those that were asked for
	Free     []int          // queues that nobody has
}

func (e *TakenError) Error() string {
	if e.Endpoint.IsValid() {
		return fmt.Sprintf("bpf: %v is received by %v", e.Endpoint, e.Owner)
	}
	return fmt.Sprintf("bpf: %v receives on queues %v", e.Owner, e.Queues)
}

// pause is for how long, at least, a packet can be in the program after its queue or its
// endpoint was taken away.
const pause = 5 * time.Millisecond

// Claim makes exactly these queues ours. Until then all are, of a program that was not
// joined. On any other queue our packets go to the kernel, and count as NoSocket.
//
// If another receiver has one of them the error is a [*TakenError].
func (s *Steer) Claim(queues []int) error {
	for _, q := range queues {
		if err := s.checkQueue(q); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("bpf: claim queues: the program is closed")
	}
	if err := s.table.lock(); err != nil {
		return fmt.Errorf("bpf: %w", err)
	}
	defer s.table.unlock()
	s.reapDead()
	var taken *TakenError
	for _, q := range queues {
		switch w := int(s.table.queues[q]); {
		case w == 0 || w-1 == s.owner:
		case taken == nil:
			taken = &TakenError{Owner: s.table.owner(w - 1), Queues: []int{q}}
		case taken.Owner == s.table.owner(w-1):
			taken.Queues = append(taken.Queues, q)
		}
	}
	if taken != nil {
		for q, w := range s.table.queues {
			if w == 0 {
				taken.Free = append(taken.Free, q)
			}
		}
		return taken
	}
	fresh := false
	for q := range s.config.Queues + 1 {
		switch wanted := slices.Contains(queues, q); {
		case wanted == s.counts.owned[q]:
		case wanted:
			s.table.queues[q] = uint32(s.owner) + 1
			fresh = true
		default:
			s.release(q)
		}
	}
	if fresh {
		time.Sleep(pause) // what is counted for the one before us is counted by then
	}
	for _, q := range queues {
		s.counts.begin(q)
		s.counts.setOwner(q, s.set())
	}
	return nil
}

// release gives a queue of ours back. The caller holds both locks.
func (s *Steer) release(queue int) {
	s.counts.owned[queue] = false
	s.counts.setOwner(queue, 0)
	if queue < len(s.table.queues) {
		s.table.queues[queue] = 0
	}
}

// set is this receiver as a set of owners.
func (s *Steer) set() uint32 { return 1 << s.owner }

// reapDead takes away what processes have left that were killed. The caller holds both locks.
func (s *Steer) reapDead() {
	for i := range s.table.header.Owners {
		if i != s.owner && s.table.header.Owners[i].Used != 0 && !s.table.alive(i) {
			s.reap(i)
		}
	}
}

// reap takes away all that an owner has. The caller holds both locks.
func (s *Steer) reap(owner int) {
	bit := uint32(1) << owner
	for q, w := range s.table.queues {
		if int(w)-1 != owner {
			continue
		}
		s.counts.setOwner(q, 0)
		s.table.queues[q] = 0
		_ = s.maps.Xsks.Delete(uint32(q)) // its socket may not be gone yet
	}
	s.eachEndpoint(func(key steerEndpoint, value steerOwners) bool {
		if value.Set&bit != 0 {
			_ = s.putOwners(key, value.Set&^bit)
		}
		return true
	})
	s.table.header.Owners[owner] = ownerRecord{}
}

// eachEndpoint calls f for what is in the map of endpoints, until it returns false. f may
// change the map.
func (s *Steer) eachEndpoint(f func(steerEndpoint, steerOwners) bool) {
	var key steerEndpoint
	var value steerOwners
	type entry struct {
		key   steerEndpoint
		value steerOwners
	}
	var all []entry
	for it := s.maps.Endpoints.Iterate(); it.Next(&key, &value); {
		all = append(all, entry{key, value})
	}
	for _, e := range all {
		if !f(e.key, e.value) {
			return
		}
	}
}

// putOwners sets who has an endpoint.
func (s *Steer) putOwners(key steerEndpoint, set uint32) error {
	if set == 0 {
		if err := s.maps.Endpoints.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		return nil
	}
	return s.maps.Endpoints.Put(key, steerOwners{Set: set, First: first(set)})
}

// addOwner makes an endpoint ours too.
func (s *Steer) addOwner(key steerEndpoint) error {
	set, err := s.owners(key)
	if err != nil {
		return err
	}
	return s.putOwners(key, set|s.set())
}

// removeOwner makes it ours no more.
func (s *Steer) removeOwner(key steerEndpoint) error {
	set, err := s.owners(key)
	if err != nil {
		return err
	}
	return s.putOwners(key, set&^s.set())
}

// owners is who has an endpoint.
func (s *Steer) owners(key steerEndpoint) (uint32, error) {
	var value steerOwners
	err := s.maps.Endpoints.Lookup(key, &value)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0, nil
	}
	return value.Set, err
}

// first is the lowest owner of a set that is not empty.
func first(set uint32) (owner uint32) {
	for set>>owner&1 == 0 {
		owner++
	}
	return owner
}

// checkFree is a [*TakenError] if another receiver has an endpoint, or one that takes some of
// its packets. The caller holds both locks.
func (s *Steer) checkFree(ap tagged) error {
	others := func(set uint32) error {
		if set &^= s.set(); set != 0 {
			return &TakenError{Owner: s.table.owner(int(first(set))), Endpoint: ap.AddrPort}
		}
		return nil
	}
	for _, addr := range []netip.Addr{ap.Addr(), netip.IPv6Unspecified()} {
		set, err := s.owners(endpointKey(tagged{netip.AddrPortFrom(addr, ap.Port()), ap.vlan}))
		if err == nil {
			err = others(set)
		}
		if err != nil {
			return err
		}
	}
	var err error
	if ap.Addr().IsUnspecified() {
		port := endpointKey(ap).Port
		s.eachEndpoint(func(key steerEndpoint, value steerOwners) bool {
			if key.Port == port {
				err = others(value.Set)
			}
			return err == nil
		})
	}
	return err
}

// HandOut gives the program away, to be shared: f is called with the descriptors that
// [JoinSteer] takes, and sends them to another process. They are valid during the call.
// The program must be attached. From then on it stays on the interface until both have
// closed it.
func (s *Steer) HandOut(f func(fds []int) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("bpf: hand out: the program is closed")
	}
	held := s.joined
	for l := range s.links {
		if l.link != nil {
			held = l.link
		}
	}
	raw, ok := held.(interface{ FD() int })
	if !ok {
		return errors.New("bpf: hand out: the program is not attached")
	}
	fd, err := s.table.reopen()
	if err != nil {
		return fmt.Errorf("bpf: hand out: open the table again: %w", err)
	}
	defer unix.Close(fd)
	s.handed = true
	return f([]int{s.prog.FD(), raw.FD(), s.maps.Endpoints.FD(), s.maps.Xsks.FD(), s.maps.Counts.FD(), s.maps.Strays.FD(), fd})
}

// JoinSteer shares the program of another receiver, which is on the interface, by the
// descriptors that [Steer.HandOut] gave. It closes them if it fails. They are not trusted:
// the kernel must say that they are the program on this interface, and its maps.
//
// No queue is ours before [Steer.Claim].
func JoinSteer(ifindex int, ifname string, fds []int) (_ *Steer, err error) {
	s := &Steer{
		endpoints: make(map[tagged]struct{}),
		links:     make(map[*Link]struct{}),
	}
	open := slices.Clone(fds)
	defer func() {
		if err != nil {
			err = fmt.Errorf("bpf: share the program on %s: %w", ifname, err)
			_ = s.Close()
			for _, fd := range open {
				_ = unix.Close(fd)
			}
		}
	}()
	if len(fds) != 7 {
		return nil, fmt.Errorf("%d descriptors instead of 7", len(fds))
	}
	next := func() (fd int) {
		fd, open = open[0], open[1:]
		return fd
	}
	if s.prog, err = ebpf.NewProgramFromFD(next()); err != nil {
		return nil, err
	}
	if s.joined, err = link.NewFromFD(next()); err != nil {
		return nil, err
	}
	for _, m := range []**ebpf.Map{&s.maps.Endpoints, &s.maps.Xsks, &s.maps.Counts, &s.maps.Strays} {
		if *m, err = ebpf.NewMapFromFD(next()); err != nil {
			return nil, err
		}
	}
	if err := s.checkJoined(ifindex); err != nil {
		return nil, err
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, err
	}
	s.config.Queues = int(s.maps.Xsks.MaxEntries())
	s.config.MaxEndpoints = int(s.maps.Endpoints.MaxEntries())
	if s.maps.Counts.MaxEntries() != uint32(cpus*(s.config.Queues+1)) || s.maps.Strays.MaxEntries() != uint32(maxOwners*(s.config.Queues+1)) ||
		s.config.Queues < 1 || s.config.Queues > maxQueues {
		return nil, ErrOtherVersion
	}
	if s.table, err = openTable(open[0], s.config.Queues); err != nil {
		return nil, err
	}
	next()
	s.config.AllVLANs = s.table.header.AllVLANs != 0
	if s.counts, err = mapCounts(s.maps.Counts.FD(), s.maps.Strays.FD(), cpus, s.config.Queues); err != nil {
		return nil, err
	}
	if err := s.table.lock(); err != nil {
		return nil, err
	}
	defer s.table.unlock()
	s.owner = -1
	s.reapDead()
	if s.owner, err = s.table.take(); err != nil {
		return nil, err
	}
	s.registered = true
	time.Sleep(pause) // what is counted for the one before us is counted by then
	s.counts.join(s.owner)
	// Whoever had it last may have taken it off the interface meanwhile.
	return s, s.checkJoined(ifindex)
}

// leave gives back what this receiver has of a shared program. The counters are frozen by
// then: another receiver may have the queues next. The caller holds s.mu.
func (s *Steer) leave() error {
	if err := s.table.lock(); err != nil {
		return err // the others will find that we are gone
	}
	defer s.table.unlock()
	s.reap(s.owner)
	return nil
}

// checkJoined asks the kernel what the descriptors are.
func (s *Steer) checkJoined(ifindex int) error {
	info, err := s.joined.Info()
	if err != nil {
		return err
	}
	prog, err := s.prog.Info()
	if err != nil {
		return err
	}
	id, ok := prog.ID()
	if !ok {
		return errors.New("the kernel tells no number of the program")
	}
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return err
	}
	xdp := info.XDP()
	if xdp == nil || info.Program != id {
		return errors.New("the link is not that of the program")
	}
	if on := l.Attrs().Xdp; xdp.Ifindex != uint32(ifindex) || on == nil || !on.Attached || on.ProgId != uint32(id) {
		return ErrDetached
	}
	if prog.Name != "steer_frags" && prog.Name != "steer_plain" {
		return fmt.Errorf("the program is %q", prog.Name)
	}
	s.config.Frags = prog.Name == "steer_frags"
	has, ok := prog.MapIDs()
	if !ok {
		return errors.New("the kernel tells no maps of the program")
	}
	for _, m := range []*ebpf.Map{s.maps.Endpoints, s.maps.Xsks, s.maps.Counts, s.maps.Strays} {
		info, err := m.Info()
		if err != nil {
			return err
		}
		if id, ok := info.ID(); !ok || !slices.Contains(has, id) {
			return fmt.Errorf("map %s is not one of the program", info.Name)
		}
	}
	return nil
}

// Sharing lists the receivers that share the program and live, this one included, with the
// queues that each has.
func (s *Steer) Sharing() (out []Share, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil
	}
	if err := s.table.lock(); err != nil {
		return nil, fmt.Errorf("bpf: %w", err)
	}
	defer s.table.unlock()
	for i := range s.table.header.Owners {
		if s.table.header.Owners[i].Used == 0 || i != s.owner && !s.table.alive(i) {
			continue
		}
		share := Share{Owner: s.table.owner(i)}
		for q, w := range s.table.queues {
			if int(w)-1 == i {
				share.Queues = append(share.Queues, q)
			}
		}
		out = append(out, share)
	}
	return out, nil
}

// Share is what a receiver has of a program.
type Share struct {
	Owner
	Queues []int
}

// setOwner says to the program who has a queue.
func (t *countTable) setOwner(queue int, set uint32) {
	for cpu := range t.cpus {
		atomic.StoreUint64(&t.slots[cpu*(t.queues+1)+queue].Owner, uint64(set))
	}
}

// begin counts a queue as ours, from now on.
func (t *countTable) begin(queue int) {
	if t.owned[queue] {
		return
	}
	t.owned[queue] = true
	for cpu := range t.cpus {
		i := cpu*(t.queues+1) + queue
		other := t.base[i].Other
		t.base[i] = t.load(i)
		t.base[i].Other = other
	}
}

// join begins to count as an owner, who has no queue yet.
func (t *countTable) join(owner int) {
	t.owner = owner
	for q := range t.strayBase {
		t.strayBase[q] = t.loadStray(q)
	}
	for i := range t.base {
		t.base[i].Other = t.load(i).Other
	}
}
