// SPDX-License-Identifier: Apache-2.0

package send

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/speadx/speadx/spead"
)

// defaultGrace is how long the heap under way, and then the stop heaps, may
// take after the context has ended, and how long what was sent may take to leave.
const defaultGrace = time.Second

// Result says what was sent. It is the sender's side of a test's ledger:
//
//	packets of data heaps that arrive = Packets - StopHeaps
//	packets made for data heaps       = Packets + Refused - StopHeaps - Duplicated + Dropped
//	data heaps that can be complete   = Heaps - DamagedHeaps - MissingHeaps, if none were Refused
type Result struct {
	Heaps        uint64 // data heaps that were made in full
	DamagedHeaps uint64 // of these, how many lack packets, but not all
	MissingHeaps uint64 // of these, how many lack all packets
	CutHeaps     uint64 // data heaps begun and not finished, as many as are in flight; those just before may lack packets then
	StopHeaps    uint64 // stop heaps, of one packet each
	Packets      uint64 // handed to the network, repetitions and stop heaps included
	Refused      uint64 // packets made that the network did not take, Blast only; none of Packets
	Bytes        uint64 // of their UDP or TCP payload
	Dropped      uint64 // packets of data heaps left out
	Duplicated   uint64 // packets sent a second time
	Reordered    uint64 // packets sent later than one that was made after them
	Elapsed      time.Duration
}

// Gbps is the rate of UDP or TCP payload in Gb/s.
func (r *Result) Gbps() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Bytes) * 8 / float64(r.Elapsed)
}

// Sender sends the heaps of one configuration, once. Close it even if Run is
// not called. Its methods may not be called at the same time.
type Sender struct {
	config     Config
	engine     engine
	runner     runner // nil: all packets go through engine
	packetiser *spead.Packetiser
	heaps      *heapSource
	faults     *faultInjector // nil without faults
	pacer      *pacer
	batch      batch
	scratch    packet // the packet being made, if there are faults
	grace      time.Duration
	result     Result
}

// Open checks the configuration and opens its sockets, in the network
// namespace of the calling thread. Errors name what is wrong with it, or with
// the network: no route, no neighbour, packets that are too large for the MTU.
func Open(c Config) (*Sender, error) {
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	e, err := openEngine(&c)
	if err != nil {
		return nil, fmt.Errorf("send: %w", err)
	}
	s, err := newSender(c, e)
	if err != nil {
		return nil, fmt.Errorf("send: %w", errors.Join(err, e.close()))
	}
	if c.Engine == Blast {
		if s.runner, err = openBlast(&s.config, e); err != nil {
			return nil, fmt.Errorf("send: %w", errors.Join(err, s.Close()))
		}
	}
	return s, nil
}

// newSender is Open with an engine; c is complete.
func newSender(c Config, e engine) (*Sender, error) {
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: c.Flavour, MaxPacket: c.MaxPacket, RepeatPointers: c.RepeatPointers})
	if err != nil {
		return nil, err
	}
	heaps, err := newHeapSource(&c)
	if err != nil {
		return nil, err
	}
	s := &Sender{config: c, engine: e, packetiser: p, heaps: heaps, grace: defaultGrace}
	s.batch.limit = batchBytes
	if c.Rate > 0 {
		s.batch.limit = burstBytes
	}
	if c.Faults.any() && c.Engine != Blast {
		s.faults = newFaultInjector(c.Faults)
	}
	return s, nil
}

// String says in a line what is sent, whereto and how.
func (s *Sender) String() string {
	c := &s.config
	var b strings.Builder
	for i, d := range c.Destinations {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(d.String())
	}
	about := s.engine.about()
	if s.runner != nil {
		about = s.runner.about()
	}
	fmt.Fprintf(&b, ": %s, SPEAD-%v, packets of %d bytes, heaps of %d bytes in ",
		about, c.Flavour, s.packetiser.MaxPacket(), c.payloadSize())
	if c.Items == 1 {
		b.WriteString("1 item")
	} else {
		fmt.Fprintf(&b, "%d items", c.Items)
	}
	if c.DType != "" || c.Shape != nil {
		fmt.Fprintf(&b, " of %v %v", &c.element, c.itemShape())
	}
	if c.Rate > 0 {
		fmt.Fprintf(&b, ", %g Gb/s", c.Rate/1e9)
	} else {
		b.WriteString(", as fast as possible")
	}
	return b.String()
}

// HeapSize is the payload of a data heap in bytes, without descriptors: what
// was asked for, rounded down to whole elements in each item.
func (s *Sender) HeapSize() int64 { return s.config.payloadSize() }

// Run sends all heaps. When ctx ends it finishes the heap under way, sends the
// stop heaps and returns without an error; what takes longer than a second is
// cut short. The result is that so far also if there is an error.
func (s *Sender) Run(ctx context.Context) (Result, error) {
	defer precise()()

	// hard ends a while after ctx, and with it all waiting.
	hard, cancel := s.outlive(ctx)
	defer cancel()

	s.pacer = newPacer(s.config.Rate)
	index, err := s.runHeaps(ctx, hard)
	if err == nil && !s.config.NoStop {
		err = s.runStops(ctx, index)
	}
	if err == nil {
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.grace)
		err = s.engine.drain(limited)
		cancel()
	}
	s.result.Elapsed = time.Since(s.pacer.start)
	if s.faults != nil {
		s.result.Dropped = s.faults.dropped
		s.result.Duplicated = s.faults.duplicated
		s.result.Reordered = s.faults.reordered
	}
	if err != nil {
		return s.result, fmt.Errorf("send: %w", err)
	}
	return s.result, nil
}

// outlive gives a context that ends a while after ctx does, or after now if it has
// ended already.
func (s *Sender) outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(s.grace, cancel) })
	return longer, func() { stop(); cancel() }
}

// runHeaps sends the data heaps, those without descriptors through the runner if there
// is one. It gives the index of the heap after the last.
func (s *Sender) runHeaps(ctx, hard context.Context) (index uint64, err error) {
	heaps := s.config.Heaps
	if s.runner == nil {
		return s.runData(ctx, hard, heaps)
	}
	lead := int64(s.heaps.describe)
	if heaps >= 0 {
		lead = min(lead, heaps)
	}
	index, err = s.runData(ctx, hard, lead)
	if err != nil || ctx.Err() != nil || index == uint64(heaps) {
		return index, err
	}
	if heaps > 0 {
		heaps -= lead
	}
	counts, err := s.runner.run(ctx, heaps, &s.result)
	return index + counts, err
}

// runData sends data heaps through the engine, negative: until ctx ends, and what is
// held back of them. It gives the index of the heap after the last.
func (s *Sender) runData(ctx, hard context.Context, heaps int64) (index uint64, err error) {
	for ; heaps < 0 || index < uint64(heaps); index++ {
		if ctx.Err() != nil {
			break
		}
		if s.heaps.turnsOver(index) {
			if err := s.flush(hard); err != nil {
				return index, err
			}
		}
		if err := s.packetiser.Start(s.config.First+index+1, s.heaps.heap(index)); err != nil {
			return index, err
		}
		dest := int(index % uint64(len(s.config.Destinations)))
		if err := s.sendHeap(hard, dest); err != nil {
			return index + 1, s.unlessCut(hard, err)
		}
	}
	if s.faults != nil {
		err = s.faults.flush(func(p *packet) error { return s.queueCopy(hard, p) })
	}
	if err == nil {
		err = s.flush(hard)
	}
	return index, s.unlessCut(hard, err)
}

// unlessCut turns the error of a wait that hard has ended into none. What the
// batch and the fault injector still hold is lost, and no part of the result.
func (s *Sender) unlessCut(hard context.Context, err error) error {
	if err != nil && hard.Err() != nil && errors.Is(err, hard.Err()) {
		s.batch.n, s.batch.bytes = 0, 0
		return nil
	}
	return err
}

// sendHeap sends the packets of the heap that the packetiser has.
func (s *Sender) sendHeap(ctx context.Context, dest int) error {
	var made, dropped uint64
	for {
		if s.faults == nil {
			if !s.batch.next().make(s.packetiser, dest) {
				break
			}
			made++
			if s.batch.add() {
				if err := s.flush(ctx); err != nil {
					s.result.CutHeaps++
					return err
				}
			}
			continue
		}
		if !s.scratch.make(s.packetiser, dest) {
			break
		}
		made++
		lost, err := s.faults.pass(&s.scratch, func(p *packet) error { return s.queueCopy(ctx, p) })
		if err != nil {
			s.result.CutHeaps++
			return err
		}
		if lost {
			dropped++
		}
	}
	s.result.Heaps++
	switch dropped {
	case 0:
	case made:
		s.result.MissingHeaps++
	default:
		s.result.DamagedHeaps++
	}
	return nil
}

// runStops ends the stream of each destination, whatever became of its data.
// Its few bytes do not wait for their turn, which may be far away after a cut.
func (s *Sender) runStops(ctx context.Context, index uint64) error {
	// A context of its own, so that they are sent after a cut as well. Until ctx
	// ends a connection may be full for as long as its receiver likes.
	ctx, cancel := s.outlive(ctx)
	defer cancel()
	items := []spead.OutItem{spead.ControlItem(spead.CtrlStop)}
	for range s.config.Destinations {
		if err := s.packetiser.Start(s.config.First+index+1, items); err != nil {
			return err
		}
		dest := int(index % uint64(len(s.config.Destinations)))
		for s.batch.next().make(s.packetiser, dest) {
			if s.batch.add() {
				if err := s.sendBatch(ctx); err != nil {
					return err
				}
			}
		}
		s.result.StopHeaps++
		index++
	}
	return s.sendBatch(ctx)
}

// queueCopy adds a copy of p to the batch.
func (s *Sender) queueCopy(ctx context.Context, p *packet) error {
	s.batch.next().copyFrom(p)
	if s.batch.add() {
		return s.flush(ctx)
	}
	return nil
}

// flush sends the batch, not before its time.
func (s *Sender) flush(ctx context.Context) error {
	b := &s.batch
	if b.n == 0 {
		return nil
	}
	s.pacer.wait(ctx, b.bytes)
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.sendBatch(ctx)
}

// sendBatch sends the batch now.
func (s *Sender) sendBatch(ctx context.Context) error {
	b := &s.batch
	n, err := s.engine.send(ctx, b.packets[:b.n])
	for i := range n {
		s.result.Bytes += uint64(b.packets[i].size)
	}
	s.result.Packets += uint64(n)
	b.n, b.bytes = 0, 0
	return err
}

// Close gives everything back. It is idempotent.
func (s *Sender) Close() error {
	if s.engine == nil {
		return nil
	}
	s.heaps.close()
	var errs []error
	if s.runner != nil {
		errs = append(errs, s.runner.close())
	}
	errs = append(errs, s.engine.close())
	s.engine, s.runner = nil, nil
	return errors.Join(errs...)
}
