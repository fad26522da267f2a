// SPDX-License-Identifier: Apache-2.0

package send

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/blast"
	"github.com/speadx/speadx/internal/pattern"
	"github.com/speadx/speadx/internal/sched"
	"github.com/speadx/speadx/spead"
)

// blastRunner has the kernel make and send the data heaps: see [blast.Generator]. The
// heaps with descriptors and the stop heaps go through UDP sockets, whose addresses
// and ports are the source of the others too: to a receiver it is one sender.
type blastRunner struct {
	blast      *blast.Generator
	iface      string
	cpu        int
	packets    int // of a heap
	full, last int // bytes of UDP payload in a packet, and in the last of a heap
}

// openBlast opens the runner that goes with a UDP engine.
func openBlast(c *Config, e engine) (runner, error) {
	paths, err := framePaths(c)
	if err != nil {
		return nil, err
	}
	r := &blastRunner{iface: paths[0].link.Attrs().Name}
	if kind := paths[0].link.Type(); kind != "veth" {
		return nil, fmt.Errorf("engine blast sends out of a veth, and %s is %s (choose another engine)", r.iface, kind)
	}
	cpus, err := sched.CPUs()
	if err != nil {
		return nil, err
	}
	r.cpu = cpus[len(cpus)-1]
	config := blast.Config{
		Ifindex:        paths[0].link.Attrs().Index,
		CPU:            r.cpu,
		InFlight:       c.InFlight,
		FirstCount:     c.First + 1,
		DropEvery:      every(c.Faults.Drop),
		DuplicateEvery: every(c.Faults.Duplicate),
		SwapEvery:      every(c.Faults.Reorder),
	}
	if !c.NoDescriptors {
		config.FirstCount += uint64(len(c.Destinations))
	}
	var full, last []byte
	if full, last, config.PacketsPerHeap, err = blastPackets(c); err != nil {
		return nil, err
	}
	for i, s := range e.(*udpEngine).sockets {
		port, err := localPort(s.fd)
		if err != nil {
			return nil, err
		}
		h := paths[i].frameHeader(c, port, s.dest)
		f := blast.Frames{Full: h.frame(full)}
		if len(last) != len(full) {
			f.Last = h.frame(last)
		}
		config.Frames = append(config.Frames, f)
	}
	r.packets, r.full, r.last = config.PacketsPerHeap, len(full), len(last)
	if r.blast, err = blast.Load(config); err != nil {
		return nil, err
	}
	if c.Rate > 0 {
		packets := float64(config.PacketsPerHeap)
		r.blast.SetRate(c.Rate / 8 / (((packets-1)*float64(r.full) + float64(r.last)) / packets))
	}
	return r, nil
}

// blastPackets are the first and the last packet of a data heap, of how many.
func blastPackets(c *Config) (full, last []byte, packets int, err error) {
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: c.Flavour, MaxPacket: c.MaxPacket, RepeatPointers: true})
	if err != nil {
		return nil, nil, 0, err
	}
	items := make([]spead.OutItem, c.Items)
	data := make([]byte, c.itemSize())
	for i := range items {
		items[i] = spead.OutItem{ID: pattern.FirstID + uint64(i), Data: data}
	}
	if err := p.Start(0, items); err != nil {
		return nil, nil, 0, err
	}
	for {
		packet, ok := p.AppendNext(last[:0])
		if !ok {
			return full, last, packets, nil
		}
		last = packet
		if packets++; packets == 1 {
			full = append(full, packet...)
		}
	}
}

// frame is a whole frame around a payload.
func (h *frameHeader) frame(payload []byte) []byte {
	frame := append(make([]byte, len(h.bytes)), payload...)
	h.put(frame, len(payload))
	h.putChecksum(frame, addSum(0, frame[len(h.bytes)-udpHeader:]), len(payload))
	return frame
}

// localPort is the port that a socket sends from.
func localPort(fd int) (uint16, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return uint16(sa.Port), nil
	case *unix.SockaddrInet6:
		return uint16(sa.Port), nil
	}
	return 0, errors.New("a socket has no port")
}

func (r *blastRunner) about() string {
	return fmt.Sprintf("made in the kernel for %s on CPU %d", r.iface, r.cpu)
}

func (r *blastRunner) run(ctx context.Context, heaps int64, result *Result) (counts uint64, err error) {
	if heaps == 0 {
		return 0, nil
	}
	n, err := r.blast.Run(ctx, uint64(max(heaps, 0)))
	result.Heaps += n.Heaps
	result.DamagedHeaps += n.Damaged
	result.MissingHeaps += n.Missing
	result.CutHeaps += n.Cut
	result.Packets += n.Sent()
	result.Refused += n.Refused
	result.Dropped += n.Dropped
	result.Duplicated += n.Duplicated
	result.Reordered += n.Swapped
	if n.Attempted > 0 {
		// Which ones were refused is not known: as many of the last ones of heaps
		// as there are of these.
		bytes := float64((n.Attempted-n.Last)*uint64(r.full) + n.Last*uint64(r.last))
		result.Bytes += uint64(math.Round(bytes * float64(n.Sent()) / float64(n.Attempted)))
	}
	return n.Heaps + n.Cut, err
}

func (r *blastRunner) close() error { return r.blast.Close() }

// OpenBlast opens the generator of engine blast alone, for those who send many times
// and pace it themselves: heaps from count 1 on, without descriptors and stops, of so
// many packets each. Close it.
func OpenBlast(c Config) (blast *blast.Generator, packetsPerHeap int, err error) {
	c.Engine, c.NoDescriptors, c.NoStop = Blast, true, true
	if err := c.complete(); err != nil {
		return nil, 0, fmt.Errorf("send: %w", err)
	}
	// The sockets are for the ports that packets are from.
	e, err := openUDP(&c)
	if err != nil {
		return nil, 0, fmt.Errorf("send: %w", err)
	}
	r, err := openBlast(&c, e)
	if err = errors.Join(err, e.close()); err != nil {
		if r != nil {
			err = errors.Join(err, r.close())
		}
		return nil, 0, fmt.Errorf("send: %w", err)
	}
	b := r.(*blastRunner)
	return b.blast, b.packets, nil
}
