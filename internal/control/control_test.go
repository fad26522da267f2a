// SPDX-License-Identifier: Apache-2.0

package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseRequest(t *testing.T) {
	for _, tt := range []struct {
		line     string
		want     Request
		reason   string
		mentions string
	}{
		{`{"op":"add","stream":"B","source":"239.1.2.3:7148"}`, Request{OpAdd, "B", "239.1.2.3:7148"}, "", ""},
		{` { "op" : "list" } `, Request{Op: OpList}, "", ""},
		{`{"op":"remove","source":"x"}`, Request{Op: OpRemove, Source: "x"}, "", ""},
		{``, Request{}, ReasonBadRequest, `{"op":"list"}`},
		{`list`, Request{}, ReasonBadRequest, `{"op":"list"}`},
		{`null`, Request{}, ReasonBadRequest, `{"op":"list"}`},
		{`["list"]`, Request{}, ReasonBadRequest, `{"op":"list"}`},
		{`{"op":"list"} {"op":"list"}`, Request{}, ReasonBadRequest, "more than one"},
		{`{"op":"list"}]`, Request{}, ReasonBadRequest, "more than one"},
		{`{"op":"add","sorce":"x"}`, Request{}, ReasonBadRequest, "(did you mean source?)"},
		{`{"op":7}`, Request{}, ReasonBadRequest, `"op" is 7`},
		{`{"op":null}`, Request{}, ReasonBadRequest, `"op" is null`},
		{`{}`, Request{}, ReasonMissing, "add, remove, list, status"},
		{`{"op":"ad"}`, Request{}, ReasonUnknownOp, "(did you mean add?)"},
		{`{"op":"add"}`, Request{}, ReasonMissing, `"source"`},
		{strings.Repeat("[", 4000), Request{}, ReasonBadRequest, ""},
	} {
		got, err := ParseRequest([]byte(tt.line))
		var bad *RequestError
		switch errors.As(err, &bad); {
		case tt.reason == "" && (err != nil || got != tt.want):
			t.Errorf("%s: %+v, %v", tt.line, got, err)
		case tt.reason != "" && (bad == nil || bad.Reason != tt.reason || !strings.Contains(bad.Text, tt.mentions)):
			t.Errorf("%s: %v, want %s with %q", tt.line, err, tt.reason, tt.mentions)
		}
	}
}

// FuzzParseRequest: a request that is taken has an operation that there is, and what that
// needs. The error of any other is a value, and short.
func FuzzParseRequest(f *testing.F) {
	for _, line := range []string{`{"op":"add","source":"x"}`, `{"op":"list"}`, `{`, `{"op":{}}`, `{"op":"\ud800"}`, "{\"op\":\"\xff\"}"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := ParseRequest(line)
		if err != nil {
			var bad *RequestError
			if !errors.As(err, &bad) || bad.Reason == "" || len(bad.Text) > 400 || r != (Request{}) {
				t.Fatalf("%q: %+v, %#v", line, r, err)
			}
			return
		}
		again, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if r2, err := ParseRequest(again); err != nil || r2 != r {
			t.Fatalf("%q gives %+v, and that %+v, %v", line, r, r2, err)
		}
	})
}

// serve starts a server whose handler is h.
func serve(t *testing.T, h Handler) (path string, v *Server) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	s, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	v = Serve(s, h)
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return path, v
}

// client is one end of a connection.
type client struct {
	net.Conn
	in *bufio.Reader
}

func connect(t *testing.T, path string) *client {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &client{c, bufio.NewReader(c)}
}

// ask sends a line and returns the reply.
func (c *client) ask(t *testing.T, line string) (r Reply) {
	t.Helper()
	if _, err := c.Write([]byte(line)); err != nil && !errors.Is(err, syscall.EPIPE) {
		t.Fatal(err)
	}
	b, err := c.in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatalf("reply %q: %v", b, err)
	}
	return r
}

func ok(context.Context, Request) Reply { return Reply{OK: true} }

// TestServe: several requests of one client, of which one is wrong.
func TestServe(t *testing.T) {
	var got []Request
	path, _ := serve(t, func(_ context.Context, q Request) Reply { got = append(got, q); return Reply{OK: true} })
	c := connect(t, path)
	if r := c.ask(t, "{\"op\":\"list\"}\n"); !r.OK {
		t.Errorf("reply %+v", r)
	}
	if r := c.ask(t, "nonsense\n"); r.OK || r.Reason != ReasonBadRequest {
		t.Errorf("reply %+v", r)
	}
	if r := c.ask(t, "{\"op\":\"add\",\"source\":\"x\"}\n"); !r.OK {
		t.Errorf("reply %+v", r)
	}
	if len(got) != 2 || got[1] != (Request{Op: OpAdd, Source: "x"}) {
		t.Errorf("requests %+v", got)
	}
}

// TestMode: the file is its owner's alone, and goes with the socket.
func TestMode(t *testing.T) {
	path, v := serve(t, ok)
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file stays: %v", err)
	}
}

// TestPath: what is at the path before.
func TestPath(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	used, _ := serve(t, ok)
	for path, mentions := range map[string]string{
		file: "not a socket", dir: "not a socket", link: "not a socket", used: "another process listens",
		filepath.Join(dir, "no", "s"): "directory", "": "0 bytes", "/" + strings.Repeat("x", 107): "108 bytes",
	} {
		if s, err := Listen(path); err == nil || !strings.Contains(err.Error(), mentions) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", path, err, mentions)
			if s != nil {
				s.Close()
			}
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file holds %q, %v", text, err)
	}
	// A socket that nobody listens on is replaced, as one of a killed process.
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	s, err := Listen(stale)
	if err != nil {
		t.Fatal(err)
	}
	// And one that has become another's in the meantime is left alone.
	if err := os.Remove(stale); err != nil {
		t.Fatal(err)
	}
	other, err := Listen(stale)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(stale); err != nil {
		t.Errorf("the file of another is gone: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

// TestLongLine: the reply says so, and the client is disconnected.
func TestLongLine(t *testing.T) {
	path, _ := serve(t, ok)
	c := connect(t, path)
	if r := c.ask(t, strings.Repeat(" ", MaxLine-14)+"{\"op\":\"list\"}\n"); !r.OK {
		t.Errorf("the longest line: %+v", r)
	}
	if r := c.ask(t, strings.Repeat("x", 2*MaxLine)); r.Reason != ReasonTooLong {
		t.Errorf("reply %+v", r)
	}
	if n, err := c.in.ReadByte(); err == nil {
		t.Errorf("still connected: %d", n)
	}
}

// TestManyClients: one more than there may be is refused, until one has gone. A client that
// says nothing does not keep the others from being answered.
func TestManyClients(t *testing.T) {
	path, _ := serve(t, ok)
	var list []*client
	for range MaxClients {
		c := connect(t, path)
		list = append(list, c)
	}
	if r := list[MaxClients-1].ask(t, "{\"op\":\"list\"}\n"); !r.OK {
		t.Errorf("reply %+v", r)
	}
	if r := connect(t, path).ask(t, ""); r.Reason != ReasonBusy {
		t.Errorf("reply %+v", r)
	}
	list[0].Close()
	for deadline := time.Now().Add(time.Minute); ; {
		if r := connect(t, path).ask(t, "{\"op\":\"list\"}\n"); r.OK {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("reply %+v", r)
		}
	}
}

// TestSlowReader: a client that sends requests and reads no reply is disconnected at Close,
// and does not hold it up.
func TestSlowReader(t *testing.T) {
	path, v := serve(t, func(context.Context, Request) Reply { return Reply{OK: true, Status: strings.Repeat("x", 1<<20)} })
	c := connect(t, path)
	if _, err := c.Write([]byte("{\"op\":\"status\"}\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.in.Peek(1); err != nil { // the reply has begun, and does not fit
		t.Fatal(err)
	}
	other := connect(t, path)
	if _, err := other.Write([]byte("{\"op\":\"list\"}\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := other.in.Peek(1); err != nil {
		t.Errorf("another client gets no reply: %v", err)
	}
	began := time.Now()
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if d := time.Since(began); d > writeTime/2 {
		t.Errorf("Close took %v", d)
	}
}

// TestCloseCancels: a request that is under way ends with the server.
func TestCloseCancels(t *testing.T) {
	began := make(chan struct{})
	path, v := serve(t, func(ctx context.Context, _ Request) Reply { close(began); <-ctx.Done(); return Reply{} })
	c := connect(t, path)
	if _, err := c.Write([]byte("{\"op\":\"list\"}\n")); err != nil {
		t.Fatal(err)
	}
	<-began
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}
