// SPDX-License-Identifier: Apache-2.0

package send

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// TestFrame compares frames with those of gopacket.
func TestFrame(t *testing.T) {
	srcMAC, dstMAC := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	rng := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct{ src, dst string }{
		{"10.77.0.1:50000", "10.77.0.2:7148"},
		{"10.77.0.1:50000", "239.1.2.3:7148"},
		{"[fd77::1]:50000", "[ff15::1:2:3]:7148"},
	} {
		src, dst := netip.MustParseAddrPort(tt.src), netip.MustParseAddrPort(tt.dst)
		h := newFrameHeader(srcMAC, dstMAC, src, dst, 7)
		for _, size := range []int{0, 1, 2, 57, 1472, 1473, 8968, 65480} {
			payload := make([]byte, size)
			for i := range payload {
				payload[i] = byte(rng.Uint32())
			}
			got := append(make([]byte, len(h.bytes)), payload...)
			h.put(got, size)
			sum := addSum(0, got[len(h.bytes)-udpHeader:])
			h.putChecksum(got, sum, size)

			eth := &layers.Ethernet{SrcMAC: srcMAC, DstMAC: dstMAC, EthernetType: layers.EthernetTypeIPv4}
			udp := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
			var ip gopacket.SerializableLayer
			if dst.Addr().Is4() {
				v4 := &layers.IPv4{Version: 4, IHL: 5, Flags: layers.IPv4DontFragment, TTL: 7, Protocol: layers.IPProtocolUDP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
				ip = v4
				_ = udp.SetNetworkLayerForChecksum(v4)
			} else {
				eth.EthernetType = layers.EthernetTypeIPv6
				v6 := &layers.IPv6{Version: 6, NextHeader: layers.IPProtocolUDP, HopLimit: 7, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
				ip = v6
				_ = udp.SetNetworkLayerForChecksum(v6)
			}
			buf := gopacket.NewSerializeBuffer()
			if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, udp, gopacket.Payload(payload)); err != nil {
				t.Fatal(err)
			}
			want := buf.Bytes()
			// gopacket pads a short frame for the wire, which a driver does here.
			if want = want[:min(len(want), len(got))]; !bytes.Equal(got, want) {
				t.Errorf("%s, %d bytes of payload: headers\n%x, want\n%x", tt.dst, size, got[:len(h.bytes)], want[:len(h.bytes)])
			}
		}
	}
}

// TestChecksumNeverZero: a UDP checksum that comes out as 0 is sent as 0xffff.
func TestChecksumNeverZero(t *testing.T) {
	mac := make(net.HardwareAddr, 6)
	src, dst := netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:2")
	h := newFrameHeader(mac, mac, src, dst, 1)
	for v := range 0x10000 {
		frame := make([]byte, len(h.bytes)+2)
		binary.BigEndian.PutUint16(frame[len(h.bytes):], uint16(v))
		h.put(frame, 2)
		h.putChecksum(frame, addSum(0, frame[len(h.bytes)-udpHeader:]), 2)
		if c := binary.BigEndian.Uint16(frame[len(h.bytes)-2:]); c == 0 {
			t.Fatalf("payload %#04x has checksum 0", v)
		}
	}
}

// TestAddSum compares with the sum of single words.
func TestAddSum(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for n := range 200 {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32()) | 0xf0 // many carries
		}
		var want uint64
		for i, v := range b {
			want += uint64(v) << (8 * (1 - i%2))
		}
		if got := foldSum(addSum(0, b)); got != foldSum(want) {
			t.Errorf("%d bytes: %#04x, want %#04x", n, got, foldSum(want))
		}
		if even := n / 2 &^ 1; foldSum(addSum(addSum(0, b[:even]), b[even:])) != foldSum(want) {
			t.Errorf("%d bytes in two parts differ from one", n)
		}
	}
}

func TestMulticastMAC(t *testing.T) {
	for group, want := range map[string]string{
		"239.129.2.3": "01:00:5e:01:02:03",
		"ff15::1:2:3": "33:33:00:02:00:03",
	} {
		if got := multicastMAC(netip.MustParseAddr(group)).String(); got != want {
			t.Errorf("%s has MAC %s, want %s", group, got, want)
		}
	}
}
