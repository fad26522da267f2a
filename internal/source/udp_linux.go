// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/sched"
	"golang.org/x/sys/unix"
)

const (
	// udpMessages is how many datagrams, or trains of them with GRO, are taken
	// in one system call and one batch.
	udpMessages = 64

	// udpBufferSize holds the largest datagram and the largest train of GRO, so
	// that nothing is ever cut off. Buffers begin udpBufferStride apart, which
	// is no power of two: else their beginnings, which is all that 9000-byte
	// packets use, would compete for the same sets of the cache. Pages that no
	// packet reaches are never touched and cost nothing.
	udpBufferSize   = 64 << 10
	udpBufferStride = udpBufferSize + 9<<10

	// DefaultSocketBuffer is the receive buffer asked for, in bytes: 50 ms at
	// 10 Gb/s.
	DefaultSocketBuffer = 64 << 20

	// fewSockets is of how many sockets a source hears at once, at least: more may be
	// added.
	fewSockets = 16
)

// UDPEndpoint is an address to receive on.
type UDPEndpoint struct {
	Endpoint

	// Interface is the index of the interface on which packets are heard, and a
	// multicast group is joined. 0 leaves the choice to the routing table for a group. For
	// other addresses it means all interfaces.
	Interface int

	// Shared says that other sockets of this process have the same port, at other
	// addresses. Each gets what is sent to its address, as the endpoints of AF_XDP do. The
	// one of any address does not hear groups then that other programs have joined. When
	// all of them are open, [UDP.Share] keeps other processes from the port again.
	Shared bool
}

// UDPConfig says what the sockets of a source are.
type UDPConfig struct {
	Endpoints []UDPEndpoint

	// Buffer is the receive buffer of each socket in bytes; 0 means
	// [DefaultSocketBuffer]. What was got stands in [UDPInfo].
	Buffer int

	// GRO lets the kernel hand over trains of packets of one sender in one
	// piece, which costs it far less. KernelDropped is then a lower bound.
	GRO bool

	// Spare allows a source without endpoints. [UDP.Add] adds them.
	Spare bool
}

// UDPInfo says what was got.
type UDPInfo struct {
	Buffer int      // bytes of receive buffer, of the socket with the least
	GRO    bool     // in use
	Notes  []string // what could not be had, and the remedy
}

// UDP receives on ordinary sockets, one for each endpoint, that is bound to
// exactly its address: what a socket receives is the endpoint's. All sockets of
// a source are read by one goroutine into the same buffers, so that a source of
// 64 groups costs no more memory than one of a single group.
//
// Groups are joined by the socket itself, and heard only on the interface of the
// join. Several programs may receive one group; the port of another address
// belongs to one socket.
//
// Position counts packets. A socket does not tell how many packets wait in it:
// Mark is math.MaxUint64.
type UDP struct {
	name    string
	info    UDPInfo
	sockets []udpSocket
	poller  *poller
	memory  []byte // of the buffers
	ring    *messageRing

	ready []int32 // sockets that the poller named and that were not read since

	nap     func(time.Duration)
	napTime time.Duration // 0: it does not nap
	napped  uint64        // position at the last wait
	more    bool          // since then a socket was left that may have packets

	// Messages read and not wholly handed on: message next from byte offset.
	// Batches hand them on in order.
	read, next, offset int

	counters counters
	position uint64 // received; published by Release
	settled  atomic.Uint64

	config  UDPConfig   // for sockets that are added
	changed atomic.Bool // there is something in changes
	leaving int         // sockets that are worked off, to be closed

	mu      sync.Mutex // of the following and of sockets, against Close and changes
	closed  bool
	drops   []dropCount // by socket
	gone    uint64      // drops of sockets that were closed
	changes udpChanges
}

type udpSocket struct {
	fd       int // -1: closed
	stream   int32
	name     string
	endpoint UDPEndpoint
	leave    *udpLeave // nil: it stays; under mu
	closing  bool      // the source's goroutine knows of leave
}

var _ Source = (*UDP)(nil)

// ListenUDP opens the sockets in the network namespace of the calling thread.
func ListenUDP(c UDPConfig) (*UDP, error) {
	if len(c.Endpoints) == 0 && !c.Spare {
		return nil, errors.New("udp: no endpoint")
	}
	// Two sockets of one group on one interface would both get its packets.
	byInterface := map[int][]Endpoint{}
	for _, e := range c.Endpoints {
		list := append(byInterface[e.Interface], e.Endpoint)
		if _, err := NewEndpoints(list); err != nil {
			return nil, fmt.Errorf("udp: %w", err)
		}
		byInterface[e.Interface] = list
	}
	if c.Buffer == 0 {
		c.Buffer = DefaultSocketBuffer
	}
	u := &UDP{name: udpName(c.Endpoints), config: c}
	if err := u.open(c); err != nil {
		u.Close()
		return nil, err
	}
	return u, nil
}

func udpName(list []UDPEndpoint) string {
	if len(list) == 0 {
		return "udp"
	}
	name := "udp " + list[0].String()
	if n := len(list) - 1; n > 0 {
		name += fmt.Sprintf(" and %d more", n)
	}
	return name
}

func (u *UDP) open(c UDPConfig) (err error) {
	if u.poller, err = newPoller(max(len(c.Endpoints), fewSockets)); err != nil {
		return fmt.Errorf("udp: %w", err)
	}
	u.info = UDPInfo{Buffer: math.MaxInt, GRO: c.GRO}
	if len(c.Endpoints) == 0 {
		u.info.Buffer = c.Buffer
	}
	for k, e := range c.Endpoints {
		fd, err := u.info.openSocket(e, c)
		if err != nil {
			return fmt.Errorf("udp %v: %w", e.Endpoint, err)
		}
		u.sockets = append(u.sockets, udpSocket{fd: fd, stream: e.Stream, name: e.String(), endpoint: e})
		if err := u.poller.watch(fd, int32(k)); err != nil {
			return fmt.Errorf("udp %v: %w", e.Endpoint, err)
		}
	}
	if u.info.Buffer < c.Buffer {
		u.info.Notes = append(u.info.Notes, smallBuffer(u.info.Buffer, c.Buffer))
	}
	if c.GRO && !u.info.GRO {
		u.info.Notes = append(u.info.Notes, "the kernel has no GRO for UDP sockets (before 5.0)")
	}
	if u.memory, err = unix.Mmap(-1, 0, udpMessages*udpBufferStride, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS); err != nil {
		return fmt.Errorf("udp: map receive buffers: %w", err)
	}
	u.ring = newMessageRing(u.memory)
	u.nap, u.napTime = sched.Nap, napTime(u.info.Buffer)
	u.ready = make([]int32, 0, len(u.poller.events))
	u.drops = make([]dropCount, len(u.sockets))
	return nil
}

// Info says what was got.
func (u *UDP) Info() UDPInfo { return u.info }

// Receive implements [Source].
func (u *UDP) Receive(b *Batch, timeout time.Duration) (int, error) {
	b.reset()
	if u.changed.Load() {
		u.change()
	}
	if u.next == u.read {
		if err := u.take(b, timeout); err != nil {
			return 0, err
		}
		if u.read == 0 {
			return 0, nil
		}
	}
	b.Now, b.Wall = Clock()
	u.fill(b)
	b.count(&u.counters)
	u.position += uint64(len(b.Packets))
	return len(b.Packets), nil
}

// napTime is how long to nap between two looks at sockets while packets come, where the
// receive buffers have so many bytes. So the kernel need not wake us for every few packets.
// A nap is no longer than 32 bytes a ns take to fill the buffer. The buffer counts the memory
// of packets, at least 2304 bytes each. So that is 160 Gb/s of packets of 1472 bytes, and
// sockets receive a third of that and less. 0: it is not worth while.
func napTime(buffer int) time.Duration {
	d := min(time.Duration(buffer/32), sched.LongestNap)
	if d < sched.ShortestNap {
		return 0
	}
	return d
}

// take reads as many messages as the batch has room for, waiting for the first.
func (u *UDP) take(b *Batch, timeout time.Duration) error {
	limit := b.room()
	u.read, u.next, u.offset = 0, 0, 0
	if err := u.drain(limit); err != nil || u.read > 0 {
		return err
	}
	b.wait()
	if came := u.position != u.napped; came && !u.more && u.napTime > 0 && timeout >= 2*u.napTime {
		u.nap(u.napTime)
		timeout -= u.napTime
	}
	u.napped, u.more = u.position, false
	var err error
	u.ready, err = u.poller.wait(timeout, u.ready)
	b.work()
	if err != nil {
		return fmt.Errorf("%s: %w", u.name, err)
	}
	return u.drain(limit)
}

// drain reads each ready socket once. One that still has packets is named by
// epoll again, behind those that have waited longer: none can keep the others
// from being read.
func (u *UDP) drain(limit int) error {
	limit = min(limit, udpMessages)
	for len(u.ready) > 0 && u.read < limit {
		k := u.ready[0]
		copy(u.ready, u.ready[1:])
		u.ready = u.ready[:len(u.ready)-1]
		if int(k) >= len(u.sockets) || u.sockets[k].fd < 0 {
			continue // not yet there, or closed since: see change
		}
		n, err := u.ring.receive(u.sockets[k].fd, u.read, limit)
		u.more = u.more || n == limit-u.read
		if err != nil {
			return fmt.Errorf("udp %s: receive: %w", u.sockets[k].name, err)
		}
		for i := u.read; i < u.read+n; i++ {
			u.ring.streams[i] = u.sockets[k].stream
		}
		if u.leaving > 0 && u.sockets[k].closing {
			u.workedOff(int(k), n < limit-u.read)
		}
		u.read += n
	}
	return nil
}

// fill hands on messages, those of GRO cut into packets.
func (u *UDP) fill(b *Batch) {
	for u.next < u.read && b.room() > 0 {
		data, segment, whole := u.ring.message(u.next)
		if !whole {
			u.counters.truncated.Add(1)
			u.next++
			continue
		}
		size := len(data) - u.offset
		if segment > 0 && segment < size {
			size = segment
			u.counters.superFrames.Add(1)
		}
		b.add(heap.Packet{First: data[u.offset : u.offset+size : u.offset+size], Len: size, From: u.ring.sender(u.next)}, u.ring.streams[u.next])
		if u.offset += size; u.offset == len(data) {
			u.next++
			u.offset = 0
		}
	}
}

// Release implements [Source].
func (u *UDP) Release() { u.settled.Store(u.position) }

// Mark implements [Source].
func (u *UDP) Mark() uint64 { return math.MaxUint64 }

// Position implements [Source].
func (u *UDP) Position() uint64 { return u.settled.Load() }

// Wake implements [Source].
func (u *UDP) Wake() { u.poller.wake() }

// Counts implements [Source]. It asks the kernel for what it dropped.
func (u *UDP) Counts() Counts {
	c := u.counters.snapshot()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.readDrops()
	c.KernelDropped = u.gone
	for _, d := range u.drops {
		c.KernelDropped += d.total
	}
	c.KernelDroppedAtLeast = u.info.GRO && c.KernelDropped > 0
	return c
}

// dropCount makes a count that does not wrap of the kernel's 32 bits.
type dropCount struct {
	last  uint32
	total uint64
}

func (d *dropCount) update(now uint32) {
	d.total += uint64(now - d.last)
	d.last = now
}

// readDrops is called under mu.
func (u *UDP) readDrops() {
	if u.closed {
		return
	}
	for k := range u.drops {
		if u.sockets[k].fd < 0 {
			continue
		}
		if n, err := socketDrops(u.sockets[k].fd); err == nil {
			u.drops[k].update(n)
		}
	}
}

// Close implements [Source].
func (u *UDP) Close() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return nil
	}
	u.readDrops()
	u.closed = true
	var errs []error
	for _, s := range slices.Concat(u.sockets, u.changes.fresh) {
		if s.fd >= 0 {
			errs = append(errs, unix.Close(s.fd))
			s.leave.end()
		}
	}
	errs = append(errs, u.poller.close())
	if u.memory != nil {
		errs = append(errs, unix.Munmap(u.memory))
		u.memory, u.ring = nil, nil
	}
	return errors.Join(errs...)
}

// Name implements [Source].
func (u *UDP) Name() string { return u.name }
