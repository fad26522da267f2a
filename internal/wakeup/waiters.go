// SPDX-License-Identifier: Apache-2.0

package wakeup

import "context"

// Waiters lets any number of goroutines wait for one [Event] at the cost of one thread.
// One goroutine has the turn. It alone waits for the event, which takes a thread, and a
// signal wakes it alone. The others wait for the turn, as for any channel of Go. All
// methods but Close may be called from any goroutine.
//
// The event must be signalled after each change that may make a condition true, and only the
// Waiters may wait for it. Then no wake-up is lost, although a signal wakes one goroutine:
//
//   - As long as goroutines wait, one of them has the turn or is being given it. The
//     turn is one value in a channel, and its holder puts it back on every way out. The
//     channel gives it to a goroutine that still waits, never to one that has left
//     because its context was done.
//   - The holder asks its condition first. So it finds what was there before, no matter
//     whom the signal for that woke, and whether that goroutine took it or left.
//   - What comes after the holder has asked is followed by a signal, and the event
//     loses none.
//
// So a goroutine that takes one of several things need not signal for the next one: it
// puts back the turn, and the next goroutine looks.
type Waiters struct {
	event *Event
	turn  chan struct{} // holds one value while no goroutine has the turn

	// When this context is done the event is signalled. The field belongs to the goroutine that
	// has the turn. It is kept: mostly the next wait has the same context, and then
	// nothing is allocated.
	watched <-chan struct{} // its Done; nil: there is none
	unwatch func() bool
	signal  func()
}

// NewWaiters makes a queue of those that wait for b.
func NewWaiters(b *Event) *Waiters {
	q := &Waiters{event: b, turn: make(chan struct{}, 1), signal: b.Signal}
	q.turn <- struct{}{}
	return q
}

// Wait waits until cond is true, or until ctx is done: then it returns the context's
// error. Before that it asks cond once more, so that what is there comes first.
// Several callers may ask their conditions at once.
func (q *Waiters) Wait(ctx context.Context, cond func() bool) error {
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
	q.event.Wait(func() bool {
		met = cond()
		return met || ctx.Err() != nil
	})
	if met {
		return nil
	}
	return ctx.Err()
}

// watch signals the event when ctx is done. Contexts are compared by their Done
// channels: a context may be of a type that cannot be compared.
func (q *Waiters) watch(ctx context.Context) {
	done := ctx.Done()
	if done == nil || done == q.watched {
		return
	}
	q.Close()
	q.watched, q.unwatch = done, context.AfterFunc(ctx, q.signal)
}

// Close lets go of the last context. It is to be called when no goroutine waits any more.
func (q *Waiters) Close() {
	if q.unwatch != nil {
		q.unwatch()
	}
	q.watched, q.unwatch = nil, nil
}
