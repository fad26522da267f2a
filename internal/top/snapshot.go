// SPDX-License-Identifier: Apache-2.0

package top

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/speadx/speadx/ledger"
)

// Snapshot is an answer of /status, as far as it is shown. docs/json.md describes the keys.
// Keys that are not here are passed over.
type Snapshot struct {
	Type            string            `json:"type"`
	Time            float64           `json:"time"`
	Seconds         float64           `json:"seconds"`
	Packets         uint64            `json:"packets"`
	PayloadBytes    uint64            `json:"payload_bytes"`
	Heaps           uint64            `json:"heaps"`
	IncompleteHeaps uint64            `json:"incomplete_heaps"`
	MissingHeaps    uint64            `json:"missing_heaps"`
	LostPackets     uint64            `json:"lost_packets"`
	InFlight        uint64            `json:"in_flight"`
	Fates           map[string]uint64 `json:"fates"`
	Missing         map[string]uint64 `json:"missing_bytes_by_cause"`
	Streams         []Stream          `json:"streams"`
	Devices         []Device          `json:"devices"`
	Threads         []Thread          `json:"threads"`
	Groups          []Group           `json:"groups"`
	Diagnoses       []Diagnosis       `json:"diagnoses"`
}

// Group is a multicast group.
type Group struct {
	Group     string `json:"group"`
	Interface string `json:"interface"`
	Joined    bool   `json:"joined"`
}

// notJoined names the groups that are not joined: no packets come of them.
func (s *Snapshot) notJoined() string {
	var names []string
	for _, g := range s.Groups {
		if !g.Joined {
			names = append(names, clean(g.Group)+" on "+clean(g.Interface))
		}
	}
	if names == nil {
		return ""
	}
	return " Not joined: " + strings.Join(names, ", ") + "."
}

// Stream is one of the streams.
type Stream struct {
	Name            string            `json:"stream"`
	PayloadBytes    uint64            `json:"payload_bytes"`
	Heaps           uint64            `json:"heaps"`
	IncompleteHeaps uint64            `json:"incomplete_heaps"`
	MissingHeaps    uint64            `json:"missing_heaps"`
	Senders         int               `json:"senders"`
	Silent          *float64          `json:"silent_seconds"` // nil: no packet is expected
	Fates           map[string]uint64 `json:"fates"`
	Pool            Pool              `json:"pool"`
}

// isSilent reports whether no packet has come for longer than gaps between heaps last.
func (s *Stream) isSilent() bool {
	const least = 5 // seconds
	return s.Silent != nil && *s.Silent >= least
}

// silent are the silent streams.
func (s *Snapshot) silent() (list []*Stream) {
	for i := range s.Streams {
		if s.Streams[i].isSilent() {
			list = append(list, &s.Streams[i])
		}
	}
	return list
}

// Pool is a stream's part of the pool.
type Pool struct {
	Live     int `json:"live"`
	Ring     int `json:"ring"`
	Held     int `json:"held"`
	NowLive  int `json:"now_live"`
	NowRing  int `json:"now_ring"`
	NowHeld  int `json:"now_held"`
	HighLive int `json:"high_live"`
	HighRing int `json:"high_ring"`
	HighHeld int `json:"high_held"`
}

// Device is a network device.
type Device struct {
	Name   string  `json:"device"`
	Mode   string  `json:"mode"`
	Queues []Queue `json:"queues"`
}

// Queue has the counters of a queue by name.
type Queue map[string]uint64

// UnmarshalJSON passes over what is no counter.
func (q *Queue) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*q = Queue{}
	for key, v := range all {
		if n, err := strconv.ParseUint(string(v), 10, 64); err == nil {
			(*q)[key] = n
		}
	}
	return nil
}

// Thread is a receiving thread.
type Thread struct {
	Name    string  `json:"thread"`
	CPU     int     `json:"cpu"`
	State   string  `json:"state"`
	Since   float64 `json:"since_turn_seconds"`
	Busy    float64 `json:"busy_seconds"`
	Idle    float64 `json:"idle_seconds"`
	Blocked float64 `json:"blocked_seconds"`
}

// Diagnosis is what the receiver has found.
type Diagnosis struct {
	Code     string  `json:"code"`
	Severity string  `json:"severity"`
	Sentence string  `json:"sentence"`
	Last     float64 `json:"last"`
}

// fates are the rows of the ledger by name.
var fates = func() map[string]*ledger.Row {
	m := map[string]*ledger.Row{}
	for f := range ledger.NumFates {
		m[f.String()] = f.Row()
	}
	return m
}()

// lost is the sum of the fates that are a loss. A fate that this version does not know may
// be none.
func lost(counts map[string]uint64) (n uint64) {
	for name, c := range counts {
		if row := fates[name]; row != nil && row.Loss {
			n += c
		}
	}
	return n
}

// lostAt is lost at one stage.
func lostAt(counts map[string]uint64, stage ledger.Stage) (n uint64) {
	for name, c := range counts {
		if row := fates[name]; row != nil && row.Loss && row.Stage == stage {
			n += c
		}
	}
	return n
}

// endedAt is how many packets ended at a stage, lost or not.
func endedAt(counts map[string]uint64, stage ledger.Stage) (n uint64) {
	for name, c := range counts {
		if row := fates[name]; row != nil && row.Stage == stage {
			n += c
		}
	}
	return n
}

// through are the packets that came past each stage: those of the consumer it took.
func (s *Snapshot) through() (n [ledger.NumStages]uint64) {
	left := s.Packets
	for stage := range ledger.NumStages {
		left = minus(left, endedAt(s.Fates, stage))
		n[stage] = left
	}
	n[ledger.Consumer] = minus(endedAt(s.Fates, ledger.Consumer), lostAt(s.Fates, ledger.Consumer))
	return n
}

// dropped are the frames that a queue lost.
func (q Queue) dropped() (n uint64) {
	for c := range ledger.NumQueueCounters {
		if row := c.Row(); row.Loss && row.Unit == ledger.Frames {
			n += q[row.Name]
		}
	}
	return n
}

// minus is a − b, and 0 where counters were read at different instants, or of another run.
func minus(a, b uint64) uint64 {
	if a < b {
		return 0
	}
	return a - b
}
