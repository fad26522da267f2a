// SPDX-License-Identifier: Apache-2.0

package operate

import (
	"container/list"
	"net"
	"sync"
)

// bounded is a listener with a bound on open connections: one more closes the oldest.
// To refuse the newest would let clients that never end keep all others out.
type bounded struct {
	net.Listener
	most int

	mu   sync.Mutex
	open list.List // of *boundedConn, the oldest first
}

func newBounded(l net.Listener, most int) *bounded { return &bounded{Listener: l, most: most} }

// Accept implements [net.Listener].
func (b *bounded) Accept() (net.Conn, error) {
	conn, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &boundedConn{Conn: conn, of: b}
	b.mu.Lock()
	c.place = b.open.PushBack(c)
	var oldest *boundedConn
	if b.open.Len() > b.most {
		oldest = b.open.Front().Value.(*boundedConn)
	}
	b.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close()
	}
	return c, nil
}

// boundedConn takes itself off the list when it is closed.
type boundedConn struct {
	net.Conn
	of    *bounded
	place *list.Element
}

// Close implements [net.Conn].
func (c *boundedConn) Close() error {
	c.of.mu.Lock()
	c.of.open.Remove(c.place)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
