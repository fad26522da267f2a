// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/speadx/speadx/internal/doctor"
	"github.com/speadx/speadx/internal/vnet"
)

func TestDoctorUsage(t *testing.T) {
	for args, want := range map[string]string{
		"--format xml":                "--format",
		"--duration 0s":               "--duration 0s",
		"--duration 48h":              "--duration 48h",
		"-i eth9 doctor_test.go":      "is a file",
		"-i eth9 tcp://10.0.0.1:7148": "is of TCP",
		"7148":                        "--interface",
		"-i eth9 239.1.2.3:0":         "is not a port",
		"-i eth9 nowhere.pcap":        "no port number",
		"--bogus":                     "--bogus",
		"--interface=":                "--interface is empty",
	} {
		program(append([]string{"doctor"}, strings.Fields(args)...)...).check(t, exitUsage, want)
	}
	program("doctor", "-i", "none9").check(t, exitError, `no interface "none9"`)
}

// doctored runs doctor with JSON and reads it.
func doctored(t *testing.T, r result) *doctor.Report {
	t.Helper()
	var report doctor.Report
	if err := json.Unmarshal([]byte(r.stdout), &report); err != nil {
		t.Fatalf("%v\n%s%s", err, r.stdout, r.stderr)
	}
	if n := report.Counts; n.OK+n.Warn+n.Fail+n.Unknown != len(report.Findings) {
		t.Errorf("%d findings, counts %+v", len(report.Findings), n)
	}
	want := 0
	if report.Counts.Fail > 0 {
		want = exitError
	}
	if r.status != want {
		t.Errorf("exit status %d with %+v", r.status, report.Counts)
	}
	return &report
}

// On a wire with nothing wrong no check fails, and the command that doctor prints
// receives what it has heard.
func TestDoctorCommandReceives(t *testing.T) {
	n := wire(t)
	sender := start(t, options{at: &n.A}, "send", "-i", n.A.Name, "-H", "40000", "--rate", "0.02", "239.1.2.3:7148")
	awaitPackets(t, &n.B)
	report := doctored(t, within(t, &n.B, "doctor", "--format", "json", "--duration", "500ms", "239.1.2.3:7148"))
	for _, f := range report.Findings {
		if f.Status == doctor.Fail && f.Interface != "" { // the machine is not the test's
			t.Fatalf("%+v", f)
		}
	}
	got := report.Sources[0]
	if got.Packets == 0 || got.SPEAD != got.Packets || got.HeapSize < 40000 || got.Interface != n.B.Name {
		t.Errorf("%+v", got)
	}
	words := strings.Fields(report.Command)
	if len(words) < 2 || words[0] != "speadx" {
		t.Fatalf("command %q", report.Command)
	}
	r := within(t, &n.B, append(words[1:], "--heaps", "2", "--format", "json")...)
	r.check(t, 0)
	if strings.Count(r.stdout, "\n") < 2 {
		t.Errorf("%q received\n%s%s", report.Command, r.stdout, r.stderr)
	}
	sender.signal(t, syscall.SIGINT)
	sender.wait(t)
}

// awaitPackets waits until packets arrive at an interface.
func awaitPackets(t *testing.T, end *vnet.Iface) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		packets := uint64(0)
		inside(t, end, func() error {
			l, err := netlink.LinkByIndex(end.Index)
			if err == nil {
				packets = l.Attrs().Statistics.RxPackets
			}
			return err
		})
		if packets > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no packet arrives")
		}
	}
}

// A check that fails is in the exit status, and is printed with its remedy.
func TestDoctorFails(t *testing.T) {
	n := wire(t)
	r := within(t, &n.B, "doctor", "-i", n.B.Name, "--duration", "50ms", "239.1.2.3:7148")
	r.check(t, exitError, "a check failed", "1 fail")
	for _, want := range []string{"fail    traffic", "cost: ", "fix:  tcpdump -ni " + n.B.Name} {
		if !strings.Contains(r.stdout, want) {
			t.Errorf("no %q in\n%s", want, r.stdout)
		}
	}
}

// A user without privileges gets a whole report, which says what could not be seen. The
// program of a receiver is there, whose name only root can read.
func TestDoctorWithoutPrivileges(t *testing.T) {
	n := wire(t)
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	recv := start(t, options{at: &n.B}, "recv", "-i", n.B.Name, "--mode", "native", "239.1.2.3:7148")
	recv.receiving(t)
	r := start(t, options{at: &n.B, as: nobody}, "doctor", "--format", "json", "--duration", "50ms", "-i", n.B.Name, "239.1.2.3:7148").wait(t)
	report := doctored(t, r)
	if got := report.Codes(doctor.Unknown); !slices.Equal(got, []string{"other_program", "queues_occupied", "seccomp", "traffic"}) {
		t.Errorf("unknown: %v", got)
	}
	for _, f := range report.Findings {
		switch {
		case f.Status == doctor.Unknown && !strings.Contains(f.Read, "could not be read: "):
			t.Errorf("no reason: %+v", f)
		case f.Code == "traffic" && !strings.Contains(f.Read, "CAP_NET_RAW"):
			t.Errorf("%+v", f)
		}
	}
	for _, code := range []string{"capabilities", "xdp_socket"} {
		if !slices.Contains(report.Codes(doctor.Fail), code) {
			t.Errorf("%s did not fail: %+v", code, report.Find(code))
		}
	}
	recv.signal(t, syscall.SIGINT)
	recv.wait(t)
}

// doctor changes nothing on the interface, whatever it finds.
func TestDoctorChangesNothing(t *testing.T) {
	n := wire(t)
	look := func() string {
		text := linkInside(t, &n.B)
		for _, name := range []string{"igmp", "igmp6", "packet", "route"} {
			text += "\n" + readInside(t, &n.B, "/proc/thread-self/net/"+name)
		}
		return text
	}
	before := look()
	within(t, &n.B, "doctor", "-i", n.B.Name, "--duration", "50ms", "239.1.2.3:7148", "[ff15::1]:7148")
	if after := look(); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

func readInside(t *testing.T, end *vnet.Iface, path string) (text string) {
	t.Helper()
	inside(t, end, func() error {
		b, err := os.ReadFile(path)
		text = string(b)
		return err
	})
	return text
}

// linkInside is what the kernel says of the interface, its counters left out.
func linkInside(t *testing.T, end *vnet.Iface) (text string) {
	t.Helper()
	inside(t, end, func() error {
		l, err := netlink.LinkByIndex(end.Index)
		if err != nil {
			return err
		}
		a := *l.Attrs()
		xdp := *a.Xdp
		a.Statistics, a.Xdp = nil, nil
		text = fmt.Sprintf("%+v %+v", a, xdp)
		return nil
	})
	return text
}
