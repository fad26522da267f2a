// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx/spead"
)

// execSend runs the command line send args.
func execSend(ctx context.Context, args ...string) (stdout, stderr string, err error) {
	var out, errOut bytes.Buffer
	cmd := newSendCommand()
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SetArgs(args)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.ExecuteContext(ctx)
	return out.String(), errOut.String(), err
}

// sink counts the packets that arrive at a local port until a stop heap does.
func sink(t *testing.T) (address string, done <-chan int) {
	t.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadBuffer(4 << 20)
	packets := make(chan int, 1)
	go func() {
		buf := make([]byte, 65536)
		for n := 1; ; n++ {
			if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				return
			}
			size, err := conn.Read(buf)
			var p spead.Packet
			if err != nil || p.Decode(buf[:size], size) == spead.OK && p.Control == spead.CtrlStop {
				packets <- n
				return
			}
		}
	}()
	return conn.LocalAddr().String(), packets
}

func TestSendJSON(t *testing.T) {
	address, done := sink(t)
	stdout, stderr, err := execSend(context.Background(), "--format", "json", "-q", "-H", "8KiB", "--heaps", "15",
		"--drop", "0.1", "--duplicate", "0.2", "--reorder=0.2", "--seed", "7", "--descriptors=false", "--verify", address)
	if err != nil || stderr != "" {
		t.Fatalf("error %v, stderr %q", err, stderr)
	}
	var s sendSummary
	dec := json.NewDecoder(strings.NewReader(stdout))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&s); err != nil || strings.Count(stdout, "\n") != 1 {
		t.Fatalf("summary %q: %v", stdout, err)
	}
	// 8192 bytes are 6 packets of at most 1432.
	if s.Type != "summary" || s.Heaps != 15 || s.StopHeaps != 1 || s.Packets != 15*6+1-s.Dropped+s.Duplicated ||
		s.Dropped == 0 || s.Duplicated == 0 || s.Reordered == 0 || s.DamagedHeaps == 0 || s.Seconds <= 0 || s.Gbps <= 0 {
		t.Errorf("summary %+v", s)
	}
	if n := <-done; n != int(s.Packets) {
		t.Errorf("%d packets arrived of %d", n, s.Packets)
	}
}

func TestSendText(t *testing.T) {
	address, done := sink(t)
	stdout, stderr, err := execSend(context.Background(), "-H", "1001", "--items=3", "--heaps=2", "--rate", "1", "--drop=0.5", address)
	if err != nil {
		t.Fatal(err)
	}
	<-done
	if !regexp.MustCompile(`^Sent \d+ bytes in \S+ seconds, \S+ Gb/s\n$`).MatchString(stdout) {
		t.Errorf("stdout is %q", stdout)
	}
	for _, want := range []string{
		"heap size 1001 is not a multiple of 3 items of whole elements: sending 996\n",
		"sending to " + address + ": UDP sockets",
		"SPEAD-64-48, packets of 1472 bytes, heaps of 996 bytes in 3 items, 1 Gb/s\n",
		" packets, 2 heaps, 1 stop heaps\n",
		"injected faults: ",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr %q lacks %q", stderr, want)
		}
	}
}

// TestSendUntilCancelled: without a number of heaps it goes on until it is
// told to end, and ends with a stop heap and without an error.
func TestSendUntilCancelled(t *testing.T) {
	address, done := sink(t)
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	stdout, _, err := execSend(ctx, "-q", "-H", "100Ki", "--rate", "0.5", address)
	if err != nil || !strings.HasPrefix(stdout, "Sent ") {
		t.Errorf("stdout %q, error %v", stdout, err)
	}
	if n := <-done; n < 2 {
		t.Errorf("%d packets arrived", n)
	}
}

func TestSendUsage(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
	}{
		{"", "at least one destination"},
		{"localhost", `"localhost" is not HOST:PORT`},
		{":7148", `":7148" is not HOST:PORT`},
		{"127.0.0.1:0", `port "0"`},
		{"127.0.0.1:http", `port "http"`},
		{"127.0.0.1:7148 --addr-bits 44", "--addr-bits 44"},
		{"127.0.0.1:7148 --format xml", `--format "xml"`},
		{"127.0.0.1:7148 --engine dpdk", `engine "dpdk"`},
		{"127.0.0.1:7148 --bind here", "--bind"},
		{"127.0.0.1:7148 --heaps -2", "--heaps -2"},
		{"127.0.0.1:7148 --drop 2", "drop fraction 2"},
		{"127.0.0.1:7148 --packet 55", "packet size 55"},
		{"127.0.0.1:7148 --rate -1", "--rate -1 is not a rate"},
		{"127.0.0.1:7148 --rate nan", "--rate NaN"},
		{"127.0.0.1:7148 --ttl 300", "TTL 300"},
		{"127.0.0.1:7148 --items 0x10000000", "items"},
		{"tcp://127.0.0.1", `destination "tcp://127.0.0.1" is not HOST:PORT`},
		{"tcp://127.0.0.1:7148 127.0.0.1:7149", `destinations "tcp://127.0.0.1:7148" and "127.0.0.1:7149" are not both of TCP (tcp:// goes before all of them, or none)`},
		{"127.0.0.1:7148 tcp://127.0.0.1:7149", `are not both of TCP`},
		{"tcp://127.0.0.1:7148 --engine afxdp", `--engine afxdp sends UDP, and destination "tcp://127.0.0.1:7148" is of TCP`},
		{"tcp://127.0.0.1:7148 --engine udp", `--engine udp sends UDP`},
		{"127.0.0.1:7148 --engine tcp", `engine "tcp" is neither udp, afxdp nor blast`},
		{"127.0.0.1:7148 --engine blast --verify", "engine blast sends the same payload in each packet, which cannot be verified"},
		{"127.0.0.1:7148 --engine blast --dtype <f4", "not values of type <f4"},
		{"127.0.0.1:7148 --engine blast --seed 3", "which seed 3 does not change"},
		{"127.0.0.1:7148 --engine blast --drop 0.7", "drop fraction 0.7 is near no such 1/n (the nearest are 0.5 and 1)"},
		{"127.0.0.1:7148 --in-flight 3", "engine udp sends heaps one after the other, not 3 at a time"},
		{"tcp://239.1.2.3:7148", "destination 239.1.2.3:7148 is a multicast group"},
	} {
		_, _, err := execSend(context.Background(), strings.Fields(tt.args)...)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("send %s: error %v, want one about %q", tt.args, err, tt.want)
		}
		if usage := (usageError{}); !errors.As(err, &usage) {
			t.Errorf("send %s: %v is no usage error", tt.args, err)
		}
	}
	_, _, err := execSend(context.Background(), "127.0.0.1:7148", "--interface", "nosuch0")
	if usage := (usageError{}); err == nil || errors.As(err, &usage) {
		t.Errorf("an interface that is not there is the usage error %v", err)
	}
}

func TestSendHelp(t *testing.T) {
	stdout, _, err := execSend(context.Background(), "--help")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"-H, --heap-size size", "(default 4MiB)", "--addr-bits", "damaged_heaps"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("help lacks %q:\n%s", want, stdout)
		}
	}
	// Every key of the summary is documented.
	b, err := json.Marshal(sendSummary{})
	if err != nil {
		t.Fatal(err)
	}
	var keys map[string]any
	if err := json.Unmarshal(b, &keys); err != nil {
		t.Fatal(err)
	}
	for key := range keys {
		if !regexp.MustCompile(fmt.Sprintf(`\b%s\b`, key)).MatchString(sendLong) {
			t.Errorf("help does not explain %q", key)
		}
	}
}
