// SPDX-License-Identifier: Apache-2.0

package send

import "context"

// engine takes packets to the network. It belongs to one goroutine.
type engine interface {
	// send takes all packets, in order, before it returns; their memory is then
	// free for other packets. The context ends only its waiting for room. It
	// gives how many packets were taken, which are all unless there is an error.
	// The last of them may have been sent in part; its rest goes before others.
	send(ctx context.Context, packets []packet) (int, error)

	// drain waits until what was taken has been handed to the network device.
	drain(ctx context.Context) error

	// about describes the engine in a few words.
	about() string

	close() error
}

// runner makes and sends data heaps by itself, where packets are not made one by one
// for an engine.
type runner interface {
	// run sends so many heaps, negative: until ctx ends. It adds what it did to r,
	// and gives how many heap counts were used.
	run(ctx context.Context, heaps int64, r *Result) (counts uint64, err error)

	about() string

	close() error
}
