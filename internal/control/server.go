// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// Bounds of what clients can cost.
const (
	MaxLine    = 4096 // bytes of a request, with its newline
	MaxClients = 8    // at once
	// idleTime is how long a client may take for a request. It is then disconnected.
	idleTime = time.Minute
	// writeTime is how long a client may take to read a reply.
	writeTime = 5 * time.Second
)

// Handler answers a request. It is called by one goroutine for each client. Its context
// ends with the server.
type Handler func(context.Context, Request) Reply

// Server answers the clients of a socket. Its methods may be called from any goroutine.
type Server struct {
	socket *Socket
	handle Handler
	uid    uint32 // besides root, who may connect

	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	clients map[*net.UnixConn]struct{}
	closed  bool
}

// Serve answers clients of the socket, which belongs to the server from then on.
func Serve(s *Socket, h Handler) *Server {
	v := &Server{socket: s, handle: h, uid: uint32(os.Geteuid()), clients: map[*net.UnixConn]struct{}{}}
	v.ctx, v.cancel = context.WithCancel(context.Background())
	v.done.Add(1)
	go v.accept()
	return v
}

// Close disconnects all clients and waits for the requests that are under way, whose
// context is cancelled. It may be called again.
func (v *Server) Close() error {
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		return nil
	}
	v.closed = true
	v.cancel()
	err := v.socket.Close()
	for c := range v.clients {
		c.Close()
	}
	v.mu.Unlock()
	v.done.Wait()
	return err
}

func (v *Server) accept() {
	defer v.done.Done()
	for {
		c, err := v.socket.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many files are open: later there may be fewer
			select {
			case <-v.ctx.Done():
				return
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		if refusal := v.admit(c); refusal != nil {
			_ = reply(c, refusal) // the kernel's buffer has room for it: nothing waits
			c.Close()
			continue
		}
		go func() {
			defer v.done.Done()
			v.serve(c)
			v.mu.Lock()
			delete(v.clients, c)
			v.mu.Unlock()
			c.Close()
		}()
	}
}

// admit makes c one of the clients, or says why not.
func (v *Server) admit(c *net.UnixConn) *Reply {
	uid, err := peer(c)
	switch {
	case err != nil:
		return &Reply{Reason: ReasonForbidden, Error: fmt.Sprintf("the user of the client is not known: %v", err)}
	case uid != v.uid && uid != 0:
		return &Reply{Reason: ReasonForbidden, Error: fmt.Sprintf("user %d may not connect (only user %d and root)", uid, v.uid)}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.clients) >= MaxClients || v.closed {
		return &Reply{Reason: ReasonBusy, Error: fmt.Sprintf("%d clients are connected, which is the most (disconnect one)", MaxClients)}
	}
	v.clients[c] = struct{}{}
	v.done.Add(1)
	return nil
}

// serve answers the requests of one client until it goes, is too slow, or sends a line that
// is too long.
func (v *Server) serve(c *net.UnixConn) {
	in := bufio.NewReaderSize(c, MaxLine)
	for {
		if c.SetReadDeadline(time.Now().Add(idleTime)) != nil {
			return
		}
		line, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			_ = reply(c, &Reply{Reason: ReasonTooLong, Error: fmt.Sprintf("a request has at most %d bytes", MaxLine)})
			return
		case err != nil:
			return
		}
		if err := reply(c, v.answer(line)); err != nil {
			return
		}
	}
}

func (v *Server) answer(line []byte) *Reply {
	r, err := ParseRequest(line)
	var bad *RequestError
	if errors.As(err, &bad) {
		return &Reply{Reason: bad.Reason, Error: bad.Text}
	}
	out := v.handle(v.ctx, r)
	return &out
}

func reply(c *net.UnixConn, r *Reply) error {
	b, err := json.Marshal(r)
	if err != nil {
		b = fmt.Appendf(nil, `{"ok":false,"reason":%q,"error":"the reply cannot be written"}`, ReasonBadRequest)
	}
	if err := c.SetWriteDeadline(time.Now().Add(writeTime)); err != nil {
		return err
	}
	_, err = c.Write(append(b, '\n'))
	return err
}
