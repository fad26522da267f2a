// SPDX-License-Identifier: Apache-2.0

package ledger

// StreamCounter counts something of one stream.
type StreamCounter uint8

// The counters of a stream, which the assembler keeps (package heap).
const (
	HeapsComplete StreamCounter = iota
	HeapsIncomplete
	HeapsEvicted
	HeapsAged
	HeapsFlushed
	HeapsOvertaken
	HeapsRingFull
	HeapsShutdown
	HeapsDelivered
	HeapsDiscarded
	HeapsSinglePacket
	HeapsStop
	HeapsRepeated
	PacketsFed
	BytesFed
	PayloadPlaced
	BatchesFed
	BatchMax
	SourceConflicts
	Blocked
	BlockedTime
	HeapsMissing
	IncompleteBytes
	MissingHeapBytes
	DiscardedBytes
	RingFullBytes
	ShutdownBytes
	// NumStreamCounters is the number of counters of a stream.
	NumStreamCounters
)

var streamCounters = [NumStreamCounters]Row{
	HeapsComplete: {Name: "complete_heaps", Stage: Assembly, Unit: Heaps,
		Meaning: "Every byte of the heap came. Stop heaps are not counted."},
	HeapsIncomplete: {Name: "incomplete_heaps", Stage: Assembly, Unit: Heaps, Loss: true,
		Meaning: "The heap left with bytes missing.",
		Remedy:  "Find the stage that loses packets: see the fates."},
	HeapsEvicted: {Name: "evicted_heaps", Title: "incomplete_heaps_evicted", Stage: Assembly, Unit: Heaps, Loss: true,
		Meaning: "The heap was closed incomplete, as the window had to move on.",
		Remedy:  "Let more heaps be live at once with {ConcurrentHeaps}."},
	HeapsAged: {Name: "aged_heaps", Title: "incomplete_heaps_aged", Stage: Assembly, Unit: Heaps, Loss: true, Rare: true,
		Meaning: "The heap was closed incomplete, as no packet came for it within {MaxAge}.",
		Remedy:  "Find out why the rest of the heap was not sent or was lost."},
	HeapsFlushed: {Name: "flushed_heaps", Title: "incomplete_heaps_flushed", Stage: Assembly, Unit: Heaps,
		Meaning: "The heap was closed incomplete by the end of the stream."},
	HeapsOvertaken: {Name: "overtaken_heaps", Stage: Assembly, Unit: Heaps, Rare: true, Loss: true,
		Meaning: "The heap was evicted while packets still came for it: a thread or a sender lags.",
		Remedy:  "Let more heaps be live at once with {ConcurrentHeaps}."},
	HeapsRingFull: {Name: "ring_full_heaps", Stage: Ring, Unit: Heaps, Rare: true, Loss: true,
		Meaning: "The heap was dropped, as the ring of finished heaps was full ({OnFull}).",
		Remedy:  "Make the consumer faster, or let more heaps wait for it with {RingHeaps}."},
	HeapsShutdown: {Name: "shutdown_heaps", Stage: Consumer, Unit: Heaps, Rare: true,
		Meaning: "The heap was finished, and the consumer did not take it before the end."},
	HeapsDelivered: {Name: "delivered_heaps", Stage: Consumer, Unit: Heaps,
		Meaning: "The consumer took the heap."},
	HeapsDiscarded: {Name: "discarded_heaps", Stage: Assembly, Unit: Heaps, Loss: true,
		Meaning: "The heap was incomplete, and the consumer does not take such heaps ({Incomplete}).",
		Remedy:  "Find the stage that loses packets: see the fates."},
	HeapsSinglePacket: {Name: "single_packet_heaps", Stage: Assembly, Unit: Heaps,
		Meaning: "The heap came in one packet; such heaps take no place in the window."},
	HeapsStop: {Name: "stop_heaps", Stage: Assembly, Unit: Heaps,
		Meaning: "The heap was a stop heap."},
	HeapsRepeated: {Name: "repeated_heaps", Stage: Assembly, Unit: Heaps, Rare: true,
		Meaning: "All bytes of the heap came again, within 2 s of a whole heap with the same count. By default its packets are `duplicate`.",
		Remedy:  "If the sender uses counts again for new heaps, deliver them: {Repeats} deliver."},
	PacketsFed: {Name: "packets", Stage: Assembly, Unit: Packets,
		Meaning: "The packet reached the stream's assembler. For the whole receiver: the packet was there for one of its endpoints."},
	BytesFed: {Name: "bytes", Stage: Assembly, Unit: Bytes,
		Meaning: "UDP or TCP payload of the packets that were read."},
	PayloadPlaced: {Name: "payload_bytes", Stage: Assembly, Unit: Bytes,
		Meaning: "Heap payload that was placed, also of heaps that were not delivered."},
	BatchesFed: {Name: "batches", Stage: Assembly, Unit: Batches,
		Meaning: "Packets were taken from a source."},
	BatchMax: {Name: "max_batch", Stage: Assembly, Unit: Packets, Max: true,
		Meaning: "The most packets that were taken at once."},
	SourceConflicts: {Name: "source_conflicts", Stage: Assembly, Unit: Packets, Rare: true,
		Meaning: "The packet had the count of a heap that another sender had started. It has a fate like all others.",
		Remedy:  "Tell senders apart with {BySender}, unless one sender uses several ports."},
	Blocked: {Name: "blocked", Title: "worker_blocked", Stage: Ring, Unit: Times,
		Meaning: "A receiving thread found the ring of finished heaps full and waited ({OnFull}).",
		Remedy:  "Make the consumer faster, or let more heaps wait for it with {RingHeaps}."},
	BlockedTime: {Name: "blocked_seconds", Stage: Ring, Unit: Seconds, Rare: true,
		Meaning: "Time that receiving threads have waited for room in the ring.",
		Remedy:  "Make the consumer faster, or let more heaps wait for it with {RingHeaps}."},
	HeapsMissing: {Name: "missing_heaps", Stage: Assembly, Unit: Heaps, Rare: true, Loss: true,
		Meaning: "No packet of the heap came, or none was accepted: there is a gap in the heap counts, or in the item that {ExpectStep} names. It is counted when heaps are not expected to come any more.",
		Remedy:  "See the findings: they name the sender, the first gap and the largest."},
	IncompleteBytes: {Name: "incomplete_bytes", Stage: Assembly, Unit: Bytes, Rare: true, Loss: true,
		Meaning: "Bytes that incomplete heaps lacked.",
		Remedy:  "Find the stage that lost them: see the missing bytes by cause."},
	MissingHeapBytes: {Name: "missing_heap_bytes", Stage: Assembly, Unit: Bytes, Rare: true, Loss: true,
		Meaning: "Bytes of missing heaps. Each counts as long as the mean heap of the stream or sender.",
		Remedy:  "Find the stage that lost them: see the missing bytes by cause."},
	DiscardedBytes: {Name: "discarded_bytes", Stage: Assembly, Unit: Bytes, Rare: true, Loss: true,
		Meaning: "Bytes that came of discarded heaps.",
		Remedy:  "{Incomplete} delivers such heaps."},
	RingFullBytes: {Name: "ring_full_bytes", Stage: Ring, Unit: Bytes, Rare: true, Loss: true,
		Meaning: "Bytes that came of heaps that were dropped, as the ring of finished heaps was full.",
		Remedy:  "Make the consumer faster, or let more heaps wait for it with {RingHeaps}."},
	ShutdownBytes: {Name: "shutdown_bytes", Stage: Consumer, Unit: Bytes, Rare: true,
		Meaning: "Bytes that came of heaps that the consumer did not take before the end."},
}

// Row describes the counter.
func (c StreamCounter) Row() *Row { return &streamCounters[c] }

// String is the counter's name in JSON.
func (c StreamCounter) String() string { return streamCounters[c].Name }

// StreamCounts are the counters of a stream, or the sums over several.
type StreamCounts [NumStreamCounters]uint64

// Add adds the counts of another part; of a maximum it keeps the greater.
func (c *StreamCounts) Add(other *StreamCounts) { add(c[:], other[:], streamCounters[:]) }

// Heaps is the number of heaps that have left the assembler, but for stop heaps.
func (c *StreamCounts) Heaps() uint64 { return c[HeapsComplete] + c[HeapsIncomplete] }

// DeviceCounter counts something of one network device.
type DeviceCounter uint8

// The counters of a device.
const (
	DeviceMatched DeviceCounter = iota
	DeviceNoSocket
	DeviceFragments
	DeviceMissed
	DevicePassed
	DeviceAllocFail
	// NumDeviceCounters is the number of counters of a device.
	NumDeviceCounters
)

var deviceCounters = [NumDeviceCounters]Row{
	DeviceMatched: {Name: "matched", Stage: Program, Unit: Frames,
		Meaning: "The frame was for one of our endpoints."},
	DeviceNoSocket: {Name: "no_socket", Stage: Program, Unit: Frames, Loss: true,
		Meaning: "The frame was ours and came on a queue without a socket; the kernel got it.",
		Remedy:  "Receive all queues ({Queues}), or steer the flow to a queue that is received."},
	DeviceFragments: {Name: "fragments", Stage: Program, Unit: Frames, Loss: true,
		Meaning: "The frame was the first IP fragment of a datagram for one of our endpoints; the kernel got it.",
		Remedy:  "Let the sender use packets that fit the smallest MTU on the way, or receive with UDP sockets ({Mode} udp)."},
	DeviceMissed: {Name: "missed", Stage: NIC, Unit: Frames, Loss: true,
		Meaning: "The NIC or its driver dropped the frame, as there was no buffer for it: rx_missed_errors, or netdev queue statistics or ethtool -S where they show more. It may have been for another program.",
		Remedy:  "Make the NIC's ring larger (ethtool -G), and keep its interrupts off busy processors."},
	DevicePassed: {Name: "passed", Stage: Program, Unit: Frames,
		Meaning: "The frame was not ours; the kernel got it. It is not among the packets."},
	DeviceAllocFail: {Name: "nic_alloc_fail", Stage: NIC, Unit: Times,
		Meaning: "The driver found no memory for a buffer (rx-alloc-fail). Some drivers drop a packet then, others try again.",
		Remedy:  "Free memory, or make the rings smaller."},
}

// Row describes the counter.
func (c DeviceCounter) Row() *Row { return &deviceCounters[c] }

// String is the counter's name in JSON.
func (c DeviceCounter) String() string { return deviceCounters[c].Name }

// DeviceCounts are the counters of a device.
type DeviceCounts [NumDeviceCounters]uint64

// QueueCounter counts something of one receive queue.
type QueueCounter uint8

// The counters of a queue, which package xsk and the XDP program keep.
const (
	QueueMatched QueueCounter = iota
	QueueNoSocket
	QueuePackets
	QueueChunks
	QueueBatches
	QueueChainTooLong
	QueueInvalidPackets
	QueueInvalidDescriptors
	QueueLostFrames
	QueueKicks
	QueueRingHigh
	QueueRxDropped
	QueueRxRingFull
	QueueRxInvalidDescs
	QueueRxFillRingEmpty
	QueueNICDrops
	QueueAllocFail
	// NumQueueCounters is the number of counters of a queue.
	NumQueueCounters
)

var queueCounters = [NumQueueCounters]Row{
	QueueMatched: {Name: "matched", Stage: Program, Unit: Frames,
		Meaning: "The frame was for one of our endpoints."},
	QueueNoSocket: {Name: "no_socket", Stage: Program, Unit: Frames, Loss: true,
		Meaning: "The frame was ours, and the queue's socket was not there, as at the end; the kernel got it.",
		Remedy:  "Receive all queues ({Queues}), or steer the flow to a queue that is received."},
	QueuePackets: {Name: "packets", Stage: Socket, Unit: Frames,
		Meaning: "The frame was read from the RX ring."},
	QueueChunks: {Name: "chunks", Stage: Socket, Unit: Chunks,
		Meaning: "A piece of 4 KiB of the UMEM held a part of a frame that was read."},
	QueueBatches: {Name: "batches", Stage: Socket, Unit: Batches,
		Meaning: "The thread found frames on the RX ring."},
	QueueChainTooLong: {Name: "chain_too_long", Stage: Socket, Unit: Frames, Loss: true,
		Meaning: "The frame was dropped: it was longer than 64 KiB.",
		Remedy:  "Make the sender use smaller packets."},
	QueueInvalidPackets: {Name: "invalid_packets", Stage: Socket, Unit: Frames, Loss: true,
		Meaning: "The frame was dropped, as its descriptor pointed outside its chunk: a fault of kernel or driver.",
		Remedy:  "Receive in another mode ({Mode}), and report the driver's fault."},
	QueueInvalidDescriptors: {Name: "invalid_descriptors", Stage: Socket, Unit: Descriptors, Loss: true,
		Meaning: "A descriptor pointed outside its chunk: a fault of kernel or driver.",
		Remedy:  "Receive in another mode ({Mode}), and report the driver's fault."},
	QueueLostFrames: {Name: "lost_frames", Stage: Socket, Unit: Chunks, Loss: true,
		Meaning: "A chunk is out of use, as the kernel gave an address for it that cannot be.",
		Remedy:  "Receive in another mode ({Mode}), and report the driver's fault."},
	QueueKicks: {Name: "kicks", Stage: Socket, Unit: Calls,
		Meaning: "A system call woke the driver or checked the link."},
	QueueRingHigh: {Name: "ring_high", Stage: Socket, Unit: Chunks, Max: true,
		Meaning: "The most chunks that the thread ever found waiting on the RX ring.",
		Remedy:  "Near the ring's size the thread is late: give it a processor of its own ({CPUs})."},
	QueueRxDropped: {Name: "rx_dropped", Stage: Socket, Unit: Frames, Loss: true,
		Meaning: "XDP_STATISTICS: the kernel dropped the frame, as no chunk was free, or as it was longer than one without multi-buffer.",
		Remedy:  "Give the receiving thread a processor of its own ({CPUs}), or hold more packets with {Frames}."},
	QueueRxRingFull: {Name: "rx_ring_full", Stage: Socket, Unit: Frames, Loss: true,
		Meaning: "XDP_STATISTICS: the kernel dropped the frame, as the RX ring was full.",
		Remedy:  "Give the receiving thread a processor of its own ({CPUs}), or hold more packets with {Frames}."},
	QueueRxInvalidDescs: {Name: "rx_invalid_descs", Stage: Socket, Unit: Descriptors, Loss: true,
		Meaning: "XDP_STATISTICS: the kernel refused a descriptor on the fill ring, which is a fault.",
		Remedy:  "Report it: this program wrote a wrong descriptor."},
	QueueRxFillRingEmpty: {Name: "rx_fill_ring_empty", Stage: Socket, Unit: Times,
		Meaning: "XDP_STATISTICS: the kernel found the fill ring empty. In zero-copy it is no loss in itself, and no number of packets.",
		Remedy:  "If packets are lost too, hold more of them with {Frames}."},
	QueueNICDrops: {Name: "nic_drops", Stage: NIC, Unit: Frames, Loss: true,
		Meaning: "The NIC dropped the frame on this queue, as there was no buffer for it. 0 where the driver does not count by queue.",
		Remedy:  "Make the NIC's ring larger (ethtool -G), and keep its interrupts off busy processors."},
	QueueAllocFail: {Name: "nic_alloc_fail", Stage: NIC, Unit: Times,
		Meaning: "The driver found no memory for a buffer of this queue (rx-alloc-fail).",
		Remedy:  "Free memory, or make the rings smaller."},
}

// Row describes the counter.
func (c QueueCounter) Row() *Row { return &queueCounters[c] }

// String is the counter's name in JSON.
func (c QueueCounter) String() string { return queueCounters[c].Name }

// QueueCounts are the counters of a queue.
type QueueCounts [NumQueueCounters]uint64

func add(sum, other []uint64, rows []Row) {
	for i, n := range other {
		if rows[i].Max {
			sum[i] = max(sum[i], n)
		} else {
			sum[i] += n
		}
	}
}
