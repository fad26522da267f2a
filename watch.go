//go:build linux

package speadx

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/speadx/speadx/heap"
)

// watch looks at the counters once a second and tells the logger what somebody
// can do something about.
type watch struct {
	log      *slog.Logger
	last     Stats
	oversize bool
	conflict map[string]bool // streams whose conflict was told
	lost     map[string]bool // interfaces without a carrier
	vanished map[string]bool // devices whose lost packets were told
}

func newWatch(l *slog.Logger) *watch { return &watch{log: l} }

func (w *watch) look(r *Receiver) {
	s := r.Stats()
	rose := func(f heap.Fate) uint64 { return s.Fates[f] - w.last.Fates[f] }
	if n := rose(heap.NoSlot); n > 0 {
		for i := range s.Streams {
			st := &s.Streams[i]
			if over := st.Slots.HighHeld - st.Sum.Held; over > 0 {
				w.log.Warn(fmt.Sprintf("%d packets refused: no slot is free, as the consumer holds %d heaps and up to %d at a time; raise --consumer-heaps by %d, or release sooner",
					n, st.Slots.Held, st.Slots.HighHeld, over), "stream", st.Name)
			}
		}
	}
	if !w.oversize {
		for i := range s.Streams {
			if n := s.Streams[i].Oversize; n > 0 {
				w.oversize = true
				w.log.Warn(fmt.Sprintf("a heap of %d bytes was refused, the largest there is room for has %d; --heap-size %d makes room for it",
					n, r.streams[i].share.SlotSize(), n), "stream", s.Streams[i].Name)
			}
		}
	}
	if n := rose(heap.NoSocket); n > 0 && !r.over.Load() {
		for _, d := range s.Devices {
			for q, missed := range r.unserved(d.Name) {
				w.log.Warn(fmt.Sprintf("%d packets arrived on queue %d, which has no socket, and went to the kernel; receive it too (--queues), or steer them to one of ours: ethtool -N %s flow-type udp4 dst-port PORT action QUEUE",
					missed, q, d.Name), "device", d.Name)
			}
		}
	}
	if n := rose(heap.Fragment); n > 0 {
		w.log.Warn(fmt.Sprintf("%d IP fragments for our endpoints went to the kernel: the sender's packets are larger than a link's MTU on the way", n))
	}
	w.conflicts(&s)
	w.losses(r, &s)
	w.last = s
}

// conflicts names, once, the senders of a stream whose heap counts collide.
func (w *watch) conflicts(s *Stats) {
	for i := range s.Streams {
		st := &s.Streams[i]
		if st.Conflicts == 0 || w.conflict[st.Name] {
			continue
		}
		if w.conflict == nil {
			w.conflict = map[string]bool{}
		}
		w.conflict[st.Name] = true
		c := st.Conflict
		w.log.Warn(fmt.Sprintf("heap %d came from %v and from %v: their heap counts collide, and their packets mix or are lost; --by-source tells them apart (if it is one sender with several ports, all is well)",
			c.Cnt, c.Senders[0], c.Senders[1]), "stream", st.Name)
	}
}

// blockedLong is how long a thread must have waited for the consumer within a
// second for that to be worth a word.
const blockedLong = 10 * time.Millisecond

// losses tells of packets that were there and could not be kept.
func (w *watch) losses(r *Receiver, s *Stats) {
	tooLong := w.devices(r, s)
	for _, v := range []struct {
		fate   heap.Fate
		remedy string
	}{
		{heap.KernelDropped, "the receiving thread came too late; --frames holds more, as does a larger socket buffer with --mode udp"},
		{heap.NICDropped, "its ring was full, or it is somebody else's loss; ethtool -G makes the ring larger"},
		{heap.RingFull, "the consumer is too slow; --ring-heaps holds more"},
		{heap.ChainTooLong, "larger than 64 KiB, which is more than a packet may be"},
	} {
		n := s.Fates[v.fate] - w.last.Fates[v.fate]
		if v.fate == heap.KernelDropped {
			n -= min(n, tooLong)
		}
		if n > 0 {
			w.log.Warn(fmt.Sprintf("%d packets %v: %s", n, v.fate, v.remedy))
		}
	}
	for i := range s.Streams {
		st := &s.Streams[i]
		var before heap.Stats
		if i < len(w.last.Streams) {
			before = w.last.Streams[i].Stats
		}
		if d := st.BlockedTime - before.BlockedTime; r.streams[i].plan.live() && d >= blockedLong {
			w.log.Warn(fmt.Sprintf("a full ring kept receiving threads waiting for %v: the consumer is too slow (--ring-heaps, --on-full)", d.Round(time.Millisecond)), "stream", st.Name)
		}
	}
}

// devices tells of packets that were lost between the program and its sockets, by their
// cause: longTotal is how many were longer than a frame.
func (w *watch) devices(r *Receiver, s *Stats) (longTotal uint64) {
	for i := range s.Devices {
		ds := &s.Devices[i]
		var before DeviceStats
		if i < len(w.last.Devices) {
			before = w.last.Devices[i]
		}
		info := r.devices[i].queues[0].Info()
		if n := ds.tooLong() - before.tooLong(); n > 0 && info.MaxFrame > 0 {
			longTotal += n
			w.log.Warn(fmt.Sprintf("%d packets dropped, whose frames are longer than %d bytes: this kernel puts a packet into one frame only; --mode udp receives them, or Linux 6.6",
				n, info.MaxFrame), "code", "frame_too_small", "device", ds.Name, "count", n)
		}
		if n := ds.vanished(info.Frames * len(ds.Queues)); n > 0 && !w.vanished[ds.Name] && !r.over.Load() {
			if w.vanished == nil {
				w.vanished = map[string]bool{}
			}
			w.vanished[ds.Name] = true
			w.log.Warn("packets passed to the sockets do not arrive there: the driver drops what an XDP program redirects, or a socket is of another queue; --mode generic may help",
				"code", "redirect_lost", "device", ds.Name, "count", n)
		}
	}
	return longTotal
}

// checkFrames tells of queues whose frames are not each in one place at the end: a driver
// has handed one out twice, or has lost it. What was received may then be damaged.
func (w *watch) checkFrames(devices []*device) {
	for _, d := range devices {
		for _, q := range d.queues {
			if err := q.Conserved(); err != nil {
				w.log.Warn(fmt.Sprintf("%v: a fault of the driver, which can damage what is received; --mode native does not use that part of it", err),
					"code", "frames_not_conserved", "device", d.plan.facts.Name, "queue", q.Info().Queue)
			}
		}
	}
}

// tooLong is how many packets the kernel dropped for being longer than a frame. In copy
// mode the others that it drops found the fill ring empty, which it counts too.
func (d *DeviceStats) tooLong() uint64 {
	var n uint64
	for i := range d.Queues {
		k := &d.Queues[i].Kernel
		n += k.RxDropped - min(k.RxDropped, k.RxFillRingEmpty)
	}
	return n
}

// vanished is how many packets were passed to the sockets and are nowhere, at least: so
// many more than have room on the rings, which have that many frames in all.
func (d *DeviceStats) vanished(frames int) uint64 {
	unread := d.unread()
	return unread - min(unread, uint64(frames))
}

// carrier tells when an interface has lost its carrier, and when it is back.
func (w *watch) carrier(name string, up bool) {
	if w.lost == nil {
		w.lost = map[string]bool{}
	}
	if w.lost[name] == !up {
		return
	}
	w.lost[name] = !up
	if up {
		w.log.Info(fmt.Sprintf("interface %s has a carrier again", name))
	} else {
		w.log.Warn(fmt.Sprintf("interface %s has no carrier: cable, switch port, or the other end of a veth pair", name))
	}
}

// unserved is how many packets came on each queue of a device that has no
// socket.
func (r *Receiver) unserved(device string) map[int]uint64 {
	out := map[int]uint64{}
	for _, d := range r.devices {
		if d.plan.facts.Name != device {
			continue
		}
		served := map[int]bool{}
		for _, q := range d.queues {
			served[q.Info().Queue] = true
		}
		for q := range d.steer.queues() {
			if n := d.steer.program.Counters(q).NoSocket; n > 0 && !served[q] {
				out[q] = n
			}
		}
	}
	return out
}
