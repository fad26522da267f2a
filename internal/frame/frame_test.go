// SPDX-License-Identifier: Apache-2.0

package frame

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// Parts of frames, put together by the tests.
var (
	macs    = "\x01\x00\x5e\x66\xfe\x01\x1c\x1b\x0d\xe0\xd0\xfd"
	payload = "Hello world\n"

	src4 = netip.MustParseAddrPort("10.8.2.179:34653")
	dst4 = netip.MustParseAddrPort("239.102.254.1:8888")
	src6 = netip.MustParseAddrPort("[fd77::1]:34653")
	dst6 = netip.MustParseAddrPort("[ff15::1:2:3]:7148")
)

func be16(v int) string { return string(binary.BigEndian.AppendUint16(nil, uint16(v))) }

// udp is a UDP header and its payload; length < 0 stands for the right one.
func udp(src, dst netip.AddrPort, length int, data string) string {
	if length < 0 {
		length = 8 + len(data)
	}
	return be16(int(src.Port())) + be16(int(dst.Port())) + be16(length) + "\x00\x00" + data
}

// ip4 is an IPv4 packet around body.
func ip4(options string, total, frag int, proto byte, body string) string {
	headerLen := 20 + len(options)
	if total < 0 {
		total = headerLen + len(body)
	}
	return string([]byte{0x40 | byte(headerLen/4), 0}) + be16(total) + "\x12\x34" + be16(frag) +
		string([]byte{1, proto}) + "\x00\x00" + addr(src4) + addr(dst4) + options + body
}

// ip6 is an IPv6 packet around body.
func ip6(next byte, total int, body string) string {
	if total < 0 {
		total = len(body)
	}
	return "\x60\x00\x00\x00" + be16(total) + string([]byte{next, 1}) + addr(src6) + addr(dst6) + body
}

func addr(a netip.AddrPort) string { return string(a.Addr().AsSlice()) }

var (
	udp4 = udp(src4, dst4, -1, payload)
	udp6 = udp(src6, dst6, -1, payload)

	plain4 = macs + "\x08\x00" + ip4("", -1, 0x4000, 17, udp4)
	plain6 = macs + "\x86\xdd" + ip6(17, -1, udp6)
	vlan4  = macs + "\x81\x00\x00\x2a\x08\x00" + ip4("", -1, 0, 17, udp4)
	qinq6  = macs + "\x88\xa8\x00\x07\x81\x00\x00\x2a\x86\xdd" + ip6(17, -1, udp6)
	option = macs + "\x08\x00" + ip4("\x94\x04\x00\x00", -1, 0, 17, udp4)
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name, frame string
		more        int // bytes of the frame in later segments
		want        Verdict
		d           Datagram // of OK and of a first fragment
	}{
		{name: "IPv4", frame: plain4, d: Datagram{src4, dst4, 42, 12, -1}},
		{name: "IPv6", frame: plain6, d: Datagram{src6, dst6, 62, 12, -1}},
		{name: "one VLAN tag", frame: vlan4, d: Datagram{src4, dst4, 46, 12, 42}},
		{name: "two VLAN tags", frame: qinq6, d: Datagram{src6, dst6, 70, 12, 42}},
		{name: "IPv4 options", frame: option, d: Datagram{src4, dst4, 46, 12, -1}},
		{name: "Ethernet padding", frame: plain4 + "\xde\xad\xbe\xef\xde\xad", d: Datagram{src4, dst4, 42, 12, -1}},
		{name: "no payload", frame: macs + "\x08\x00" + ip4("", -1, 0, 17, udp(src4, dst4, -1, "")), d: Datagram{src4, dst4, 42, 0, -1}},
		{name: "UDP shorter than IP", frame: macs + "\x08\x00" + ip4("", -1, 0, 17, udp(src4, dst4, 8+5, payload)), d: Datagram{src4, dst4, 42, 5, -1}},
		{name: "payload in later segments", frame: macs + "\x08\x00" + ip4("", 20+8+9000, 0, 17, udp(src4, dst4, 9008, payload)), more: 9000 - 12, d: Datagram{src4, dst4, 42, 9000, -1}},
		{name: "as long as it gets", frame: macs + "\x08\x00" + ip4("", 65535, 0, 17, udp(src4, dst4, 65515, payload)), more: 65535, d: Datagram{src4, dst4, 42, 65507, -1}},

		{name: "ARP", frame: macs + "\x08\x06" + plain4, want: NotIPUDP},
		{name: "LLC", frame: macs + "\x00\x26" + plain4, want: NotIPUDP},
		{name: "three VLAN tags", frame: macs + "\x81\x00\x00\x01\x81\x00\x00\x02" + vlan4[12:], want: NotIPUDP},
		{name: "TCP", frame: macs + "\x08\x00" + ip4("", -1, 0, 6, udp4), want: NotIPUDP},
		{name: "IGMP", frame: macs + "\x08\x00" + ip4("\x94\x04\x00\x00", -1, 0, 2, "\x22\x00\xf9\x02\x00\x00\x00\x00"), want: NotIPUDP},
		{name: "ICMPv6", frame: macs + "\x86\xdd" + ip6(58, -1, udp6), want: NotIPUDP},
		{name: "IPv6 hop-by-hop options", frame: macs + "\x86\xdd" + ip6(0, -1, "\x11\x00\x05\x02\x00\x00\x00\x00"+udp6), want: NotIPUDP},
		{name: "IPv6 behind the type of IPv4", frame: macs + "\x08\x00" + plain6[14:], want: NotIPUDP},
		{name: "IPv4 behind the type of IPv6", frame: macs + "\x86\xdd" + plain4[14:], want: NotIPUDP},
		{name: "IPv4 header of 16 bytes", frame: macs + "\x08\x00\x44" + plain4[15:], want: NotIPUDP},

		{name: "first fragment", frame: macs + "\x08\x00" + ip4("", -1, 0x2000, 17, udp4), want: Fragment, d: Datagram{Src: src4, Dst: dst4, VLAN: -1}},
		{name: "middle fragment", frame: macs + "\x08\x00" + ip4("", -1, 0x2462, 17, udp4), want: Fragment, d: Datagram{VLAN: -1}},
		{name: "last fragment", frame: macs + "\x08\x00" + ip4("", -1, 0x08c4, 17, udp4), want: Fragment, d: Datagram{VLAN: -1}},
		{name: "fragment of TCP", frame: macs + "\x08\x00" + ip4("", -1, 0x2000, 6, udp4), want: NotIPUDP},
		{name: "first IPv6 fragment", frame: macs + "\x86\xdd" + ip6(44, -1, "\x11\x00\x00\x01\x00\x00\x00\x09"+udp6), want: Fragment, d: Datagram{Src: src6, Dst: dst6, VLAN: -1}},
		{name: "later IPv6 fragment", frame: macs + "\x86\xdd" + ip6(44, -1, "\x11\x00\x04\xd1\x00\x00\x00\x09"+udp6), want: Fragment, d: Datagram{VLAN: -1}},
		{name: "IPv6 fragment of TCP", frame: macs + "\x86\xdd" + ip6(44, -1, "\x06\x00\x00\x01\x00\x00\x00\x09"+udp6), want: NotIPUDP},

		{name: "IP longer than the frame", frame: macs + "\x08\x00" + ip4("", 20+8+12+1, 0, 17, udp4), want: Truncated},
		{name: "UDP longer than IP", frame: macs + "\x08\x00" + ip4("", -1, 0, 17, udp(src4, dst4, 8+12+1, payload)), want: Truncated},
		{name: "UDP longer than IP, frame padded", frame: macs + "\x08\x00" + ip4("", -1, 0, 17, udp(src4, dst4, 8+12+1, payload)) + "\x00\x00", want: Truncated},
		{name: "UDP length 7", frame: macs + "\x08\x00" + ip4("", -1, 0, 17, udp(src4, dst4, 7, payload)), want: Truncated},
		{name: "UDP length 0", frame: macs + "\x86\xdd" + ip6(17, -1, udp(src6, dst6, 0, payload)), want: Truncated},
		{name: "IP shorter than its own header", frame: macs + "\x08\x00" + ip4("", 19, 0, 17, udp4), want: Truncated},
		{name: "IP shorter than the UDP header", frame: macs + "\x08\x00" + ip4("", 27, 0, 17, udp4), want: Truncated},
		{name: "IPv6 longer than the frame", frame: macs + "\x86\xdd" + ip6(17, 21, udp6), want: Truncated},
		{name: "UDP header in the second segment", frame: plain4[:38], more: 16, want: Truncated},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var d Datagram
			got := Parse([]byte(tt.frame), len(tt.frame)+tt.more, &d)
			if got != tt.want {
				t.Fatalf("Parse = %v, want %v", got, tt.want)
			}
			if (got == OK || got == Fragment) && d != tt.d {
				t.Errorf("Parse gives %+v, want %+v", d, tt.d)
			}
		})
	}
}

// A frame cut anywhere is Truncated, never anything else: no cut makes another
// datagram of it. Where only the first segment is cut, the same holds up to the
// end of the headers.
func TestParseCut(t *testing.T) {
	for _, tt := range []struct {
		name, frame string
		headers     int
	}{
		{"IPv4", plain4, 42}, {"IPv6", plain6, 62}, {"one VLAN tag", vlan4, 46}, {"two VLAN tags", qinq6, 70}, {"options", option, 46},
	} {
		for n := range len(tt.frame) {
			var d Datagram
			// The copy makes a read past n visible as a panic.
			cut := bytes.Clone([]byte(tt.frame[:n]))
			if got := Parse(cut[:n:n], n, &d); got != Truncated {
				t.Errorf("%s cut to %d of %d bytes: %v, want %v", tt.name, n, len(tt.frame), got, Truncated)
			}
			want := OK
			if n < tt.headers {
				want = Truncated
			}
			if got := Parse(cut[:n:n], len(tt.frame), &d); got != want {
				t.Errorf("%s with %d of %d bytes in the first segment: %v, want %v", tt.name, n, len(tt.frame), got, want)
			}
		}
	}
}

// Frames of real streams, as spead2 sent them.
func TestParseCaptured(t *testing.T) {
	for _, tt := range []struct {
		file        string
		dst         string
		offset, len int
	}{
		{"ipv4.bin", "239.1.2.3:7148", 42, 57},
		{"vlan.bin", "239.1.2.3:7148", 46, 57},
		{"ipv6.bin", "[ff15::1:2:3]:7148", 62, 57},
		{"jumbo.bin", "239.1.2.3:7148", 42, 8968},
	} {
		b, err := os.ReadFile(filepath.Join("testdata", tt.file))
		if err != nil {
			t.Fatal(err)
		}
		var d Datagram
		if got := Parse(b, len(b), &d); got != OK {
			t.Errorf("%s: %v, want %v", tt.file, got, OK)
			continue
		}
		if d.Dst.String() != tt.dst || d.Offset != tt.offset || d.Len != tt.len {
			t.Errorf("%s: %+v, want %d bytes at %d to %s", tt.file, d, tt.len, tt.offset, tt.dst)
		}
		if !bytes.HasPrefix(b[d.Offset:], []byte{0x53, 0x04}) {
			t.Errorf("%s: payload begins with %x, want 5304", tt.file, b[d.Offset:d.Offset+8])
		}
	}
}

func TestParseNetwork(t *testing.T) {
	// The Linux cooked header of 16 bytes ends in the EtherType.
	cooked := "\x00\x00\x00\x01\x00\x06\x1c\x1b\x0d\xe0\xd0\xfd\x00\x00\x08\x00" + plain4[14:]
	var d Datagram
	if got := ParseNetwork(TypeIPv4, []byte(cooked), 16, len(cooked), &d); got != OK {
		t.Fatalf("ParseNetwork = %v, want %v", got, OK)
	}
	if want := (Datagram{src4, dst4, 44, 12, -1}); d != want {
		t.Errorf("ParseNetwork gives %+v, want %+v", d, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{plain4, plain6, vlan4, qinq6, option, macs + "\x08\x00" + ip4("", -1, 0x2000, 17, udp4)} {
		f.Add([]byte(s), 0)
		f.Add([]byte(s[:46]), len(s)-46)
	}
	f.Fuzz(func(t *testing.T, first []byte, more int) {
		if more < 0 || more > 1<<20 {
			return
		}
		size := len(first) + more
		var d Datagram
		switch v := Parse(first, size, &d); v {
		case OK:
			if d.Offset < 42 || d.Offset > len(first) || d.Len < 0 || d.Offset+d.Len > size {
				t.Errorf("datagram %+v outside its frame of %d bytes, %d in the first segment", d, size, len(first))
			}
			if !d.Src.IsValid() || !d.Dst.IsValid() {
				t.Errorf("datagram %+v without an address", d)
			}
		case Fragment:
			if d.Offset != 0 || d.Len != 0 {
				t.Errorf("fragment with payload: %+v", d)
			}
		case NotIPUDP, Truncated:
		default:
			t.Errorf("verdict %d", v)
		}
	})
}

func TestParseAllocations(t *testing.T) {
	frames := [][]byte{[]byte(plain4), []byte(qinq6)}
	var d Datagram
	if n := testing.AllocsPerRun(100, func() {
		for _, b := range frames {
			Parse(b, len(b), &d)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, bb := range []struct{ name, frame string }{{"IPv4", plain4}, {"VLAN", vlan4}, {"IPv6", plain6}} {
		b.Run(bb.name, func(b *testing.B) {
			frame := []byte(bb.frame)
			var d Datagram
			b.ReportAllocs()
			for b.Loop() {
				if Parse(frame, len(frame), &d) != OK {
					b.Fatal("not parsed")
				}
			}
		})
	}
}
