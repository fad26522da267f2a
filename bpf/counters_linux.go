// SPDX-License-Identifier: Apache-2.0

package bpf

import "sync/atomic"

// Counters say what became of the packets that reached the program. Each packet
// is in exactly one of Matched, Fragments and Other, unless it is for an endpoint of
// another receiver that shares the program: then it is in none.
type Counters struct {
	Matched   uint64 // packets for our endpoints, with or without a socket
	NoSocket  uint64 // the part of Matched that no socket was there for: the kernel got them
	Fragments uint64 // IP fragments of UDP datagrams for our endpoints: the kernel got them
	Other     uint64 // everything else: the kernel got it
}

func (c *Counters) add(d Counters) {
	c.Matched += d.Matched
	c.NoSocket += d.NoSocket
	c.Fragments += d.Fragments
	c.Other += d.Other
}

// Counters of one queue, summed over the CPUs. They are read from memory shared
// with the program, without a system call. Queues beyond [Steer.Queues] have one
// place together: every such number gives their sum.
//
// While packets flow, the numbers are not all of the same instant; at rest they
// add up.
func (s *Steer) Counters(queue int) Counters {
	var sum Counters
	s.mu.RLock()
	defer s.mu.RUnlock()
	for cpu := range s.counts.cpus {
		sum.add(s.counts.at(cpu, queue))
	}
	sum.add(s.counts.stray(queue))
	return sum
}

// Total is the sum of the counters of all queues. On the queues of other receivers that
// is what came there for our endpoints, and in Other what was for no receiver's.
func (s *Steer) Total() Counters {
	var sum Counters
	s.mu.RLock()
	defer s.mu.RUnlock()
	for cpu := range s.counts.cpus {
		for queue := range s.counts.queues + 1 {
			sum.add(s.counts.at(cpu, queue))
		}
	}
	for queue := range s.counts.queues + 1 {
		sum.add(s.counts.stray(queue))
	}
	return sum
}

// PerCPU is what one CPU counted of one queue, as in [Steer.Counters], if the queue is
// ours. It is zero for a CPU that the machine cannot have.
func (s *Steer) PerCPU(cpu, queue int) Counters {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.counts.at(cpu, queue)
}

// countTable is the counters as they lie in memory: for each possible CPU one slot
// for each queue and one for all queues beyond.
type countTable struct {
	cpus, queues int
	slots        []steerCounters // shared with the program, until they are frozen
	strays       []steerStray    // likewise
	mappings     [2][]byte       // the same memory; nil once they are

	// What was counted for others before us is not ours.
	owner     int
	owned     []bool // by queue
	base      []steerCounters
	strayBase []steerStray // by queue
}

func (t *countTable) at(cpu, queue int) Counters {
	if cpu < 0 || cpu >= t.cpus || queue < 0 {
		return Counters{}
	}
	queue = min(queue, t.queues)
	i := cpu*(t.queues+1) + queue
	now, base := t.load(i), &t.base[i]
	if !t.owned[queue] {
		return Counters{Other: now.Other - base.Other}
	}
	return Counters{
		Matched:   now.Matched - base.Matched,
		NoSocket:  now.NoSocket - base.NoSocket,
		Fragments: now.Fragments - base.Fragments,
		Other:     now.Other - base.Other,
	}
}

// stray is what came for us on a queue that was not ours at the time.
func (t *countTable) stray(queue int) Counters {
	if queue < 0 {
		return Counters{}
	}
	queue = min(queue, t.queues)
	now, base := t.loadStray(queue), &t.strayBase[queue]
	n := now.Matched - base.Matched
	return Counters{Matched: n, NoSocket: n, Fragments: now.Fragments - base.Fragments}
}

func (t *countTable) loadStray(queue int) steerStray {
	s := &t.strays[queue*maxOwners+t.owner]
	return steerStray{Matched: atomic.LoadUint64(&s.Matched), Fragments: atomic.LoadUint64(&s.Fragments)}
}

func (t *countTable) load(i int) steerCounters {
	slot := &t.slots[i]
	// NoSocket before Matched, of which it is a part: so it is never the larger
	// one for a packet that is counted in between.
	noSocket := atomic.LoadUint64(&slot.NoSocket)
	return steerCounters{
		Matched:   atomic.LoadUint64(&slot.Matched),
		NoSocket:  noSocket,
		Fragments: atomic.LoadUint64(&slot.Fragments),
		Other:     atomic.LoadUint64(&slot.Other),
	}
}
