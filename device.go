// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/speadx/speadx/bpf"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

// device is a network device with our program on it and its queues open.
type device struct {
	plan    *planDevice
	steer   *steer
	link    *xsk.Interface
	queues  []*xsk.Queue    // kept, as their counters outlive link
	sources []*source.AFXDP // by queue
	missed  *netif.Missed
	before  netif.Offloads // of the interface, when the program was not on it
	after   netif.Offloads // and when it was
	drops   *netif.Drops

	endpoints []planDeviceEndpoint // that are received now; under changes once it is open

	carrier     bool          // there was one when reception began
	carrierTime time.Duration // that it took to come
}

// openDevice opens the queues of a device in the best wanted mode. No packets
// arrive before link.Enable. touched is called while their memory is touched.
func openDevice(c *Config, p *planDevice, peers *peers, touched func(bytes, of int) error) (_ *device, err error) {
	d := &device{plan: p, steer: &steer{plan: p, peers: peers}}
	defer func() {
		if err != nil {
			peers.end(p.facts.Index, nil)
			d.close()
			return
		}
		peers.end(p.facts.Index, d)
	}()
	f := p.facts
	ic := xsk.InterfaceConfig{
		Ifindex: f.Index, Ifname: f.Name, Driver: f.Driver, MTU: f.MTU,
		Queues: p.asked, CountQueues: func() int { return min(netif.RxQueues(f.Name, f.Index, f.Driver), d.steer.queues()) },
		Want:   map[Mode]xsk.Want{ModeAuto: xsk.WantAuto, ModeZeroCopy: xsk.WantZeroCopy, ModeNative: xsk.WantNative, ModeGeneric: xsk.WantGeneric}[c.Mode],
		Frames: p.frames, Wait: c.Wait, Pages: c.Hugepages, Node: f.Node, Touched: touched,
	}
	if c.Hugepages == pool.Pages1G { // no UMEM fills such a page
		ic.Pages = pool.PagesAuto
	}
	if f.Features != nil {
		ic.Features = &xsk.Features{Native: f.Features.Basic, Redirect: f.Features.Redirect, ZeroCopy: f.Features.ZeroCopy, ZCMaxChain: f.Features.ZCMaxSegs}
		if !f.Features.Basic {
			ic.Offloads = netif.ReadOffloads(f.Name).Names()
		}
	}
	d.before = netif.ReadOffloads(f.Name)
	if d.link, err = xsk.OpenInterface(ic, d.steer); err != nil {
		return nil, err
	}
	d.after = netif.ReadOffloads(f.Name)
	d.endpoints = slices.Clone(p.endpoints)
	endpoints, err := lookupTable(d.endpoints)
	if err != nil {
		return nil, err
	}
	d.queues = d.link.Queues()
	p.queues = len(d.queues)
	for _, q := range d.queues {
		d.sources = append(d.sources, source.NewAFXDP(q, source.AFXDPConfig{
			Name:      fmt.Sprintf("%s queue %d", f.Name, q.Info().Queue),
			Endpoints: endpoints,
			// Only the network stack makes frames of several packets.
			SuperFrames: d.link.Mode() == xsk.ModeGeneric,
		}))
	}
	return d, nil
}

// lookupTable is what a queue's thread finds the stream of a packet in.
func lookupTable(endpoints []planDeviceEndpoint) (*source.Endpoints, error) {
	var list []source.Endpoint
	for _, ep := range withoutVLANs(endpoints) {
		list = append(list, source.Endpoint{Addr: ep.addr, Stream: int32(ep.stream)})
	}
	return source.NewEndpoints(list)
}

// withoutVLANs are endpoints as a thread tells them apart: the program has looked at tags.
func withoutVLANs(endpoints []planDeviceEndpoint) (list []planDeviceEndpoint) {
	for _, ep := range endpoints {
		ep.vlan = bpf.VLAN{}
		if !slices.ContainsFunc(list, ep.same) {
			list = append(list, ep)
		}
	}
	return list
}

// size works out how many queues are opened and how many frames each has.
func (d *planDevice) size(c *Config) error {
	f := d.facts
	d.asked = slices.Compact(slices.Sorted(slices.Values(c.Queues)))
	for _, q := range d.asked {
		if q < 0 || q >= f.RxQueues {
			return fmt.Errorf("interface %s has no queue %d: it has %d, numbered from 0 (ethtool -l %s shows them, ethtool -L changes them)", f.Name, q, f.RxQueues, f.Name)
		}
	}
	d.queues = cmp.Or(len(d.asked), f.RxQueues)
	if d.frames = c.Frames; d.frames == 0 {
		d.frames = xsk.FramesFor(f.RxRing, d.queues)
	}
	return nil
}

// awaitCarrier waits for the carrier, for limit at most. Attaching the program, or binding
// in zero-copy, resets some NICs, and the link is down for seconds after that. What is sent
// meanwhile is lost.
func (d *device) awaitCarrier(ctx context.Context, l *netif.Link, limit time.Duration, log *slog.Logger) error {
	state, err := l.State()
	if err == nil && !state.Carrier && limit > 0 {
		log.Info("waiting for the link", "stage", StageCarrier.String(), "device", d.plan.facts.Name, "limit", limit)
	}
	d.carrier, d.carrierTime, err = l.AwaitCarrier(ctx, limit)
	return err
}

// enable lets packets arrive. The endpoints come last, so that no packet is
// counted as ours for which there is no socket yet.
func (d *device) enable() (err error) {
	// Attaching may have reset the NIC, so counting begins here.
	if d.missed, err = netif.NewMissed(d.plan.facts.Index); err != nil {
		return err
	}
	d.drops = netif.NewDrops(d.plan.facts.Index, d.plan.facts.Name, d.plan.facts.Driver)
	if err := d.link.Enable(); err != nil {
		return err
	}
	for _, ep := range d.endpoints {
		if err := d.steer.program.AddVLANEndpoint(ep.addr, ep.vlan); err != nil {
			return d.steer.peers.occupied(d.plan, err)
		}
	}
	return nil
}

// disable leaves packets to the kernel again, in the opposite order.
func (d *device) disable() error {
	var errs []error
	for _, ep := range d.endpoints {
		errs = append(errs, d.steer.program.RemoveVLANEndpoint(ep.addr, ep.vlan))
	}
	return errors.Join(append(errs, d.link.Disable())...)
}

// close gives everything back but the counters, which can still be read.
func (d *device) close() error {
	var errs []error
	if d.link != nil {
		errs = append(errs, d.link.Close())
	}
	if d.missed != nil {
		d.missed.Close()
		d.drops.Close()
	}
	errs = append(errs, d.steer.close())
	return errors.Join(errs...)
}

// moreEndpoints is how many endpoints of a device can be added later. The program's map has
// room for them from the start: some 100 KiB.
const moreEndpoints = 1024

// steer is the steering program of one device. All rungs of the ladder of modes use it.
type steer struct {
	plan    *planDevice
	peers   *peers
	program *bpf.Steer
	shared  bool // the program is that of another receiver
	foreign bool // the one on the interface is not a receiver's, or it does not share it
}

var (
	_ xsk.Attacher = (*steer)(nil)
	_ xsk.Claimer  = (*steer)(nil)
)

// Attach implements [xsk.Attacher]. A program of ours that is on the interface is shared.
func (s *steer) Attach(mode xsk.Mode) (io.Closer, error) {
	if s.program == nil {
		if err := s.join(); err != nil {
			return nil, err
		}
	}
	l, err := s.attach(mode)
	if s.shared || s.foreign || !errors.Is(err, bpf.ErrOtherProgram) {
		return l, err
	}
	// Another receiver may have been quicker just now.
	s.peers.end(s.plan.facts.Index, nil)
	own := s.program
	s.program = nil
	if joinErr := s.join(); joinErr != nil || s.program == nil {
		s.program = own
		return nil, cmp.Or(joinErr, err)
	}
	if err := own.Close(); err != nil {
		return nil, err
	}
	return s.attach(mode)
}

// join shares the program on the interface, if another receiver gives it.
func (s *steer) join() error {
	p, present, err := s.peers.join(s.plan.facts.Index, s.plan.facts.Name)
	s.foreign = present && p == nil // the receivers are not asked again
	if p == nil || err != nil {
		return err
	}
	if p.AllVLANs() != s.plan.allVLANs {
		different := &SettingError{
			Setting: "AllVLANs", Value: s.plan.allVLANs, Range: strconv.FormatBool(!s.plan.allVLANs),
			Reason: fmt.Sprintf("differs from that of another receiver on interface %s, whose program is shared", s.plan.facts.Name),
		}
		return errors.Join(different, p.Close())
	}
	s.program, s.shared = p, true
	return nil
}

// Claim implements [xsk.Claimer].
func (s *steer) Claim(queues []int) error { return s.program.Claim(queues) }

func (s *steer) attach(mode xsk.Mode) (io.Closer, error) {
	if s.program == nil {
		p, err := bpf.LoadSteer(bpf.SteerConfig{Queues: s.queues(), Frags: bpf.HaveFrags(), MaxEndpoints: len(s.plan.endpoints) + moreEndpoints, AllVLANs: s.plan.allVLANs})
		if err != nil {
			return nil, err
		}
		s.program = p
	}
	at := bpf.Native
	if mode == xsk.ModeGeneric {
		at = bpf.Generic
	}
	if !s.shared {
		s.peers.begin(s.plan.facts.Index)
	}
	l, err := s.program.Attach(s.plan.facts.Index, s.plan.facts.Name, at)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// queues is how many queues the program has room for. Attaching it may add some: virtio_net
// adds one for each processor. No driver adds more than the kernel has made room for.
func (s *steer) queues() int {
	if s.program != nil {
		return s.program.Queues()
	}
	f := s.plan.facts
	return max(f.RxQueues, min(f.AllQueues, f.RxQueues+runtime.NumCPU()))
}

// SetSocket implements [xsk.Attacher].
func (s *steer) SetSocket(queue, fd int) error { return s.program.SetSocket(queue, fd) }

// ClearSocket implements [xsk.Attacher].
func (s *steer) ClearSocket(queue int) error { return s.program.ClearSocket(queue) }

func (s *steer) close() error {
	if s.program == nil {
		return nil
	}
	return s.program.Close()
}

// manyQueues is the number of queues above which it is worth saying how to have
// fewer.
const manyQueues = 16

// queueAdvice says what many queues cost, and how to have fewer; "" if there are
// not many.
func (d *device) queueAdvice() string {
	n := len(d.sources)
	if n <= manyQueues {
		return ""
	}
	f := d.plan.facts
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %d queues, and each has a thread and its own packet buffers. To use fewer, let the NIC deliver on them alone:\n", f.Name, n)
	fmt.Fprintf(&b, "  ethtool -X %s equal 4            # the NIC spreads everything over queues 0 to 3\n", f.Name)
	endpoints := withoutVLANs(d.plan.endpoints)
	for _, ep := range endpoints[:min(len(endpoints), 2)] {
		if ep.addr.Addr().IsUnspecified() {
			fmt.Fprintf(&b, "  ethtool -N %s flow-type udp4 dst-port %d action 0\n", f.Name, ep.addr.Port())
		} else {
			fmt.Fprintf(&b, "  ethtool -N %s flow-type udp%d dst-ip %v dst-port %d action 0\n", f.Name, map[bool]int{true: 4, false: 6}[ep.addr.Addr().Is4()], ep.addr.Addr(), ep.addr.Port())
		}
	}
	b.WriteString("and name them: --queues 0-3")
	return b.String()
}
