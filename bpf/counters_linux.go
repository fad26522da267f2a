package bpf

import "sync/atomic"

// Counters say what became of the packets that reached the program. Each packet
// is in exactly one of Matched, Fragments and Other.
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
	return sum
}

// Total is the sum of the counters of all queues.
func (s *Steer) Total() Counters {
	var sum Counters
	s.mu.RLock()
	defer s.mu.RUnlock()
	for cpu := range s.counts.cpus {
		for queue := range s.counts.queues + 1 {
			sum.add(s.counts.at(cpu, queue))
		}
	}
	return sum
}

// PerCPU is what one CPU counted of one queue, as in [Steer.Counters]. It is zero
// for a CPU that the machine cannot have.
func (s *Steer) PerCPU(cpu, queue int) Counters {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.counts.at(cpu, queue)
}

// countTable is the counters as they lie in memory: for each possible CPU one slot
// for each queue and one for all queues beyond.
type countTable struct {
	cpus, queues int
	slots        []steerCounters // shared with the program, until detach
	mapping      []byte          // the same memory; nil after detach
}

func (t *countTable) at(cpu, queue int) Counters {
	if cpu < 0 || cpu >= t.cpus || queue < 0 {
		return Counters{}
	}
	slot := &t.slots[cpu*(t.queues+1)+min(queue, t.queues)]
	// NoSocket before Matched, of which it is a part: so it is never the larger
	// one for a packet that is counted in between.
	noSocket := atomic.LoadUint64(&slot.NoSocket)
	return Counters{
		Matched:   atomic.LoadUint64(&slot.Matched),
		NoSocket:  noSocket,
		Fragments: atomic.LoadUint64(&slot.Fragments),
		Other:     atomic.LoadUint64(&slot.Other),
	}
}
