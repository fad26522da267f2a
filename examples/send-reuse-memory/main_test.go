// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"net"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/spead"
)

// packets keeps what is written.
type packets [][]byte

func (p *packets) Write(b []byte) (int, error) {
	*p = append(*p, bytes.Clone(b))
	return len(b), nil
}

func newPacketiser(t *testing.T, size int) *spead.Packetiser {
	t.Helper()
	p, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: flavour, MaxPacket: size})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestSend looks at each packet: three heaps with the right items, descriptors in the
// first, and a stop heap.
func TestSend(t *testing.T) {
	const size = 5000
	var sent packets
	if _, err := send(&sent, newPacketiser(t, 1472), 3, size); err != nil {
		t.Fatal(err)
	}
	payload := map[uint64][]byte{}
	pointers := map[uint64][]spead.Pointer{}
	for _, b := range sent {
		var p spead.Packet
		if r := p.Decode(b, len(b)); r != spead.OK || p.Size() != len(b) || p.Flavour != spead.Flavour40 || len(b) > 1472 {
			t.Fatalf("packet of %d bytes: %v", len(b), r)
		}
		if int64(len(payload[p.Cnt])) != p.PayloadOffset {
			t.Fatalf("heap %d: a packet at %d, after %d bytes", p.Cnt, p.PayloadOffset, len(payload[p.Cnt]))
		}
		payload[p.Cnt] = append(payload[p.Cnt], b[p.HeaderLen:]...)
		for i := range p.NumPointers() {
			if ptr := p.Pointer(i); p.Flavour.ID(ptr) > spead.IDPayloadLength {
				pointers[p.Cnt] = append(pointers[p.Cnt], ptr)
			}
		}
	}
	if len(payload) != 4 {
		t.Fatalf("%d heaps", len(payload))
	}
	var g spead.ItemGroup
	for cnt := uint64(1); cnt <= 3; cnt++ {
		h := memory{spead.AppendItems(nil, flavour, pointers[cnt], payload[cnt])}
		items, err := g.Update(h)
		if err != nil || len(items) != 2 {
			t.Fatalf("heap %d: %d items, %v", cnt, len(items), err)
		}
		if len(g.Described()) != map[bool]int{true: 2}[cnt == 1] {
			t.Errorf("heap %d has %d descriptors", cnt, len(g.Described()))
		}
		samples, err := spead.ViewOf[int8](g.ByName("adc_samples").Value())
		if err != nil {
			t.Fatal(err)
		}
		want := slices.Repeat([]int8{int8(cnt - 1)}, size)
		if got, ok := samples.Slice(); !ok || !slices.Equal(got, want) {
			t.Errorf("heap %d: %d samples, the first %d", cnt, samples.Len(), samples.At(0))
		}
		if ts := g.ByName("timestamp").Value().At(0); ts != (cnt-1)*size {
			t.Errorf("heap %d: timestamp %v", cnt, ts)
		}
	}
	if len(pointers[4]) != 1 || pointers[4][0] != flavour.Immediate(spead.IDStreamCtrl, spead.CtrlStop) {
		t.Errorf("the last heap has the pointers %x", pointers[4])
	}
}

// memory is a heap that is never released.
type memory struct{ items []spead.RawItem }

func (m memory) Flavour() spead.Flavour { return flavour }
func (m memory) Items() []spead.RawItem { return m.items }
func (m memory) Lease() uint64          { return 0 }
func (m memory) Release()               {}

const usage = "Usage: send-reuse-memory [-n heaps] [-H heap-size] [-p packet-size] host port\n"

// count counts.
type count int

func (c *count) Write(b []byte) (int, error) { *c++; return len(b), nil }

// TestSendReusesMemory: what a stream allocates does not grow with its heaps, but for
// the few bytes of each one's bookkeeping.
func TestSendReusesMemory(t *testing.T) {
	measure := func(heaps int) float64 {
		return testing.AllocsPerRun(3, func() {
			var c count
			if _, err := send(&c, newPacketiser(t, 1472), heaps, 1<<20); err != nil {
				t.Fatal(err)
			}
		})
	}
	var before, after runtime.MemStats
	few := measure(2)
	runtime.ReadMemStats(&before)
	many := measure(52)
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / 4; each > 3<<20 { // AllocsPerRun runs it once more
		t.Errorf("%d bytes for 52 heaps in two buffers of 1 MiB", each)
	}
	if each := (many - few) / 50; each > 10 { // a heap has 733 packets
		t.Errorf("%v allocations for each heap", each)
	}
}

func TestRun(t *testing.T) {
	sink, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer sink.Close()
	host, port, _ := net.SplitHostPort(sink.LocalAddr().String())
	var out, errs bytes.Buffer
	if status := run([]string{"-n", "3", "-H", "1000", "-p", "200", host, port}, &out, &errs); status != 0 || !regexp.MustCompile(`^[0-9.e+]+ MB/s\n$`).MatchString(out.String()) {
		t.Errorf("status %d, output %q, %s", status, out.String(), errs.String())
	}
	if status := run([]string{"-h"}, &out, &errs); status != 0 || errs.String() != usage {
		t.Errorf("-h: status %d, %q", status, errs.String())
	}
	for args, want := range map[string]string{
		"":                                "",
		"127.0.0.1":                       "",
		"127.0.0.1 7148 1":                "",
		"-H 0 127.0.0.1 7148":             "",
		"-n -1 127.0.0.1 7148":            "",
		"-n x 127.0.0.1 7148":             "invalid value \"x\" for flag -n: parse error\n",
		"-x 127.0.0.1 7148":               "flag provided but not defined: -x\n",
		"-p 20 127.0.0.1 7148":            "spead: packet size 20 is not within 56 to 65535\n",
		"-H 1099511627775 127.0.0.1 7148": "heaps of 1099511627775 bytes do not fit into SPEAD-64-40 (at most 1099511619583)\n",
	} {
		errs.Reset()
		if status := run(strings.Fields(args), &out, &errs); status != 2 || errs.String() != want+usage {
			t.Errorf("%q: status %d, %q", args, status, errs.String())
		}
	}
}

// TestTimestampWraps: the timestamps of 40 bits begin again at 0.
func TestTimestampWraps(t *testing.T) {
	if got := timestampOf(3, 1<<39+5); got != 1<<39+15 {
		t.Errorf("%#x", got)
	}
}
