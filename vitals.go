// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/ledger"
)

// Interfaces change while packets flow: they are set down and up again, and get more
// queues. And they, and the kernel behind them, lose packets before anybody counts those of a
// receiver. Both are looked for once a second.

// downPause is how long a thread waits before it looks again whether its interface is back.
const downPause = 100 * time.Millisecond

var (
	errSetDown = errors.New("it was set down")
	errRemoved = errors.New("it was removed, and comes back with a restart only")
)

// vitals watch the interfaces of a receiver.
type vitals struct {
	list    []*vital
	gone    uint64 // packets that came on interfaces that are watched no more
	softnet uint64 // drops at the last look
	known   bool   // softnet is
}

// vital is one interface.
type vital struct {
	*netif.Monitor
	index  int
	device *device // nil: UDP sockets receive on it
	first  uint64  // packets that had come on it when the watch began
	last   netif.Vitals
	seen   bool // last is of this interface
	down   bool // it has been reported
	queues int  // on which it was reported to receive, more than are served
}

// newVital begins to watch an interface, in the network namespace of the calling thread.
func newVital(index int, name, driver string, d *device) (*vital, error) {
	m, err := netif.NewMonitor(index, name, driver)
	if err != nil {
		return nil, err
	}
	v := &vital{Monitor: m, index: index, device: d}
	if now, err := m.Read(); err == nil {
		v.first = now.Packets
	}
	return v, nil
}

// packets is how many have come since the watch began.
func (v *vital) packets() uint64 {
	now, err := v.Read()
	if err != nil {
		return 0
	}
	return more(now.Packets, v.first)
}

// forget ends the watch of an interface of sockets.
func (w *vitals) forget(index int) {
	w.list = slices.DeleteFunc(w.list, func(v *vital) bool {
		if v.device != nil || v.index != index {
			return false
		}
		w.gone += v.packets()
		v.Close()
		return true
	})
}

// openVitals begins to watch the devices, in the network namespace of the calling thread. The
// interfaces of sockets are watched from watchLink on.
func (r *Receiver) openVitals() error {
	r.changes.links.Lock()
	defer r.changes.links.Unlock()
	for _, d := range r.devices {
		f := d.plan.facts
		v, err := newVital(f.Index, f.Name, f.Driver, d)
		if err != nil {
			return fmt.Errorf("speadx: %w", err)
		}
		r.vitals.list = append(r.vitals.list, v)
	}
	return nil
}

func (r *Receiver) closeVitals() {
	r.changes.links.Lock()
	defer r.changes.links.Unlock()
	for _, v := range r.vitals.list {
		v.Close()
	}
}

// checkInterfaces looks at all interfaces. The error says why nothing can be received any
// more: all of them are down, and no file or connection is left.
func (r *Receiver) checkInterfaces() error {
	list, err := r.checkVitals()
	if err != nil {
		return err
	}
	if n, err := netif.SoftnetDrops(); err == nil {
		list = append(list, r.vitals.judgeSoftnet(n)...)
	}
	downLink, more, err := r.checkLinks()
	if err != nil {
		return err
	}
	err = r.deaf(downLink)
	for _, d := range append(list, more...) {
		if err == nil || d.Code != ledger.InterfaceDown { // which is why reception ends
			r.findings.report(d)
		}
	}
	return err
}

// checkVitals looks at each interface that is watched.
func (r *Receiver) checkVitals() (list []ledger.Diagnosis, err error) {
	r.changes.links.Lock()
	defer r.changes.links.Unlock()
	for _, v := range r.vitals.list {
		now, err := v.Read()
		if err != nil {
			return list, err
		}
		list = append(list, v.judge(now)...)
		if v.device != nil && now.Up {
			r.findings.carrier(v.Name(), now.Carrier)
		}
	}
	return list, nil
}

// judgeSoftnet compares the drops of the kernel's backlog with those of the last look.
func (w *vitals) judgeSoftnet(drops uint64) (list []ledger.Diagnosis) {
	if w.known && drops > w.softnet {
		list = []ledger.Diagnosis{{Code: ledger.SoftnetDrops, Queue: -1, Count: drops - w.softnet}}
	}
	w.softnet, w.known = drops, true
	return list
}

// judge compares an interface with what it was at the last look.
func (v *vital) judge(now netif.Vitals) (list []ledger.Diagnosis) {
	name := v.Name()
	add := func(d ledger.Diagnosis) {
		d.Device, d.Queue = name, -1
		list = append(list, d)
	}
	if v.device != nil {
		if d, changed := downOrBack(&v.down, now.LinkState); changed {
			add(d)
		}
	}
	if v.seen && now.Present {
		if n := now.FIFO - min(now.FIFO, v.last.FIFO); n > 0 {
			add(ledger.Diagnosis{Code: ledger.FIFODrops, Count: n})
		}
		if n := now.Pauses - min(now.Pauses, v.last.Pauses); n > 0 {
			add(ledger.Diagnosis{Code: ledger.PauseFrames, Count: n})
		}
	}
	if v.device != nil && v.device.plan.asked == nil && now.RxQueues > 0 {
		served := len(v.device.queues)
		if now.RxQueues > served && now.RxQueues != v.queues {
			add(ledger.Diagnosis{Code: ledger.QueuesAdded, Count: uint64(now.RxQueues - served), Of: uint64(now.RxQueues), Setting: "Queues", Value: int64(served), Suggested: int64(now.RxQueues)})
		}
		v.queues = now.RxQueues
	}
	if now.Present {
		v.last, v.seen = now, true
	}
	return list
}

// downOrBack says that an interface is down, or is up again, when that is news.
func downOrBack(down *bool, now netif.LinkState) (d ledger.Diagnosis, changed bool) {
	usable := now.Present && now.Up
	if usable != *down {
		return d, false
	}
	*down = !usable
	switch {
	case usable:
		return ledger.Diagnosis{Code: ledger.InterfaceBack}, true
	case now.Present:
		return ledger.Diagnosis{Code: ledger.InterfaceDown, Err: errSetDown}, true
	}
	return ledger.Diagnosis{Code: ledger.InterfaceDown, Err: errRemoved}, true
}

// checkLinks looks after the interfaces that sockets receive on: a socket does not tell
// when its interface is gone. It reports whether one is up, and what has changed.
func (r *Receiver) checkLinks() (downLink string, list []ledger.Diagnosis, err error) {
	r.changes.links.Lock()
	defer r.changes.links.Unlock()
	up := false
	for _, l := range r.links {
		state, err := l.State()
		if err != nil {
			return "", nil, err
		}
		if downLink == "" {
			downLink = l.Name()
		}
		down := r.findings.isDown(l.Name())
		if d, changed := downOrBack(&down, state); changed {
			d.Device, d.Queue = l.Name(), -1
			r.findings.setDown(l.Name(), down)
			list = append(list, d)
		}
		if !down {
			up = true
			r.findings.carrier(l.Name(), state.Carrier)
		}
	}
	if up {
		downLink = ""
	}
	return downLink, list, nil
}

// isDown reports whether an interface of sockets was found down.
func (w *findings) isDown(name string) bool { return w.downLinks[name] }

func (w *findings) setDown(name string, down bool) {
	if w.downLinks == nil {
		w.downLinks = map[string]bool{}
	}
	w.downLinks[name] = down
}

// deaf returns an error if no thread can receive any more, though some have not ended.
func (r *Receiver) deaf(downLink string) error {
	var why error
	for _, t := range r.threads {
		if t.over() {
			continue
		}
		err := t.downError()
		if err == nil && t.ofQueue() {
			err = r.deviceDown(t)
		}
		if !t.ofQueue() && downLink != "" && r.ofSockets(t) {
			err = fmt.Errorf("%s: %w (ip link set %s up)", downLink, ErrDown, downLink)
		}
		if err == nil {
			return nil
		}
		if why == nil {
			why = err
		}
	}
	return why
}

// deviceDown is why the device of a queue's thread cannot be received from; nil if it can.
func (r *Receiver) deviceDown(t *thread) error {
	r.changes.links.Lock()
	defer r.changes.links.Unlock()
	for _, v := range r.vitals.list {
		if v.device == nil || !v.down || !slices.ContainsFunc(v.device.sources, t.reads) {
			continue
		}
		return fmt.Errorf("%s: %w (ip link set %s up)", v.Name(), ErrDown, v.Name())
	}
	return nil
}

// ofSockets reports whether a thread reads UDP sockets that belong to interfaces.
func (r *Receiver) ofSockets(t *thread) bool {
	for _, s := range r.streams {
		if s.udp != nil && t.src == source.Source(s.udp) {
			r.changes.mu.Lock()
			defer r.changes.mu.Unlock()
			return slices.ContainsFunc(s.live, func(e liveEndpoint) bool { return len(e.watched) > 0 })
		}
	}
	return false
}
