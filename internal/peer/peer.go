// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// prefix begins the names of the sockets. The number is the version of what is said there.
const prefix = "@speadx-1/"

const (
	replyLimit    = 5 * time.Second // for an answer that nothing holds up
	strangerLimit = time.Second     // for that of another user's process
	maxRequest    = 1 << 10
	maxReply      = 4 << 20
	maxFDs        = 16
	maxQuestion   = 32 // questions at once
)

// Info is what a receiver says of itself.
type Info struct {
	PID      int        `json:"pid"` // in its own PID namespace
	Program  string     `json:"program"`
	UID      int        `json:"uid"`
	Receives []Receives `json:"receives,omitempty"`

	// Refused says that it tells no more, since the asking process is another user's.
	Refused bool `json:"refused,omitempty"`
}

// Receives is what a receiver receives on an interface.
type Receives struct {
	Ifindex   int              `json:"ifindex"` // 0: any interface
	Interface string           `json:"interface,omitempty"`
	Sockets   bool             `json:"sockets,omitempty"` // UDP sockets; else AF_XDP, on Queues
	Queues    []int            `json:"queues,omitempty"`
	VLAN      string           `json:"vlan,omitempty"` // ids of the tags with a dot between; "": without a tag; AnyVLAN
	Endpoints []netip.AddrPort `json:"endpoints"`
}

// AnyVLAN is the VLAN of packets whose tags are not looked at.
const AnyVLAN = "*"

// Overlap is an endpoint that both receive on one interface.
func (r *Receives) Overlap(o *Receives) (netip.AddrPort, bool) {
	if r.Ifindex != o.Ifindex && r.Ifindex != 0 && o.Ifindex != 0 || r.VLAN != o.VLAN && r.VLAN != AnyVLAN && o.VLAN != AnyVLAN {
		return netip.AddrPort{}, false
	}
	return Overlap(r.Endpoints, o.Endpoints)
}

// Overlap is an endpoint of both lists: the first that is the same, or where one is at any
// address.
func Overlap(a, b []netip.AddrPort) (netip.AddrPort, bool) {
	for _, x := range a {
		for _, y := range b {
			xa, ya := x.Addr().Unmap().WithZone(""), y.Addr().Unmap().WithZone("")
			if x.Port() == y.Port() && (xa == ya || !xa.IsValid() || !ya.IsValid() || xa.IsUnspecified() || ya.IsUnspecified()) {
				return y, true
			}
		}
	}
	return netip.AddrPort{}, false
}

// request is what is asked: who a receiver is, and its program on an interface if that is
// not 0.
type request struct {
	Share int `json:"share,omitempty"`
}

// Handler answers for a receiver. Its functions are called from any goroutine.
type Handler interface {
	// Info is what the receiver receives now.
	Info() Info
	// Share calls send with the descriptors of the program on an interface. It waits until
	// it is settled whether there is one, or until cancel is closed. If there is none, it
	// does not call send.
	Share(ifindex int, cancel <-chan struct{}, send func(fds []int) error) error
}

// Server is a receiver's socket.
type Server struct {
	name    string
	handler Handler
	socket  *net.UnixListener
	closing chan struct{}
	slots   chan struct{}
	running sync.WaitGroup
	once    sync.Once
}

// Listen begins to answer, in the network namespace of the calling thread.
func Listen(h Handler) (*Server, error) {
	var token [8]byte
	_, _ = rand.Read(token[:])
	s := &Server{name: prefix + hex.EncodeToString(token[:]), handler: h, closing: make(chan struct{}), slots: make(chan struct{}, maxQuestion)}
	var err error
	if s.socket, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: s.name}); err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	s.running.Go(s.accept)
	return s, nil
}

// Close ends it. It waits for answers that are under way, which do not wait for anything by
// then. It is idempotent.
func (s *Server) Close() error {
	var err error
	s.once.Do(func() {
		close(s.closing)
		err = s.socket.Close()
		s.running.Wait()
	})
	return err
}

func (s *Server) accept() {
	for {
		c, err := s.socket.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // no descriptor is left
			select {
			case <-s.closing:
				return
			case <-time.After(100 * time.Millisecond):
				continue
			}
		}
		select {
		case s.slots <- struct{}{}:
			s.running.Go(func() {
				defer func() { <-s.slots }()
				defer c.Close()
				_ = s.answer(c) // the asking process may be gone
			})
		default:
			c.Close()
		}
	}
}

func (s *Server) answer(c *net.UnixConn) error {
	// Closing ends what waits for the other process.
	answered := make(chan struct{})
	defer close(answered)
	s.running.Go(func() {
		select {
		case <-s.closing:
			_ = c.SetDeadline(time.Now())
		case <-answered:
		}
	})
	cred, err := peerOf(c)
	if err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(limitFor(cred))); err != nil {
		return err
	}
	// The question is read in any case: to close with it unread would void the answer.
	var q request
	if err := json.NewDecoder(io.LimitReader(c, maxRequest)).Decode(&q); err != nil {
		return err
	}
	info := s.handler.Info()
	if !trusted(cred) {
		return reply(c, Info{PID: info.PID, Program: info.Program, UID: info.UID, Refused: true}, nil)
	}
	if q.Share == 0 {
		return reply(c, info, nil)
	}
	sent := false
	err = s.handler.Share(q.Share, s.closing, func(fds []int) error {
		sent = true
		return errors.Join(c.SetDeadline(time.Now().Add(replyLimit)), reply(c, s.handler.Info(), fds))
	})
	if err != nil || sent {
		return err
	}
	return errors.Join(c.SetDeadline(time.Now().Add(replyLimit)), reply(c, s.handler.Info(), nil))
}

// reply sends an answer. Descriptors go with its first byte.
func reply(c *net.UnixConn, info Info, fds []int) error {
	b, err := json.Marshal(info)
	if err != nil {
		return err
	}
	if len(fds) > 0 {
		n, _, err := c.WriteMsgUnix(b[:1], unix.UnixRights(fds...), nil)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	_, err = c.Write(b)
	return err
}

// trusted reports whether a process may know what this one does.
func trusted(cred *unix.Ucred) bool { return cred.Uid == 0 || int(cred.Uid) == os.Geteuid() }

// limitFor is how long a process may take to ask or to answer.
func limitFor(cred *unix.Ucred) time.Duration {
	if trusted(cred) {
		return replyLimit
	}
	return strangerLimit
}

func peerOf(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return nil, err
	}
	return cred, credErr
}

// names are those of the sockets of receivers in the network namespace of the calling thread.
func names() ([]string, error) {
	b, err := os.ReadFile("/proc/thread-self/net/unix")
	if err != nil {
		return nil, fmt.Errorf("peer: %w", err)
	}
	return parseNames(b), nil
}

// parseNames reads a /proc/net/unix.
func parseNames(table []byte) (list []string) {
	seen := map[string]bool{}
	for line := range bytes.Lines(table) {
		fields := bytes.Fields(line)
		if len(fields) != 8 {
			continue
		}
		name := string(fields[7])
		token, ok := strings.CutPrefix(name, prefix)
		// Each connection has the name of the listener, too.
		if b, err := hex.DecodeString(token); !ok || err != nil || len(b) != 8 || seen[name] {
			continue
		}
		seen[name] = true
		list = append(list, name)
	}
	return list
}

// ask sends a question to a receiver.
func ask(name string, q request) (*net.UnixConn, *unix.Ucred, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: name})
	if err != nil {
		return nil, nil, err
	}
	cred, err := peerOf(c)
	if err == nil {
		err = errors.Join(c.SetDeadline(time.Now().Add(limitFor(cred))), json.NewEncoder(c).Encode(q))
	}
	if err != nil {
		c.Close()
		return nil, nil, err
	}
	return c, cred, nil
}

// read takes an answer, with its descriptors.
func read(c *net.UnixConn) (info Info, fds []int, err error) {
	defer func() {
		if err != nil {
			closeAll(fds)
			fds = nil
		}
	}()
	var text []byte
	buf, oob := make([]byte, 64<<10), make([]byte, unix.CmsgSpace(4*maxFDs))
	for {
		n, k, flags, _, err := c.ReadMsgUnix(buf, oob)
		n, k = max(n, 0), max(k, 0) // they are -1 with an error
		more, rightsErr := rights(oob[:k])
		fds = append(fds, more...)
		if flags&unix.MSG_CTRUNC != 0 {
			rightsErr = errors.Join(rightsErr, errors.New("peer: too many descriptors"))
		}
		if rightsErr != nil {
			return info, fds, rightsErr
		}
		text = append(text, buf[:n]...)
		if errors.Is(err, io.EOF) || err == nil && n == 0 {
			break
		}
		if err != nil {
			return info, fds, err
		}
		if len(text) > maxReply || len(fds) > maxFDs {
			return info, fds, errors.New("peer: the answer is too long")
		}
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return info, fds, fmt.Errorf("peer: %w", err)
	}
	return info, fds, nil
}

func rights(oob []byte) (fds []int, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // it carries something else
		}
		fds = append(fds, more...)
	}
	return fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// identify puts what the kernel says of a receiver in the place of what it says itself.
func (info *Info) identify(cred *unix.Ucred) {
	info.UID = int(cred.Uid)
	if cred.Pid > 0 { // else it is in a PID namespace that this process does not see
		info.PID = int(cred.Pid)
	}
}

// List asks all receivers in the network namespace of the calling thread what they receive,
// but not self, which may be nil.
func List(self *Server) ([]Info, error) {
	all, err := names()
	if err != nil {
		return nil, err
	}
	var list []Info
	for _, name := range all {
		if self != nil && name == self.name {
			continue
		}
		c, cred, err := ask(name, request{})
		if err != nil {
			continue // it has ended
		}
		info, fds, err := read(c)
		c.Close()
		closeAll(fds)
		if err != nil {
			continue
		}
		info.identify(cred)
		list = append(list, info)
	}
	return list, nil
}

// Shared are the descriptors of a receiver's program.
type Shared struct {
	Info
	FDs []int // the caller's
}

// Share asks all receivers in the network namespace of the calling thread for their program
// on an interface, but not self. Receivers that are just starting answer when they have
// started: it waits for them, until cancel is closed. It returns the first answer that has
// descriptors; without one, the receivers that refuse to give any.
func Share(self *Server, ifindex int, cancel <-chan struct{}) (shared *Shared, refused []Info, err error) {
	all, err := names()
	if err != nil {
		return nil, nil, err
	}
	type answer struct {
		info Info
		fds  []int
		err  error
	}
	var open []*net.UnixConn
	var running sync.WaitGroup
	answers := make(chan answer)
	done := make(chan struct{})
	for _, name := range all {
		if self != nil && name == self.name {
			continue
		}
		c, cred, err := ask(name, request{Share: ifindex})
		if err != nil {
			continue
		}
		if trusted(cred) {
			_ = c.SetReadDeadline(time.Time{}) // it may be starting
		}
		open = append(open, c)
		running.Go(func() {
			info, fds, err := read(c)
			info.identify(cred)
			select {
			case answers <- answer{info, fds, err}:
			case <-done:
				closeAll(fds)
			}
			c.Close()
		})
	}
	defer func() {
		close(done)
		for _, c := range open {
			_ = c.SetDeadline(time.Now())
		}
		running.Wait()
	}()
	for range open {
		select {
		case a := <-answers:
			switch {
			case a.err != nil:
			case a.info.Refused:
				refused = append(refused, a.info)
			case len(a.fds) > 0:
				return &Shared{a.info, a.fds}, nil, nil
			}
		case <-cancel:
			return nil, refused, errors.New("peer: cancelled")
		}
	}
	return nil, refused, nil
}

// Any reports whether there is a receiver in the network namespace of the calling thread
// beside self.
func Any(self *Server) (bool, error) {
	all, err := names()
	if err != nil {
		return false, err
	}
	for _, name := range all {
		if self == nil || name != self.name {
			return true, nil
		}
	}
	return false, nil
}
