// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/speadx/speadx/internal/control"
	"github.com/speadx/speadx/internal/vnet"
	"github.com/speadx/speadx/ledger"
)

const (
	sourceA = "239.1.2.3:7148"
	sourceB = "239.1.2.4:7148"
)

// controlled starts recv with a control socket, on the wire, with room for two more streams.
func controlled(t *testing.T, n *vnet.Net, args ...string) (p *process, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "control")
	p = start(t, options{at: &n.B}, append([]string{
		"recv", "-i", n.B.Name, "--mode", "native", "--frames", "8192", "-H", "64KiB", "--format", "json", "--verify",
		"--spare-streams", "2", "--control", socket,
	}, args...)...)
	p.receiving(t)
	return p, socket
}

// sendTo sends heaps that come after those with counts up to first.
func sendTo(t *testing.T, n *vnet.Net, to, heaps string) {
	t.Helper()
	within(t, &n.A, "send", "-q", "--verify", "-H", "64KiB", "--packet", "8972", "--rate", "0.5", "--no-stop", "--heaps", heaps, to).check(t, 0)
}

// cnts are the counts of the heaps of a stream, which have to be whole.
func cnts(t *testing.T, stdout, stream string) (list []int) {
	t.Helper()
	for _, l := range heapLines(t, stdout) {
		if l.Stream == stream {
			list = append(list, int(l.Cnt))
		}
	}
	return list
}

// listed is the reply to list.
func listed(t *testing.T, socket string) (list []controlStream) {
	t.Helper()
	r := program("control", socket, "list")
	r.check(t, 0)
	reply := control.Reply{Streams: &list}
	if err := json.Unmarshal([]byte(r.stdout), &reply); err != nil || !reply.OK {
		t.Fatalf("%v of %s", err, r.stdout)
	}
	return list
}

// TestControl: a stream comes and goes by request, without any capability.
func TestControl(t *testing.T) {
	n := wire(t)
	recv, socket := controlled(t, n, sourceA)
	everyThread(t, recv.cmd.Process.Pid, "CapEff", noCapability)
	if info, err := os.Lstat(socket); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode of the socket: %v, %v", info.Mode(), err)
	}
	program("control", socket, "add", "--stream", "B", sourceB).check(t, 0)
	sendTo(t, n, sourceB, "3")
	recv.await(t, &recv.stdout, `"stream":"B","cnt":3,`)
	program("control", socket, "remove", sourceB).check(t, 0)
	sendTo(t, n, sourceB, "9")
	sendTo(t, n, sourceA, "2")
	recv.await(t, &recv.stdout, `"stream":"`+sourceA+`","cnt":2,`)
	if list := listed(t, socket); len(list) != 2 || list[0].Stream != sourceA || len(list[0].Endpoints) != 1 || list[1].Stream != "B" || len(list[1].Endpoints) != 0 {
		t.Errorf("list %+v", list)
	}
	r := program("control", socket, "status")
	r.check(t, 0)
	var status controlStatus
	reply := control.Reply{Status: &status}
	if err := json.Unmarshal([]byte(r.stdout), &reply); err != nil || status.SpareStreams != 1 || len(status.Streams) != 2 ||
		status.Streams[0].CompleteHeaps != 2 || status.Streams[1].CompleteHeaps != 3 || status.Unaccounted != 0 {
		t.Errorf("status %s, %v", r.stdout, err)
	}
	program("control", socket, "add", sourceA).check(t, exitError, "is received already")
	program("control", socket, "add", "239.9.9.9:1").check(t, 0) // the last spare stream
	program("control", socket, "add", "239.9.9.9:2").check(t, exitError, "no spare stream is left", "restart")
	recv.signal(t, os.Interrupt)
	end := recv.wait(t)
	end.check(t, 0)
	if a, b := cnts(t, end.stdout, sourceA), cnts(t, end.stdout, "B"); !slices.Equal(a, []int{1, 2}) || !slices.Equal(b, []int{1, 2, 3}) {
		t.Errorf("heaps %d and %d", a, b)
	}
	if s := lastSummary(t, end.stdout); s.MismatchedHeaps != 0 || s.Fates[ledger.OtherEndpoint] != 0 {
		t.Errorf("summary %+v", s)
	}
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket stays")
	}
	program("control", socket, "list").check(t, exitError, "no such file or directory", "speadx recv --control")
}

// TestControlOtherUser: another user gets no answer, even if the file lets it in.
func TestControlOtherUser(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "speadx")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "control")
	recv, _ := loopback(t, "--control", socket)
	ask := func() result {
		return start(t, options{as: user()}, "control", socket, "list").wait(t)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	ask().check(t, exitError, "permission denied")
	if err := os.Chmod(socket, 0o666); err != nil {
		t.Fatal(err)
	}
	ask().check(t, exitError, "user 65534 may not connect")
	recv.signal(t, os.Interrupt)
	recv.wait(t).check(t, 0)
}

func TestControlUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "a path and what to do are required"},
		{[]string{"x"}, "a path and what to do are required"},
		{[]string{"x", "lits"}, "(did you mean list?)"},
		{[]string{"x", "add"}, "add takes 1 sources, not 0"},
		{[]string{"x", "list", "7148"}, "list takes 0 sources, not 1"},
	} {
		program(append([]string{"control"}, tt.args...)...).check(t, exitUsage, tt.want)
	}
	file := configFile(t, "")
	program("recv", "-q", "--control", file, capturePath("plain-64-48")).check(t, exitError, "there is a file that is not a socket")
}

// TestReload: SIGHUP reads the file again. Sources come and go, and a setting that needs a
// restart is named. Of a source that stays nothing is lost.
func TestReload(t *testing.T) {
	n := wire(t)
	path := configFile(t, "ring-heaps: 4\nsources: ["+sourceA+"]\n")
	recv, socket := controlled(t, n, "--config", path)
	reload := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		recv.signal(t, syscall.SIGHUP)
	}
	flowing := start(t, options{at: &n.A}, "send", "--verify", "-H", "64KiB", "--packet", "8972", "--rate", "0.1", sourceA)
	reload("ring-heaps: 9\nsources: [" + sourceA + ", " + sourceB + "]\n")
	recv.await(t, &recv.stderr, "(added 1) (removed 0)")
	recv.await(t, &recv.stderr, "(setting ring-heaps) (value 9) (origin "+path+":1)")
	sendTo(t, n, sourceB, "3")
	recv.await(t, &recv.stdout, `"stream":"`+sourceB+`","cnt":3,`)
	reload("ring-heaps: 4\nsources: [" + sourceA + "]\n")
	recv.await(t, &recv.stderr, "(added 0) (removed 1)")
	sendTo(t, n, sourceB, "9")
	// What is wrong with the file changes nothing.
	reload("ring-heaps: 4\nsorces: []\n")
	recv.await(t, &recv.stderr, path+":2: sorces: there is no such key (did you mean sources?)")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	recv.signal(t, syscall.SIGHUP)
	recv.await(t, &recv.stderr, path+": no such file")
	if list := listed(t, socket); len(list) != 2 || len(list[0].Endpoints) != 1 || len(list[1].Endpoints) != 0 {
		t.Errorf("list %+v", list)
	}
	reload("sources: [" + sourceA + ", tcp://:7148]\n")
	recv.await(t, &recv.stderr, "(code add_refused)")
	flowing.signal(t, os.Interrupt)
	sent := flowing.wait(t)
	sent.check(t, 0)
	end := recv.wait(t) // by the stop heap of A; B has no endpoint, and does not hold it up
	end.check(t, 0)
	a, b := cnts(t, end.stdout, sourceA), cnts(t, end.stdout, sourceB)
	for i, cnt := range a {
		if cnt != i+1 {
			t.Fatalf("of A came %d after %d heaps", cnt, i)
		}
	}
	if len(a) < 3 || !slices.Equal(b, []int{1, 2, 3}) {
		t.Errorf("%d heaps of A, %d of B", len(a), b)
	}
	if s := lastSummary(t, end.stdout); s.MismatchedHeaps != 0 || s.IncompleteHeaps > 1 {
		t.Errorf("summary %+v", s)
	}
}

// TestReloadJoint: with --joint all sources are endpoints of one stream, and none is spare.
func TestReloadJoint(t *testing.T) {
	n := wire(t)
	path := configFile(t, "joint: true\nsources: ["+sourceA+"]\n")
	recv := start(t, options{at: &n.B}, "recv", "-i", n.B.Name, "--mode", "udp", "-H", "64KiB", "--format", "json", "--config", path)
	recv.receiving(t)
	if err := os.WriteFile(path, []byte("joint: true\nsources: ["+sourceB+"]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	recv.signal(t, syscall.SIGHUP)
	recv.await(t, &recv.stderr, "(added 1) (removed 1)")
	sendTo(t, n, sourceB, "2")
	recv.await(t, &recv.stdout, `"stream":"`+sourceA+`","cnt":2,`)
	recv.signal(t, os.Interrupt)
	recv.wait(t).check(t, 0)
}

// TestHangup: without a file SIGHUP ends reception, with the totals.
func TestHangup(t *testing.T) {
	// Programs that this one starts ignore the signal if this one does, as under nohup. They do
	// not if it is caught.
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGHUP)
	defer signal.Stop(caught)
	recv, to := loopback(t, "--format", "json")
	program(append(few, "--no-stop", to)...).check(t, 0)
	recv.await(t, &recv.stdout, `"cnt":20,`)
	recv.signal(t, syscall.SIGHUP)
	r := recv.wait(t)
	r.check(t, 0)
	if s := lastSummary(t, r.stdout); s.CompleteHeaps != 20 {
		t.Errorf("summary %+v", s)
	}
}

// TestHangupIgnored: a process that nohup started goes on.
func TestHangupIgnored(t *testing.T) {
	to := "127.0.0.1:" + freePort(t)
	recv := start(t, options{through: []string{"/bin/sh", "-c", `trap "" HUP; exec "$0" "$@"`}}, "recv", "--mode", "udp", "--format", "json", to)
	recv.receiving(t)
	recv.signal(t, syscall.SIGHUP)
	program(append(few, "--no-stop", to)...).check(t, 0)
	recv.await(t, &recv.stdout, `"cnt":20,`)
	recv.signal(t, os.Interrupt)
	recv.wait(t).check(t, 0)
}
