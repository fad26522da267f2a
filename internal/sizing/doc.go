// SPDX-License-Identifier: Apache-2.0

// Package sizing works out what a receiver needs for a given stream: slots, rings, packet
// buffers, memory, queues, processors and the time of a start. It gives the reason for each
// number. All of it is arithmetic: nothing here asks the machine.
//
// A packet waits in three places, one behind the other. Each takes up a delay of another part:
//
//		NIC ring  ─►  frames of the UMEM  ─►  slots being filled  ─►  ring  ─►  slots held
//		driver        receiving thread        network                consumer
//
//	  - NIC ring: the kernel does not serve the NIC for a moment.
//	  - Frames: the receiving thread does not run, for ThreadStall.
//	  - Concurrent heaps: heaps overlap, or one thread lags behind another.
//	  - Ring: the consumer takes no heap, for Stall.
//	  - Held: the consumer works on heaps, each for Consumer.
//
// The sum of the last three, and one for each thread, are the slots. Each number is the
// smallest that is enough. With one less, the scenario loses heaps or packets at the stage that
// the line names.
//
// Events come at a steady pace with an unknown phase. So in a time t there are up to
// floor(rate × t) + 1 of them.
package sizing
