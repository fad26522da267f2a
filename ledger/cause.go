// SPDX-License-Identifier: Apache-2.0

package ledger

import "strconv"

// Causes are the bytes that should have come to the consumer and did not, each by the one
// stage that lost it.
//
// Some are exact: heaps that the ring dropped, that the consumer did not take, and what came of
// heaps that were discarded as incomplete. Of the others the number is exact and the cause is
// an estimate. Local drops are counted in packets, and each stands for the mean payload of a
// packet. No more bytes are put down to them than are missing. The remainder was in no counter
// of this machine: its cause is the network.
type Causes [NumStages]uint64

var causes = [NumStages]Row{
	Network: {Name: "network", Stage: Network, Unit: Bytes, Loss: true,
		Meaning: "No counter of this machine saw a loss: the bytes were not sent, or were lost on the way. The remainder of all other causes.",
		Remedy:  "Look at the senders and the switches, and at the findings: silent senders, gaps, regular losses."},
	NIC: {Name: "nic", Stage: NIC, Unit: Bytes, Loss: true,
		Meaning: "Estimate: packets that the NIC or its driver dropped (`nic_dropped`).",
		Remedy:  "Make the NIC's ring larger (ethtool -G), and keep its interrupts off busy processors."},
	Program: {Name: "program", Stage: Program, Unit: Bytes, Loss: true,
		Meaning: "Estimate: packets that the XDP program left to the kernel (`no_socket`, `fragment`).",
		Remedy:  "Receive all queues ({Queues}), and make packets fit the smallest MTU on the way."},
	Socket: {Name: "socket", Stage: Socket, Unit: Bytes, Loss: true,
		Meaning: "Estimate: packets that the kernel dropped at the socket (`kernel_dropped`, `chain_too_long`).",
		Remedy:  "Give the receiving thread a processor of its own ({CPUs}), or hold more packets with {Frames} or {SocketBuffer}."},
	Parse: {Name: "parse", Stage: Parse, Unit: Bytes, Loss: true,
		Meaning: "Estimate: packets that could not be read.",
		Remedy:  "Look at the fates of the stage parse: they name what was wrong with the packets."},
	Assembly: {Name: "assembly", Stage: Assembly, Unit: Bytes, Loss: true,
		Meaning: "Exact: what came of heaps that were discarded as incomplete. Estimate: packets that came too late, or contradicted their heap.",
		Remedy:  "Let more heaps be live at once with {ConcurrentHeaps}; {Incomplete} delivers incomplete heaps."},
	Pool: {Name: "pool", Stage: Pool, Unit: Bytes, Loss: true,
		Meaning: "Estimate: packets for which there was no slot, or only a smaller one (`no_slot`, `oversize_heap`).",
		Remedy:  "Release heaps sooner, or raise {ConsumerHeaps} or {HeapSize}."},
	Ring: {Name: "ring", Stage: Ring, Unit: Bytes, Loss: true,
		Meaning: "Exact: what came of heaps that were dropped, as the ring of finished heaps was full.",
		Remedy:  "Make the consumer faster, or let more heaps wait for it with {RingHeaps}."},
	Consumer: {Name: "consumer", Stage: Consumer, Unit: Bytes, Loss: true,
		Meaning: "Exact: what came of heaps that the consumer did not take before the end. Estimate: packets that were received and not placed at the end.",
		Remedy:  "Take all heaps before Close."},
}

// CauseRow describes the missing bytes that a stage has lost.
func CauseRow(s Stage) *Row { return &causes[s] }

// Sum is the number of missing bytes.
func (c *Causes) Sum() uint64 {
	var n uint64
	for _, v := range c {
		n += v
	}
	return n
}

// MarshalJSON gives an object with every cause, in the order of the stages.
func (c *Causes) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, n := range c {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), causes[i].Name...), '"', ':')
		b = strconv.AppendUint(b, n, 10)
	}
	return append(b, '}'), nil
}
