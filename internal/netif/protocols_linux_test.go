// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"net"
	"testing"

	"github.com/speadx/speadx/internal/testnet"
)

func TestParseProtocols(t *testing.T) {
	for text, want := range map[string]map[string]uint64{
		"Tcp: MaxConn InErrs\nTcp: -1 7\nUdp: NoPorts InErrors\nUdp: 3 4\n": {"TcpInErrs": 7, "UdpNoPorts": 3, "UdpInErrors": 4},
		"Udp6NoPorts                     \t5\nIp6InReceives \t 6\n":         {"Udp6NoPorts": 5, "Ip6InReceives": 6},
		"": {},
	} {
		got := map[string]uint64{}
		if err := parseProtocols([]byte(text), got); err != nil || len(got) != len(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		for name, n := range want {
			if got[name] != n {
				t.Errorf("%q: %s is %d, want %d", text, name, got[name], n)
			}
		}
	}
	for _, text := range []string{"Udp: NoPorts\n", "Udp: NoPorts\nTcp: 1\n", "Udp: A B\nUdp: 1\n", "Udp6NoPorts\n", "Udp6NoPorts x\n"} {
		if err := parseProtocols([]byte(text), map[string]uint64{}); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func FuzzParseProtocols(f *testing.F) {
	f.Add([]byte("Udp: NoPorts InErrors\nUdp: 3 4\nUdp6NoPorts 5\n"))
	f.Fuzz(func(_ *testing.T, text []byte) { _ = parseProtocols(text, map[string]uint64{}) })
}

// TestProtocolCounters: a datagram to a port without a socket is counted, in the namespace in
// which the counters were opened, whoever reads them.
func TestProtocolCounters(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	c, err := OpenProtocols()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	before, err := c.Read()
	if err != nil {
		t.Fatal(err)
	}
	n.Do(func() {
		conn, err := net.Dial("udp4", net.JoinHostPort(n.B.Addr4.String(), "7148"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	})
	done := make(chan Protocols)
	go func() {
		now, err := c.Read()
		if err != nil {
			t.Error(err)
		}
		done <- now.Sub(before)
	}()
	if d := <-done; d.NoPort != 1 || d.IPReceived == 0 {
		t.Errorf("%+v", d)
	}
	c.Close()
	if _, err := c.Read(); err != nil {
		t.Error(err)
	}
}
