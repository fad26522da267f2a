// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/speadx/speadx/internal/sandbox"
	"golang.org/x/sys/unix"
)

//go:generate go tool bpf2go -tags linux -cflags "-O2 -mcpu=v3 -Wall -Wextra -Werror -Iheaders" steer steer.bpf.c

// maxQueues is far above what any interface has, and keeps sizes in range.
const maxQueues = 1 << 16

// SteerConfig says what a [Steer] has room for.
type SteerConfig struct {
	// Queues is how many receive queues may have a socket, numbered from 0: the
	// interface's number of receive queues. It has no default.
	Queues int

	// Frags selects the program that accepts packets in several buffers, which
	// native mode needs for an MTU above some 3500 bytes. It needs Linux 5.18.
	Frags bool

	// MaxEndpoints is how many endpoints there may be at once; 0: 4096.
	MaxEndpoints int

	// AllVLANs overlooks VLAN tags: an endpoint is ours in every VLAN.
	AllVLANs bool
}

func (c *SteerConfig) setDefaults() error {
	if c.Queues < 1 || c.Queues > maxQueues {
		return fmt.Errorf("bpf: %d queues are outside 1 to %d", c.Queues, maxQueues)
	}
	if c.MaxEndpoints == 0 {
		c.MaxEndpoints = 4096
	}
	if c.MaxEndpoints < 1 || c.MaxEndpoints > 1<<20 {
		return fmt.Errorf("bpf: %d endpoints are outside 1 to %d", c.MaxEndpoints, 1<<20)
	}
	return nil
}

// Steer is the loaded program. All methods may be called from any goroutine.
type Steer struct {
	config SteerConfig
	prog   *ebpf.Program
	maps   steerMaps

	mu        sync.RWMutex // reading counters takes it shared: no system call
	endpoints map[tagged]struct{}
	links     map[*Link]struct{}
	counts    *countTable
	closed    bool

	// The receivers that share the program, of which this is one.
	table      *table
	owner      int       // its number among them
	registered bool      // it has one
	joined     link.Link // of the receiver that had the program before; nil: ours is the first
	handed     bool      // others were given the link
}

// LoadSteer loads the program, with no endpoints and no sockets, attached nowhere.
// It needs CAP_BPF and CAP_NET_ADMIN; the lack of one is a [*PermissionError]. It needs
// Linux 5.11 too, where maps no longer count against RLIMIT_MEMLOCK.
func LoadSteer(c SteerConfig) (_ *Steer, err error) {
	if err := c.setDefaults(); err != nil {
		return nil, err
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, fmt.Errorf("bpf: count the CPUs: %w", err)
	}
	spec, err := loadSteer()
	if err != nil {
		return nil, fmt.Errorf("bpf: read the steering program: %w", err)
	}
	if err := spec.Variables[steerVarQueues].Set(uint32(c.Queues)); err != nil {
		return nil, fmt.Errorf("bpf: set the number of queues: %w", err)
	}
	if c.AllVLANs {
		if err := spec.Variables[steerVarAnyVlan].Set(uint32(1)); err != nil {
			return nil, fmt.Errorf("bpf: overlook VLAN tags: %w", err)
		}
	}
	spec.Maps[steerMapXsks].MaxEntries = uint32(c.Queues)
	spec.Maps[steerMapEndpoints].MaxEntries = uint32(c.MaxEndpoints)
	spec.Maps[steerMapCounts].MaxEntries = uint32(cpus * (c.Queues + 1))
	spec.Maps[steerMapStrays].MaxEntries = uint32(maxOwners * (c.Queues + 1))

	s := &Steer{
		config:    c,
		endpoints: make(map[tagged]struct{}),
		links:     make(map[*Link]struct{}),
	}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	if s.prog, err = s.load(spec); err != nil {
		return nil, loadError(err)
	}
	if s.counts, err = mapCounts(s.maps.Counts.FD(), s.maps.Strays.FD(), cpus, c.Queues); err != nil {
		return nil, fmt.Errorf("bpf: map the counters: %w", err)
	}
	if s.table, err = newTable(c.Queues); err != nil {
		return nil, fmt.Errorf("bpf: make the table of receivers: %w", err)
	}
	if c.AllVLANs {
		s.table.header.AllVLANs = 1
	}
	if s.owner, err = s.table.take(); err != nil {
		return nil, fmt.Errorf("bpf: %w", err)
	}
	s.registered = true
	for q := range c.Queues + 1 {
		s.counts.begin(q)
		s.counts.setOwner(q, s.set())
	}
	for q := range s.table.queues {
		s.table.queues[q] = uint32(s.owner) + 1
	}
	return s, nil
}

// load loads the one program wanted; the other may be beyond this kernel.
func (s *Steer) load(spec *ebpf.CollectionSpec) (*ebpf.Program, error) {
	if s.config.Frags {
		var objects struct {
			steerMaps
			Prog *ebpf.Program `ebpf:"steer_frags"`
		}
		err := spec.LoadAndAssign(&objects, nil)
		s.maps = objects.steerMaps
		return objects.Prog, err
	}
	var objects struct {
		steerMaps
		Prog *ebpf.Program `ebpf:"steer_plain"`
	}
	err := spec.LoadAndAssign(&objects, nil)
	s.maps = objects.steerMaps
	return objects.Prog, err
}

func loadError(err error) error {
	const op = "load the steering program"
	if sandbox.Refused(err) && !errors.Is(err, unix.EACCES) { // EACCES is also the verifier's
		return newPermissionError(op, err, sandbox.BPF, sandbox.NetAdmin)
	}
	// The helper came with Linux 5.11.
	if errors.Is(features.HaveProgramHelper(ebpf.XDP, asm.FnKtimeGetCoarseNs), ebpf.ErrNotSupported) {
		return fmt.Errorf("bpf: %s: %w (the kernel is too old: Linux 5.11 is needed)", op, err)
	}
	return fmt.Errorf("bpf: %s: %w", op, err)
}

// HaveFrags reports whether the kernel runs programs on packets in several buffers:
// Linux 5.18, or one that has this from there.
func HaveFrags() bool {
	return !errors.Is(features.HaveProgramHelper(ebpf.XDP, asm.FnXdpGetBuffLen), ebpf.ErrNotSupported)
}

// Queues is how many queues may have a socket.
func (s *Steer) Queues() int { return s.config.Queues }

// AllVLANs reports whether the program overlooks VLAN tags.
func (s *Steer) AllVLANs() bool { return s.config.AllVLANs }

// Frags reports whether the program accepts packets in several buffers.
func (s *Steer) Frags() bool { return s.config.Frags }

// SetSocket sends the packets of a queue to the AF_XDP socket fd from now on. The
// socket has to be bound to that queue of the interface the program is attached
// to: the kernel drops what is sent to any other. A closed socket leaves its place
// by itself.
func (s *Steer) SetSocket(queue, fd int) error {
	if err := s.checkQueue(queue); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return fmt.Errorf("bpf: set the socket of queue %d: the program is closed", queue)
	}
	if fd < 0 {
		return fmt.Errorf("bpf: socket of queue %d: bad descriptor %d", queue, fd)
	}
	if err := s.maps.Xsks.Put(uint32(queue), uint32(fd)); err != nil {
		return fmt.Errorf("bpf: set the socket of queue %d: %w", queue, err)
	}
	return nil
}

// ClearSocket leaves the packets of a queue to the kernel from now on. It is no
// error if they were.
func (s *Steer) ClearSocket(queue int) error {
	if err := s.checkQueue(queue); err != nil {
		return err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return nil
	}
	if err := s.maps.Xsks.Delete(uint32(queue)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("bpf: clear the socket of queue %d: %w", queue, err)
	}
	return nil
}

func (s *Steer) checkQueue(queue int) error {
	if queue < 0 || queue >= s.config.Queues {
		return fmt.Errorf("bpf: queue %d is outside 0 to %d, for which the program was loaded", queue, s.config.Queues-1)
	}
	return nil
}

// Close takes the program off every interface and frees it. Counters can still be
// read, and stay as they were. It is idempotent.
func (s *Steer) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	links := s.links
	s.links = nil
	s.mu.Unlock()

	var errs []error
	for l := range links {
		errs = append(errs, l.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts != nil {
		last := s.counts.frozen()
		if s.registered && (s.joined != nil || s.handed) {
			errs = append(errs, s.leave())
		}
		errs = append(errs, s.counts.unmap())
		s.counts = last
	}
	if s.joined != nil {
		errs = append(errs, s.joined.Close())
	}
	errs = append(errs, s.prog.Close(), s.maps.Counts.Close(), s.maps.Strays.Close(), s.maps.Endpoints.Close(), s.maps.Xsks.Close(), s.table.close())
	return errors.Join(errs...)
}
