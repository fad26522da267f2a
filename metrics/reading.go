// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"strings"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/histogram"
	"github.com/speadx/speadx/ledger"
)

// reading is everything of a receiver at about one time.
type reading struct {
	receiving bool
	stats     speadx.Stats
	times     []speadx.StreamTimes
	threads   []speadx.ThreadStats
	frames    []speadx.QueueFrames
	groups    []speadx.GroupState
	sockets   []speadx.SocketInfo
	diagnoses []ledger.Diagnosis
	lastLoss  time.Time
}

func read(r *speadx.Receiver) *reading {
	now := &reading{
		stats: r.Stats(), times: r.Times(), threads: r.Threads(), frames: r.Frames(),
		groups: r.Groups(), sockets: r.Sockets(), diagnoses: r.Diagnoses(), lastLoss: r.LastLoss(), receiving: true,
	}
	select {
	case <-r.Done():
		now.receiving = false
	default:
	}
	return now
}

// label makes a name one that can be the value of a label.
func label(name string) string { return strings.ToValidUTF8(name, "\uFFFD") }

// labels makes names labels that differ from each other: two sources may have one name.
func labels[T any](list []T, name func(*T) string) []string {
	out, used := make([]string, len(list)), map[string]bool{}
	for i := range list {
		base := label(name(&list[i]))
		out[i] = base
		for n := 2; used[out[i]]; n++ {
			out[i] = fmt.Sprintf("%s (%d)", base, n)
		}
		used[out[i]] = true
	}
	return out
}

// floor is the highest that was shown of each counter. The parts of a reading are not of one
// instant, and readings may overtake each other; what is shown never goes back.
type floor struct {
	total   [4]uint64
	fates   ledger.Fates
	missing ledger.Causes
	streams map[string]*streamFloor
	devices map[string]*ledger.DeviceCounts
	queues  map[queueKey]*ledger.QueueCounts
	threads map[string]*[4]uint64
}

type streamFloor struct {
	counts ledger.StreamCounts
	fates  ledger.Fates
	times  heap.Times
}

type queueKey struct {
	device string
	queue  int
}

func newFloor() *floor {
	return &floor{streams: map[string]*streamFloor{}, devices: map[string]*ledger.DeviceCounts{},
		queues: map[queueKey]*ledger.QueueCounts{}, threads: map[string]*[4]uint64{}}
}

// raise makes each number at least what was shown before, and remembers it.
func raise(now, shown []uint64) {
	for i, n := range now {
		shown[i] = max(shown[i], n)
		now[i] = shown[i]
	}
}

// at returns the entry of a map, which is made if it is not there.
func at[K comparable, V any](m map[K]*V, key K) *V {
	v := m[key]
	if v == nil {
		v = new(V)
		m[key] = v
	}
	return v
}

// hold applies the floor to a reading. Streams and threads have their labels.
func (f *floor) hold(now *reading, streams, threads []string) {
	s := &now.stats
	total := [4]uint64{s.Packets, s.SkippedBytes, s.SuperFrames}
	raise(total[:], f.total[:])
	s.Packets, s.SkippedBytes, s.SuperFrames = total[0], total[1], total[2]
	raise(s.Fates[:], f.fates[:])
	raise(s.Missing[:], f.missing[:])
	for i := range s.Streams {
		old := at(f.streams, streams[i])
		raise(s.Streams[i].Counts[:], old.counts[:])
		raise(s.Streams[i].Fates[:], old.fates[:])
		if i < len(now.times) {
			holdSpans(&now.times[i].Assembly, &old.times.Assembly)
			holdSpans(&now.times[i].Waiting, &old.times.Waiting)
			holdSpans(&now.times[i].Consumer, &old.times.Consumer)
		}
	}
	for i := range s.Devices {
		d := &s.Devices[i]
		raise(d.Counts[:], at(f.devices, d.Name)[:])
		for k := range d.Queues {
			raise(d.Queues[k].Counts[:], at(f.queues, queueKey{d.Name, d.Queues[k].Queue})[:])
		}
	}
	for i := range now.threads {
		t := &now.threads[i]
		all := [4]uint64{uint64(t.Busy), uint64(t.Idle), uint64(t.Blocked), t.Turns}
		raise(all[:], at(f.threads, threads[i])[:])
		t.Busy, t.Idle, t.Blocked, t.Turns = time.Duration(all[0]), time.Duration(all[1]), time.Duration(all[2]), all[3]
	}
}

func holdSpans(now, shown *histogram.Snapshot) {
	raise(now.Buckets[:], shown.Buckets[:])
	now.Count = 0
	for _, n := range now.Buckets {
		now.Count += n
	}
	shown.Sum = max(shown.Sum, now.Sum)
	now.Sum = shown.Sum
}
