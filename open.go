// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/sched"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/internal/wakeup"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

// Open starts to receive, in the network namespace of the calling thread. When it
// returns, all memory is there and packets are being taken. If ctx is done before that,
// Open gives everything back, and its error wraps that of ctx. Later ctx means nothing:
// [Receiver.Stop] and [Receiver.Close] end reception. A program that wants it to end with a
// context says context.AfterFunc(ctx, r.Stop).
//
// Nothing on the machine is changed but what ends with the receiver, or with the
// process however it ends: the program on the interfaces, memberships in
// multicast groups, sockets and memory.
func Open(ctx context.Context, cfg Config) (*Receiver, error) { return openOn(ctx, cfg, thisMachine) }

func openOn(ctx context.Context, cfg Config, machine resolver) (*Receiver, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	accept, err := cfg.filter()
	if err != nil {
		return nil, err
	}
	notes, err := splitCaptures(&cfg, accept)
	if err != nil {
		return nil, err
	}
	p, err := makePlan(&cfg, machine)
	if err != nil {
		return nil, err
	}
	p.notes = append(notes, p.notes...)
	r := newReceiver(ctx, cfg, p)
	r.accept = accept
	if err := r.open(); err != nil {
		r.giveBack()
		return nil, r.opening.failed(err)
	}
	threadDone := make(chan *thread, len(r.threads))
	started := r.startThreads((*thread).ofQueue, threadDone)
	if err := r.letIn(ctx); err != nil {
		for _, s := range r.streams {
			s.assembler.Abort() // nobody will make room in a ring that is full
		}
		for _, t := range started {
			t.stop()
			<-t.done
		}
		r.giveBack()
		return nil, r.opening.failed(fmt.Errorf("speadx: %w", err))
	}
	// What these read would fill the rings while Open waits for a carrier, as nobody can call
	// Next yet.
	r.startThreads(func(t *thread) bool { return !t.ofQueue() }, threadDone)
	for _, d := range p.found {
		r.findings.report(d)
	}
	for _, s := range r.streams {
		s.noteSince()
	}
	_ = r.opening.stage(StageReady, "") // from now on the context means nothing
	r.beginQuiet()
	go r.supervise(threadDone)
	return r, nil
}

// startThreads starts some of the threads, and returns them when they run: the caller may
// drop the privileges for that when Open has returned.
func (r *Receiver) startThreads(which func(*thread) bool, threadDone chan<- *thread) []*thread {
	var list []*thread
	for _, t := range r.threads {
		if which(t) {
			list = append(list, t)
		}
	}
	for _, t := range list {
		t.pulse.Begin(source.Now())
		go func() { t.run(); threadDone <- t }()
	}
	for _, t := range list {
		<-t.started
	}
	return list
}

func newReceiver(ctx context.Context, cfg Config, p *plan) *Receiver {
	return &Receiver{
		cfg: cfg, plan: p, opening: newOpening(ctx, &cfg), findings: newFindings(cfg.Logger),
		causes:   causes{keep: creditTime(cfg.MaxAge)},
		stopping: make(chan struct{}), overCh: make(chan struct{}), downs: make(chan struct{}, 1),
	}
}

// open opens everything but does not let packets come.
//
// The pool comes first. To touch it can take seconds, and it is what most likely fails.
// To attach the program resets many NICs. In a group that is joined while nothing
// reads, the kernel has to drop what the network sends. So both wait until the memory
// is there. The sizes of the pool follow from the plan. The pool is made anew if they
// turn out to be others: where AF_XDP fails and sockets are used instead, or where
// attaching the program adds queues, as with virtio_net.
func (r *Receiver) open() error {
	if err := r.checkCPUs(); err != nil {
		return err
	}
	if err := r.openPeers(); err != nil {
		return err
	}
	if err := r.openMemory(); err != nil {
		return err
	}
	if err := r.openDevices(); err != nil {
		return err
	}
	if len(r.plan.refused) > 0 { // sockets get nothing of what another receiver takes
		if err := r.checkPeers(); err != nil {
			return err
		}
	}
	r.peers.publish(r.receives())
	if err := r.openPool(); err != nil {
		return err
	}
	return r.openThreads()
}

// openMemory makes what needs no device.
func (r *Receiver) openMemory() (err error) {
	if r.ready, err = wakeup.New(); err != nil {
		return fmt.Errorf("speadx: %w", err)
	}
	r.waiters = wakeup.NewWaiters(r.ready)
	return r.openPool()
}

// letIn lets packets come. The threads that read the devices' queues run by then.
//
// It waits for the carriers of all devices together, so that the limit counts once. A device
// receives as soon as it has a carrier, or the limit has passed.
func (r *Receiver) letIn(ctx context.Context) error {
	if err := r.beginChanges(); err != nil {
		return err
	}
	if len(r.devices) == 0 {
		return r.opening.stage(StageJoin, "")
	}
	joins, err := r.joinsByDevice()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type arrival struct {
		*device
		err error
	}
	arrivals := make(chan arrival)
	waiting := 0
	for _, d := range r.devices {
		if err = r.opening.stage(StageCarrier, d.plan.facts.Name); err != nil {
			break
		}
		var l *netif.Link
		if l, err = netif.NewLink(d.plan.facts.Index, d.plan.facts.Name); err != nil {
			break
		}
		waiting++
		go func() {
			defer l.Close()
			arrivals <- arrival{d, d.awaitCarrier(ctx, l, r.cfg.CarrierWait, r.cfg.Logger)}
		}()
	}
	for ; waiting > 0; waiting-- {
		if err != nil {
			cancel() // what the others wait for
			<-arrivals
			continue
		}
		came := <-arrivals
		if err = came.err; err != nil {
			continue
		}
		if waiting == 1 {
			if err = r.opening.stage(StageJoin, ""); err != nil {
				continue
			}
		}
		err = r.admit(came.device, joins[came.device])
	}
	return err
}

// joinsByDevice are the groups to join once a device has a carrier. Where several devices
// lie below an interface, all have its groups: joining one again changes nothing.
func (r *Receiver) joinsByDevice() (map[*device][]planLink, error) {
	out := map[*device][]planLink{}
	for _, j := range r.plan.joins {
		l, err := r.liveLink(j)
		if err != nil {
			return nil, err
		}
		for _, d := range l.devices {
			out[d] = append(out[d], j)
		}
	}
	return out, nil
}

// admit joins groups, and lets the packets of a device come.
func (r *Receiver) admit(d *device, joins []planLink) (err error) {
	for _, j := range joins {
		if r.groups == nil {
			r.groups, err = netif.Join(j.addr.Addr(), j.ifindex)
		} else {
			err = r.groups.Add(j.addr.Addr(), j.ifindex)
		}
		if err != nil {
			return fmt.Errorf("interface %s: %w", j.name, err)
		}
	}
	return d.enable()
}

// giveBack closes what a failed Open has opened.
func (r *Receiver) giveBack() {
	r.peers.close()
	for _, t := range r.threads {
		t.src.Close()
	}
	r.leaveGroups()
	for _, d := range r.devices {
		d.close()
	}
	for _, l := range r.links {
		l.Close()
	}
	r.closeQuiet()
	r.closeVitals()
	r.closePool()
	if r.ready != nil {
		r.ready.Close()
	}
}

// reportTime is how long the kernel takes, at least, to send the report of a group that was
// left: IGMP and MLD are sent by a timer of a few jiffies.
const reportTime = 50 * time.Millisecond

// leaveGroups leaves the groups that were joined for devices. It comes before the program is
// detached: that resets some NICs, and would lose the reports. So it waits for them.
func (r *Receiver) leaveGroups() error {
	if r.groups == nil {
		return nil
	}
	err := r.groups.Close()
	time.Sleep(reportTime)
	return err
}

// closePool gives the pool back, and the assemblers. No heap was received.
func (r *Receiver) closePool() error {
	var errs []error
	for _, s := range r.streams {
		errs = append(errs, s.assembler.Close())
	}
	if r.pool != nil {
		errs = append(errs, r.pool.Close())
	}
	r.streams, r.pool = nil, nil
	return errors.Join(errs...)
}

// openDevices opens the queues of all devices. In mode auto UDP sockets do
// instead, for all of them, if that fails.
func (r *Receiver) openDevices() error {
	for _, pd := range r.plan.devices {
		if err := r.opening.stage(StageAttach, pd.facts.Name); err != nil {
			return fmt.Errorf("speadx: %w", err)
		}
		d, err := openDevice(&r.cfg, pd, r.peers, r.opening.cancelled)
		if err == nil {
			r.devices = append(r.devices, d)
			continue
		}
		err = r.peers.occupied(pd, err)
		var step *xsk.OpenError
		// What is missing is not AF_XDP, but a right setting or memory for it.
		settings := errors.As(err, &step) && slices.Contains([]string{xsk.StepConfig, xsk.StepMemory, xsk.StepRegister}, step.Step)
		asked := r.cfg.Mode != ModeAuto || r.cfg.Queues != nil || r.cfg.Frames != 0
		if asked || settings || errors.Is(err, xsk.ErrNoBusyPoll) || errors.As(err, new(*SettingError)) {
			return fmt.Errorf("speadx: %w", err)
		}
		r.plan.notes = append(r.plan.notes, fmt.Sprintf("%s: UDP sockets are used, since AF_XDP does not work: %v", pd.facts.Name, err))
		refused := RefusedDevice{Name: pd.facts.Name, Err: err}
		if ladder := (*xsk.LadderError)(nil); errors.As(err, &ladder) {
			refused.Rungs = ladder.Rungs
		}
		r.plan.refused = append(r.plan.refused, refused)
		r.peers.forget()
		for _, d := range r.devices {
			if err := d.close(); err != nil {
				return fmt.Errorf("speadx: %w", err)
			}
		}
		r.devices = nil
		r.plan.useSockets()
		break
	}
	for _, d := range r.devices {
		if longest := d.queues[0].Info().MaxFrame; longest > 0 && d.plan.facts.MTU > xsk.OneFrameMTU {
			r.plan.notes = append(r.plan.notes, fmt.Sprintf("%s: packets whose frame has more than %d bytes are dropped, as this kernel puts a packet into one frame only (--mode udp receives them, or Linux 6.6)", d.plan.facts.Name, longest))
		}
		if d.link.Mode() == xsk.ModeZeroCopy && xsk.ZeroCopyFault(d.plan.facts.Driver) {
			r.plan.notes = append(r.plan.notes, fmt.Sprintf("%s: the zero-copy of %s has a fault, which damages data when packets come faster than they are read (--mode native has none)", d.plan.facts.Name, d.plan.facts.Driver))
		}
		if text := d.effectsText(); text != "" {
			r.plan.notes = append(r.plan.notes, text)
		}
		if advice := d.queueAdvice(); advice != "" {
			r.plan.notes = append(r.plan.notes, advice)
		}
	}
	return nil
}

// openPool makes the pool and the assemblers, unless they are there and of the right
// sizes.
func (r *Receiver) openPool() error {
	pc := pool.Config{Pages: r.cfg.Hugepages, Node: r.plan.node(), Guard: r.cfg.GuardReleased}
	var windows []streamWindow
	windows, r.poolNotes = r.plan.windows(&r.cfg)
	for i := range r.plan.streams {
		ps := &r.plan.streams[i]
		pc.Shares = append(pc.Shares, pool.ShareConfig{
			Name: ps.name,
			Live: windows[i].most * r.cfg.Substreams,
			Ring: r.cfg.RingHeaps, Held: r.cfg.ConsumerHeaps, Threads: ps.threads(),
			Largest: int(r.cfg.HeapSize), SmallBelow: r.cfg.PoolMin,
		})
	}
	if err := r.checkSlots(pc, windows); err != nil {
		return err
	}
	var assemblers []heap.Config
	for i := range pc.Shares {
		hc := r.assemblerConfig(&r.plan.streams[i])
		hc.Window = windows[i].first
		var err error
		if pc.Shares[i].Tables, err = hc.TableBytes(pc.Shares[i]); err != nil {
			return fmt.Errorf("speadx: %w", err)
		}
		assemblers = append(assemblers, hc)
	}
	if r.pool != nil {
		if slices.Equal(pc.Shares, r.sizes.Shares) && pc.Node == r.sizes.Node {
			return nil
		}
		if err := r.closePool(); err != nil {
			return fmt.Errorf("speadx: %w", err)
		}
	}
	if err := r.opening.stage(StageMemory, ""); err != nil {
		return fmt.Errorf("speadx: %w", err)
	}
	r.sizes = pc
	pc.Touched = r.opening.touched
	var err error
	if r.pool, err = pool.New(pc); err != nil {
		return fmt.Errorf("speadx: %w", err)
	}
	for i, hc := range assemblers {
		hc.Share = r.pool.Share(i)
		a, err := heap.New(hc)
		if err != nil {
			return fmt.Errorf("speadx: %w", err)
		}
		r.streams = append(r.streams, &stream{plan: &r.plan.streams[i], assembler: a, share: r.pool.Share(i)})
	}
	return nil
}

// checkSlots says which settings ask for more slots, or for more room beside them, than
// a stream can have. Nothing is mapped yet.
func (r *Receiver) checkSlots(pc pool.Config, windows []streamWindow) error {
	c := &r.cfg
	for i, share := range pc.Shares {
		slots, both := share.Live+share.Ring+share.Held+share.Threads, ""
		if slots <= heap.MaxSlots {
			_, all, err := pool.Size(pool.Config{Shares: []pool.ShareConfig{share}, Guard: pc.Guard})
			if err != nil {
				return fmt.Errorf("speadx: %w", err)
			}
			if all > slots {
				slots, both = all, ", and as many for small heaps"
			}
		}
		for _, v := range []struct {
			what    string
			n, most int
		}{
			{"slots of the pool,", slots, heap.MaxSlots - share.Threads},
			{fmt.Sprintf("places for item pointers, %d for each heap,", c.MaxItems), c.MaxItems * (slots + share.Held), maxPlaces},
			{fmt.Sprintf("places for ranges, %d for each heap,", c.MaxRanges), c.MaxRanges * (slots + share.Threads), maxPlaces},
		} {
			if v.n > v.most {
				return fmt.Errorf("speadx: stream %s needs %d %s and can have %d: %d concurrent heaps × %d substreams + %d ring heaps + %d consumer heaps + %d threads%s",
					share.Name, v.n, v.what, v.most, windows[i].most, c.Substreams, c.RingHeaps, c.ConsumerHeaps, share.Threads, both)
			}
		}
	}
	return nil
}

// maxPlaces bounds what MaxItems or MaxRanges of [Config] may come to for all heaps of a
// stream, which is some 30 GiB.
const maxPlaces = 1 << 30

// assemblerConfig is that of a stream's assembler, but for its share.
func (r *Receiver) assemblerConfig(ps *planStream) heap.Config {
	return heap.Config{
		Name:          ps.name,
		Substreams:    r.cfg.Substreams,
		OnFull:        r.cfg.OnFull,
		Repeats:       r.cfg.Repeats,
		MaxAge:        r.cfg.MaxAge,
		MaxItems:      r.cfg.MaxItems,
		MaxRanges:     r.cfg.MaxRanges,
		Incomplete:    r.cfg.Incomplete,
		IgnoreStop:    r.cfg.IgnoreStop,
		Stops:         r.cfg.Stops,
		BySender:      r.cfg.BySender,
		RefuseUnsized: r.cfg.RefuseUnsized,
		ExpectStep:    r.cfg.ExpectStep,
		ExpectItem:    r.cfg.ExpectItem,
		Recorded:      len(ps.files) > 0,
		Notify:        r.ready.Signal,
		OnStop:        r.wakeThreads,
		Clock:         source.Now,
	}
}

// wakeThreads makes every thread look whether a stream has stopped.
func (r *Receiver) wakeThreads() {
	for _, t := range r.threads {
		t.src.Wake()
	}
}

// openThreads opens the sources that are not queues, and makes the threads.
func (r *Receiver) openThreads() error {
	for _, d := range r.devices {
		for _, src := range d.sources {
			t := r.addThread(src)
			for i := range r.streams {
				if slices.Contains(r.streams[i].plan.devices, d.plan) {
					t.feed(i, r.streams[i])
				}
			}
		}
	}
	if err := r.openCaptures(); err != nil {
		return fmt.Errorf("speadx: %w", err)
	}
	for i, s := range r.streams {
		for _, addr := range s.plan.tcp {
			src, err := source.ListenTCP(source.TCPConfig{
				Endpoint: source.Endpoint{Addr: addr, Stream: int32(i)}, Buffer: r.cfg.SocketBuffer,
			})
			if err != nil {
				return fmt.Errorf("speadx: %w", err)
			}
			r.tcp = append(r.tcp, src)
			r.addThread(src).feed(i, s)
		}
		if !s.plan.hasSockets() {
			continue
		}
		uc := source.UDPConfig{Buffer: r.cfg.SocketBuffer, GRO: !r.cfg.NoGRO, Spare: s.plan.spare}
		for _, ep := range s.plan.udp {
			uc.Endpoints = append(uc.Endpoints, source.UDPEndpoint{
				Endpoint: source.Endpoint{Addr: ep.addr, Stream: int32(i)}, Interface: ep.ifindex,
				Shared: r.plan.shares(ep.addr),
			})
		}
		src, err := source.ListenUDP(uc)
		if err != nil {
			return fmt.Errorf("speadx: %w", err)
		}
		for index, name := range s.plan.links {
			if err := r.watchLink(index, name); err != nil {
				src.Close()
				return fmt.Errorf("speadx: %w", err)
			}
		}
		r.udp, s.udp = append(r.udp, src), src
		r.addThread(src).feed(i, s)
	}
	r.pinThreads()
	if err := r.unshare(); err != nil {
		return err
	}
	if err := r.openVitals(); err != nil {
		return err
	}
	return r.openQuiet()
}

func (r *Receiver) addThread(src source.Source) *thread {
	n := len(r.streams)
	_, ring := src.(*source.AFXDP)
	t := &thread{
		src: src, sleeps: !ring || r.cfg.Wait == WaitPoll, // nobody spins on a socket
		feeders: make([]*heap.Feeder, n), streams: make([]*stream, n), stops: make([]stop, n),
		started: make(chan struct{}), done: make(chan struct{}), downs: r.downs,
	}
	r.threads = append(r.threads, t)
	return t
}

// feed makes the thread one of those that feed stream i.
func (t *thread) feed(i int, s *stream) {
	t.streams[i], t.feeders[i] = s, s.assembler.Feeder(s.feeders)
	t.feeders[i].OnWait(t.blocked)
	s.feeders++
}

// checkCPUs reports whether the threads may run on the processors that were named.
func (r *Receiver) checkCPUs() error {
	if r.cfg.CPUs == nil {
		return nil
	}
	allowed, err := sched.CPUs()
	if err != nil {
		return fmt.Errorf("speadx: %w", err)
	}
	for _, cpu := range r.cfg.CPUs {
		if !slices.Contains(allowed, cpu) {
			return fmt.Errorf("speadx: processor %d is not one this process may run on (it has %d, see taskset -cp $$)", cpu, len(allowed))
		}
	}
	return nil
}

// pinThreads gives the threads their processors: those that were named, one
// each in turn, or else all near the thread's device, among which the kernel
// chooses.
func (r *Receiver) pinThreads() {
	if r.cfg.CPUs != nil {
		for i, t := range r.threads {
			t.cpus = []int{r.cfg.CPUs[i%len(r.cfg.CPUs)]}
		}
		return
	}
	for _, d := range r.devices {
		near, err := netif.CPUs(d.plan.facts.Node)
		if err != nil || d.plan.facts.Node < 0 {
			continue // it is near to all of them
		}
		for _, t := range r.threads {
			if slices.ContainsFunc(d.sources, func(s *source.AFXDP) bool { return t.src == source.Source(s) }) {
				t.cpus = near
			}
		}
	}
}
