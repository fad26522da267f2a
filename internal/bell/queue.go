// SPDX-License-Identifier: Apache-2.0

package bell

import "context"

// Queue lets any number of goroutines wait for one [Bell] at the cost of one thread.
// One goroutine has the turn. It alone waits on the bell, which takes a thread, and a
// ring wakes it alone. The others wait for the turn, as for any channel of Go. All
// methods but Close may be called from any goroutine.
//
// The bell must be rung after each change that may make a condition true, and only the
// Queue may wait on it. Then no wake-up is lost, although a ring wakes one goroutine:
//
//   - As long as goroutines wait, one of them has the turn or is being given it. The
//     turn is one value in a channel, and its holder puts it back on every way out. The
//     channel gives it to a goroutine that still waits, never to one that has left
//     because its context was done.
//   - The holder asks its condition first. So it finds what was there before, no matter
//     whom the ring for that woke, and whether that goroutine took it or left.
//   - What comes after the holder has asked is followed by a ring, and the bell loses
//     no ring.
//
// So a goroutine that takes one of several things need not ring for the next one: it
// puts back the turn, and the next goroutine looks.
type Queue struct {
	bell *Bell
	turn chan struct{} // holds one value while no goroutine has the turn

	// When this context is done the bell rings. The field belongs to the goroutine that
	// has the turn. It is kept: mostly the next wait has the same context, and then
	// nothing is allocated.
	watched <-chan struct{} // its Done; nil: there is none
	unwatch func() bool
	ring    func()
}

// NewQueue makes a queue of those that wait for b.
func NewQueue(b *Bell) *Queue {
	q := &Queue{bell: b, turn: make(chan struct{}, 1), ring: b.Ring}
	q.turn <- struct{}{}
	return q
}

// Wait waits until cond is true, or until ctx is done: then it returns the context's
// error. Before that it asks cond once more, so that what is there comes first.
// Several callers may ask their conditions at once.
func (q *Queue) Wait(ctx context.Context, cond func() bool) error {
	select {
	case <-q.turn:
	case <-ctx.Done():
		if cond() {
			return nil
		}
		return ctx.Err()
	}
	defer func() { q.turn <- struct{}{} }()
	q.watch(ctx)
	met := false
	q.bell.Wait(func() bool {
		met = cond()
		return met || ctx.Err() != nil
	})
	if met {
		return nil
	}
	return ctx.Err()
}

// watch makes the bell ring when ctx is done. Contexts are compared by their Done
// channels: a context may be of a type that cannot be compared.
func (q *Queue) watch(ctx context.Context) {
	done := ctx.Done()
	if done == nil || done == q.watched {
		return
	}
	q.Close()
	q.watched, q.unwatch = done, context.AfterFunc(ctx, q.ring)
}

// Close lets go of the last context. It is to be called when no goroutine waits any more.
func (q *Queue) Close() {
	if q.unwatch != nil {
		q.unwatch()
	}
	q.watched, q.unwatch = nil, nil
}
