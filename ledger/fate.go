// SPDX-License-Identifier: Apache-2.0

package ledger

import "strconv"

// Fate is what became of a packet.
type Fate uint8

// The fates of the heap that a packet was placed in. They are settled with the heap.
const (
	Delivered Fate = iota
	DeliveredIncomplete
	DiscardedIncomplete
	RingFull

	// Fates of a packet's own, in the assembler.

	Duplicate
	Overlap
	Late
	Empty
	StreamControl
	TooShort
	BadMagic
	BadFlavour
	FlavourDiffers
	ItemsOverflow
	MissingItems
	PayloadOverflow
	SizeMismatch
	HeapOverflow
	LengthConflict
	UnsizedRefused
	OversizeHeap
	TooManyItems
	TooManyRanges
	HeadersSplit
	NoSlot
	AfterStop

	// Fates on the way to the assembler.

	CaptureCut
	ChainTooLong
	Shutdown
	NotIPUDP
	OtherEndpoint
	Fragment
	NoSocket
	KernelDropped
	NICDropped

	// NumFates is the number of fates.
	NumFates
)

var fates = [NumFates]Row{
	Delivered: {Name: "delivered", Stage: Consumer, Unit: Packets,
		Meaning: "The consumer took the packet's heap, which was complete."},
	DeliveredIncomplete: {Name: "delivered_incomplete", Stage: Consumer, Unit: Packets,
		Meaning: "The consumer took the packet's heap, which was incomplete ({Incomplete}).",
		Remedy:  "Find out where the other packets of the heap went: see the losses before this stage."},
	DiscardedIncomplete: {Name: "discarded_incomplete", Stage: Assembly, Unit: Packets, Loss: true,
		Meaning: "The packet's heap left incomplete, by window, age or stop, and the consumer does not take such heaps.",
		Remedy:  "Find out where the other packets of the heap went; {Incomplete} delivers such heaps."},
	RingFull: {Name: "ring_full", Stage: Ring, Unit: Packets, Loss: true,
		Meaning: "The ring of finished heaps was full, and {OnFull} dropped the packet's heap.",
		Remedy:  "Make the consumer faster, or let more heaps wait for it with {RingHeaps}."},

	Duplicate: {Name: "duplicate", Stage: Assembly, Unit: Packets,
		Meaning: "Every byte of the packet was there already.",
		Remedy:  "Look for a second path in the network, or for two senders with the same heap counts ({BySender})."},
	Overlap: {Name: "overlap", Stage: Assembly, Unit: Packets, Loss: true,
		Meaning: "Some bytes of the packet were there already, and some were not; none of them was taken.",
		Remedy:  "Look for two senders with the same heap counts ({BySender}), or a sender that cuts heaps differently."},
	Late: {Name: "late", Stage: Assembly, Unit: Packets, Loss: true,
		Meaning: "The packet's heap had left, incomplete.",
		Remedy:  "Let more heaps be live at once with {ConcurrentHeaps}, and look for a queue or sender that lags."},
	Empty: {Name: "empty", Stage: Assembly, Unit: Packets,
		Meaning: "The packet had no payload; its item pointers were taken."},
	StreamControl: {Name: "stream_control", Stage: Assembly, Unit: Packets,
		Meaning: "The packet was of a stop heap, which ends the stream and is not delivered."},
	TooShort: {Name: "too_short", Stage: Parse, Unit: Packets, Loss: true,
		Meaning: "The packet was shorter than a SPEAD header.",
		Remedy:  "Find the program that sends other packets to this port."},
	BadMagic: {Name: "bad_magic", Stage: Parse, Unit: Packets, Loss: true,
		Meaning: "The packet's magic number or version was not that of SPEAD 4.",
		Remedy:  "Find the program that sends other packets to this port."},
	BadFlavour: {Name: "bad_flavour", Stage: Parse, Unit: Packets, Loss: true,
		Meaning: "The packet's widths did not make a SPEAD-64 flavour.",
		Remedy:  "Make the sender use SPEAD-64-48 or another flavour of SPEAD-64."},
	FlavourDiffers: {Name: "flavour_differs", Stage: Assembly, Unit: Packets, Loss: true,
		Meaning: "The packet's flavour was not that of its heap.",
		Remedy:  "Look for two senders with the same heap counts ({BySender})."},
	ItemsOverflow: {Name: "items_overflow", Stage: Parse, Unit: Packets, Loss: true,
		Meaning: "The packet announced more item pointers than it had room for.",
		Remedy:  "Look for a sender or a link that damages or cuts packets."},
	MissingItems: {Name: "missing_items", Stage: Parse, Unit: Packets, Loss: true,
		Meaning: "The packet lacked the heap's count, its payload's offset or its payload's length.",
		Remedy:  "Make the sender put these items into each packet."},
	PayloadOverflow: {Name: "payload_overflow", Stage: Parse, Unit: Packets, Loss: true,
		Meaning: "The packet announced more payload than it held: the datagram, the capture or the TCP connection ended in it.",
		Remedy:  "Look for a link that cuts packets, or a capture with a snap length."},
	SizeMismatch: {Name: "size_mismatch", Stage: Parse, Unit: Packets, Loss: true,
		Meaning: "The datagram was longer than the packet in it; over TCP its two payload lengths differed.",
		Remedy:  "Make the sender put one packet into each datagram."},
	HeapOverflow: {Name: "heap_overflow", Stage: Parse, Unit: Packets, Loss: true,
		Meaning: "The packet's payload would have ended beyond its heap's length.",
		Remedy:  "Make the sender give the whole heap's length in each packet."},
	LengthConflict: {Name: "length_conflict", Stage: Assembly, Unit: Packets, Loss: true,
		Meaning: "The packet's heap length was not the heap's, or was less than what the heap already had.",
		Remedy:  "Look for two senders with the same heap counts ({BySender})."},
	UnsizedRefused: {Name: "unsized_refused", Stage: Assembly, Unit: Packets, Loss: true,
		Meaning: "The packet had no heap length, and {RefuseUnsized} refuses such heaps.",
		Remedy:  "Switch {RefuseUnsized} off, or make the sender send heap lengths."},
	OversizeHeap: {Name: "oversize_heap", Stage: Pool, Unit: Packets, Loss: true,
		Meaning: "The packet's heap was larger than a slot.",
		Remedy:  "Raise {HeapSize}."},
	TooManyItems: {Name: "too_many_items", Stage: Assembly, Unit: Packets, Loss: true,
		Meaning: "The packet would have given its heap more item pointers than there is room for. One that packets repeat counts once.",
		Remedy:  "Raise {MaxItems}. By default there is room for one for each 64 bytes of {HeapSize}: at least 128, at most 4096."},
	TooManyRanges: {Name: "too_many_ranges", Stage: Assembly, Unit: Packets, Loss: true,
		Meaning: "The packet would have left its heap in more pieces than there is room for.",
		Remedy:  "Raise {MaxRanges}, and find out why packets arrive out of order."},
	HeadersSplit: {Name: "headers_split", Stage: Parse, Unit: Packets, Loss: true,
		Meaning: "The packet had item pointers beyond its first 4 KiB.",
		Remedy:  "Make the sender put fewer items into a packet."},
	NoSlot: {Name: "no_slot", Stage: Pool, Unit: Packets, Loss: true,
		Meaning: "The packet would have started a heap, and no slot was free: the consumer held more heaps than {ConsumerHeaps}.",
		Remedy:  "Release heaps sooner, or raise {ConsumerHeaps}."},
	AfterStop: {Name: "after_stop", Stage: Assembly, Unit: Packets,
		Meaning: "The packet came after the end of its stream."},

	CaptureCut: {Name: "capture_cut", Stage: Socket, Unit: Packets, Loss: true,
		Meaning: "The capture file holds only the beginning of the packet: it was made with a snap length.",
		Remedy:  "Capture whole packets (tcpdump -s 0)."},
	ChainTooLong: {Name: "chain_too_long", Stage: Socket, Unit: Packets, Loss: true,
		Meaning: "The packet was longer than 64 KiB.",
		Remedy:  "Make the sender use smaller packets."},
	Shutdown: {Name: "shutdown", Stage: Consumer, Unit: Packets, Loss: true,
		Meaning: "The packet was received, and the end came before it was placed or its heap was taken."},
	NotIPUDP: {Name: "not_ip_udp", Stage: Socket, Unit: Packets,
		Meaning: "The packet was not UDP over IP: it was not ours."},
	OtherEndpoint: {Name: "other_endpoint", Stage: Socket, Unit: Packets,
		Meaning: "The packet was UDP for another destination: it was not ours."},
	Fragment: {Name: "fragment", Stage: Program, Unit: Packets, Loss: true,
		Meaning: "The packet was the first IP fragment of a datagram for one of our endpoints; the kernel got it.",
		Remedy:  "Let the sender use packets that fit the smallest MTU on the way, or receive with UDP sockets ({Mode} udp)."},
	NoSocket: {Name: "no_socket", Stage: Program, Unit: Packets, Loss: true,
		Meaning: "The packet came on a queue without a socket, or when reception ended; the kernel got it.",
		Remedy:  "Receive all queues ({Queues}), or steer the flow to a queue that is received."},
	KernelDropped: {Name: "kernel_dropped", Stage: Socket, Unit: Packets, Loss: true,
		Meaning: "The kernel dropped the packet: no frame was free, or a ring or a socket's buffer was full.",
		Remedy:  "Give the receiving thread a processor of its own ({CPUs}), or hold more packets with {Frames} or {SocketBuffer}."},
	NICDropped: {Name: "nic_dropped", Stage: NIC, Unit: Packets, Loss: true,
		Meaning: "The NIC dropped the packet, its ring being full; the packet may have been for another program.",
		Remedy:  "Make the NIC's ring larger (ethtool -G), and keep its interrupts off busy processors."},
}

// Row describes the fate.
func (f Fate) Row() *Row { return &fates[f] }

// String is the fate's name in JSON and metrics.
func (f Fate) String() string {
	if f < NumFates {
		return fates[f].Name
	}
	return "fate " + strconv.Itoa(int(f))
}

// Fates counts packets by what became of them.
type Fates [NumFates]uint64

// Add adds the counts of another part.
func (f *Fates) Add(other *Fates) {
	for i, n := range other {
		f[i] += n
	}
}

// Settled is the number of packets that have a fate.
func (f *Fates) Settled() uint64 {
	var n uint64
	for _, v := range f {
		n += v
	}
	return n
}

// Lost is the number of packets that should have come to the consumer in a heap and did not.
func (f *Fates) Lost() uint64 {
	var n uint64
	for i, v := range f {
		if fates[i].Loss {
			n += v
		}
	}
	return n
}

// LostAt is the number of packets lost at each stage. Their sum is Lost.
func (f *Fates) LostAt() (at [NumStages]uint64) {
	for i, v := range f {
		if fates[i].Loss {
			at[fates[i].Stage] += v
		}
	}
	return at
}

// MarshalJSON gives an object with every fate, in the order of the constants.
func (f *Fates) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, n := range f {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), fates[i].Name...), '"', ':')
		b = strconv.AppendUint(b, n, 10)
	}
	return append(b, '}'), nil
}
