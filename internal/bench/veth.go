// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// VethOptions says what [Receive] measures. The zero value is what `speadx bench veth`
// does.
type VethOptions struct {
	Payloads    []int         // of a packet from blast, bytes; nil: 3072 and 1408
	Senders     []int         // of blast that send at once, a heap each; nil: 1 and 64
	Jumbo       int           // of a packet from the kernel's sender; 0: 8192; negative: leave it out
	Heap        int64         // near which heaps are, whole packets; 0: 1 MiB
	Rounds      int           // searches of each contestant; 0: 11
	Trial       time.Duration // of sending at one rate; 0: 100 ms
	Frames      int           // of our receivers and the drain; 0: 8192
	Paced       float64       // Gb/s at which CPU time is measured; 0: 0.7 of what the slowest takes, but for those far behind
	Spead2      string        // the program spead2_recv, measured as well; "": it is not
	Spead2Bench string        // the program spead2_bench, likewise, with jumbo packets of its own sender
	Only        []string      // contestants; nil: all
}

// VethPayloads are those measured unless others are asked for.
func VethPayloads() []int { return []int{3072, 1408} }

// VethSenders are those measured unless others are asked for.
func VethSenders() []int { return []int{1, 64} }

// Contestants of bench veth.
const (
	Drain       = "drain"      // frames are taken and given back; poll when there are none
	DrainNap    = "drain nap"  // the same, waiting as speadx does
	DrainCopy   = "drain copy" // and with one plain copy of what is in them
	Native      = "speadx native"
	Spin        = "speadx native spin"
	Default     = "speadx default" // native, with as many frames as it takes by itself; disturbed besides
	Generic     = "speadx generic"
	Sockets     = "speadx udp"
	Asavie      = "asavie"
	Spead2      = "spead2_recv"
	Spead2Stock = "spead2_recv stock" // with the socket buffer of 208 KiB that most kernels allow unless told otherwise
	Spead2Tuned = "spead2_recv tuned"
	Spead2Bench = "spead2_bench"
)

// VethContestants are the names of all, in the order in which they take turns.
func VethContestants() []string {
	return []string{Drain, DrainNap, DrainCopy, Native, Spin, Default, Generic, Sockets, Asavie, Spead2, Spead2Stock, Spead2Tuned, Spead2Bench}
}

// vethFrames are fewer than the receiver has on a veth by default. Those are for a
// machine that is busy with other things; these stay nearer to the caches.
const vethFrames = 8192

// Bounds of what blast makes, and of a payload that fits an MTU of 9000.
const (
	leastPayload  = 8
	mostPayload   = 3300
	mostJumbo     = 8900
	mostVethHeap  = 1 << 30
	mostVethTrial = time.Minute
	mostSenders   = 256
)

// Complete sets what is 0 to its default. It is an error if something cannot be
// measured.
func (o *VethOptions) Complete() error {
	if o.Payloads == nil {
		o.Payloads = VethPayloads()
	}
	if o.Senders == nil {
		o.Senders = VethSenders()
	}
	if o.Jumbo == 0 {
		o.Jumbo = 8192
	}
	if o.Heap == 0 {
		o.Heap = 1 << 20
	}
	if o.Rounds == 0 {
		o.Rounds = 11
	}
	if o.Trial == 0 {
		o.Trial = 100 * time.Millisecond
	}
	if o.Frames == 0 {
		o.Frames = vethFrames
	}
	for i, n := range o.Payloads {
		if n < leastPayload || n > mostPayload {
			return fmt.Errorf("bench veth: packets of %d bytes of payload cannot be had from blast (%d to %d)", n, leastPayload, mostPayload)
		}
		if slices.Contains(o.Payloads[:i], n) {
			return fmt.Errorf("bench veth: packets of %d bytes of payload stand there twice", n)
		}
	}
	for i, n := range o.Senders {
		if n < 1 || n > mostSenders {
			return fmt.Errorf("bench veth: %d senders at once cannot be had from blast (1 to %d)", n, mostSenders)
		}
		if slices.Contains(o.Senders[:i], n) {
			return fmt.Errorf("bench veth: %d senders stand there twice", n)
		}
	}
	if o.Jumbo > mostJumbo {
		return fmt.Errorf("bench veth: packets of %d bytes of payload do not fit an MTU of 9000 (at most %d)", o.Jumbo, mostJumbo)
	}
	if o.Jumbo > 0 && o.Jumbo < leastPayload {
		return fmt.Errorf("bench veth: jumbo packets of %d bytes of payload are too small (at least %d)", o.Jumbo, leastPayload)
	}
	if o.Rounds < 1 || o.Trial < 0 || o.Trial > mostVethTrial || o.Heap < 1 || o.Heap > mostVethHeap {
		return fmt.Errorf("bench veth: %d rounds of trials of %v, with heaps of %d bytes, cannot be", o.Rounds, o.Trial, o.Heap)
	}
	if o.Frames < 1 || o.Frames&(o.Frames-1) != 0 {
		return fmt.Errorf("bench veth: %d frames are no power of two", o.Frames)
	}
	if !(o.Paced >= 0) || math.IsInf(o.Paced, 1) {
		return fmt.Errorf("bench veth: %v Gb/s is no pace", o.Paced)
	}
	names := slices.DeleteFunc(VethContestants(), func(name string) bool {
		return o.Spead2 == "" && (name == Spead2 || name == Spead2Stock || name == Spead2Tuned) || o.Spead2Bench == "" && name == Spead2Bench
	})
	for _, name := range o.Only {
		if !slices.Contains(names, name) {
			return fmt.Errorf("bench veth: no contestant is called %q (there are: %s)", name, strings.Join(names, ", "))
		}
	}
	return nil
}
