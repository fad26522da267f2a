package speadx

import (
	"context"
	"sync"
)

// contexts calls a function when a context is done that somebody waits under.
// The last one is kept, since who waits again mostly does so under the same
// context: then nothing is allocated.
type contexts struct {
	call func() // what is called
	mu   sync.Mutex
	list []*watchedContext
}

type watchedContext struct {
	owner *contexts
	ctx   context.Context
	users int
	stop  func() bool
}

// watch makes the function be called when ctx is done, until unwatch.
func (c *contexts) watch(ctx context.Context) *watchedContext {
	if ctx.Done() == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := -1
	for i, w := range c.list {
		if w.ctx == ctx {
			w.users++
			return w
		}
		if w.users == 0 {
			idle = i
		}
	}
	w := &watchedContext{owner: c, ctx: ctx, users: 1, stop: context.AfterFunc(ctx, c.call)}
	if idle >= 0 {
		c.list[idle].stop()
		c.list[idle] = w
	} else {
		c.list = append(c.list, w)
	}
	return w
}

func (w *watchedContext) unwatch() {
	if w == nil {
		return
	}
	w.owner.mu.Lock()
	w.users--
	w.owner.mu.Unlock()
}

// close stops watching.
func (c *contexts) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.list {
		w.stop()
	}
	c.list = nil
}
