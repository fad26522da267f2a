// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"io"
	"net/netip"
	"os"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"
)

// Real streams, as spead2 sent them.
func TestCaptures(t *testing.T) {
	for _, tt := range []struct {
		file     string
		endpoint string
	}{
		{"plain-64-48.pcap", "239.1.2.3:7148"},
		{"jumbo.pcap", "239.1.2.3:7148"},
		{"vlan.pcap", "239.1.2.3:7148"},
		{"ipv6.pcap", "[ff15::1:2:3]:7148"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			s := load(t, SteerConfig{Queues: 1, Frags: true, AllVLANs: true})
			frames := readPcap(t, "../testdata/captures/"+tt.file)
			for _, frame := range frames {
				steerOne(t, s, frame, other, false)
			}
			addEndpoints(t, s, netip.MustParseAddrPort(tt.endpoint))
			for _, frame := range frames {
				steerOne(t, s, frame, matched, false)
			}
			must(t, s.SetSocket(0, xdpSocket(t)))
			for _, frame := range frames {
				steerOne(t, s, frame, matched, true)
			}
		})
	}
}

func readPcap(t *testing.T, path string) (frames [][]byte) {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	r, err := pcapgo.NewReader(file)
	must(t, err)
	for {
		frame, _, err := r.ReadPacketData()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		frames = append(frames, frame)
	}
	if len(frames) == 0 {
		t.Fatalf("%s holds no frames", path)
	}
	return frames
}
