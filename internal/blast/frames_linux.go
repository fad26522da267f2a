// SPDX-License-Identifier: Apache-2.0

package blast

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/safchain/ethtool"

	"github.com/speadx/speadx/spead"
)

// blastTemplate is what the program is told of the frames.
type blastTemplate struct {
	headers      int // bytes before SPEAD
	payload      int // of a packet but the last of a heap
	lastLacks    int
	flavour      spead.Flavour
	destinations []blastDestination
}

// complete checks the configuration and fills in what is left to defaults.
func (c *Config) complete() (*blastTemplate, error) {
	if c.PacketsPerHeap == 0 {
		c.PacketsPerHeap = 1
	}
	if c.InFlight == 0 {
		c.InFlight = 1
	}
	if c.FirstCount == 0 {
		c.FirstCount = 1
	}
	switch {
	case len(c.Frames) == 0:
		return nil, errors.New("there are no frames to blast")
	case c.PacketsPerHeap < 1:
		return nil, fmt.Errorf("%d packets a heap", c.PacketsPerHeap)
	case c.InFlight < 1 || c.InFlight > MaxInFlight:
		return nil, fmt.Errorf("%d heaps in flight are outside 1 to %d", c.InFlight, MaxInFlight)
	case c.CPU < 0 || c.CPU >= 1024:
		return nil, fmt.Errorf("CPU %d is outside 0 to 1023", c.CPU)
	case c.SwapEvery == 1:
		return nil, errors.New("every packet cannot be swapped with its successor: SwapEvery is at least 2")
	}
	t := &blastTemplate{destinations: make([]blastDestination, len(c.Frames))}
	for i := range c.Frames {
		if err := t.add(&c.Frames[i], i); err != nil {
			return nil, fmt.Errorf("frames of destination %d: %w", i, err)
		}
	}
	if offset := uint64(c.PacketsPerHeap-1) * uint64(t.payload); offset > t.flavour.MaxValue() {
		return nil, fmt.Errorf("%d packets of %d bytes are more than flavour %v can address: send fewer a heap", c.PacketsPerHeap, t.payload, t.flavour)
	}
	return t, nil
}

// add takes the frames of the next destination.
func (t *blastTemplate) add(f *Frames, i int) error {
	full, err := readBlastFrame(f.Full)
	if err != nil {
		return err
	}
	last := full
	if f.Last != nil {
		if last, err = readBlastFrame(f.Last); err != nil {
			return fmt.Errorf("last one: %w", err)
		}
		if !bytes.HasPrefix(full.data, last.data) {
			return errors.New("the payload of the last frame is not how that of the full one begins")
		}
		if last.headers != full.headers || last.items != full.items || len(f.Last) > len(f.Full) {
			return errors.New("the last frame has other headers than the full one, or is longer")
		}
	}
	lacks := len(full.data) - len(last.data)
	if i == 0 {
		t.headers, t.payload, t.lastLacks, t.flavour = full.headers, len(full.data), lacks, full.flavour
	} else if t.headers != full.headers || t.payload != len(full.data) || t.lastLacks != lacks || t.flavour != full.flavour {
		return errors.New("they are not as long as those of destination 0, or of another family or flavour")
	}
	d := &t.destinations[i]
	d.Full.Words, d.Full.Sum, d.Full.LengthPointer = full.start()
	d.Last.Words, d.Last.Sum, d.Last.LengthPointer = last.start()
	return nil
}

// blastFrame is a frame, looked into.
type blastFrame struct {
	bytes   []byte
	headers int    // bytes before SPEAD
	data    []byte // payload
	items   int
	flavour spead.Flavour
}

func readBlastFrame(frame []byte) (*blastFrame, error) {
	const ethernet, udp = 14, 8
	f := &blastFrame{bytes: frame}
	if len(frame) > MaxFrame {
		return nil, fmt.Errorf("a frame of %d bytes is longer than %d, which is what a page has room for: make the packets smaller", len(frame), MaxFrame)
	}
	if len(frame) > ethernet {
		switch etherType := binary.BigEndian.Uint16(frame[12:]); {
		case etherType == 0x0800 && frame[14] == 0x45:
			f.headers = ethernet + 20 + udp
		case etherType == 0x86dd && frame[14]>>4 == 6:
			f.headers = ethernet + 40 + udp
		}
	}
	if f.headers == 0 || len(frame) < f.headers {
		return nil, fmt.Errorf("a frame of %d bytes is neither UDP over IPv4 without options nor over IPv6", len(frame))
	}
	if binary.BigEndian.Uint16(frame[f.headers-2:]) == 0 {
		return nil, errors.New("a frame has no UDP checksum")
	}
	var p spead.Packet
	packet := frame[f.headers:]
	if r := p.Decode(packet, len(packet)); r != spead.OK {
		return nil, fmt.Errorf("a frame has no SPEAD packet: %v", r)
	}
	if p.Size() != len(packet) {
		return nil, fmt.Errorf("a frame has %d bytes beyond the SPEAD packet", len(packet)-p.Size())
	}
	f.data, f.items, f.flavour = packet[p.HeaderLen:], p.NumPointers(), p.Flavour
	for i, id := range []uint64{spead.IDHeapCnt, spead.IDHeapLength, spead.IDPayloadOffset, spead.IDPayloadLength} {
		if got := p.Pointer(i); !got.IsImmediate() || f.flavour.ID(got) != id {
			return nil, fmt.Errorf("item pointer %d of a frame is %#x, not the immediate item %d", i, got, id)
		}
	}
	return f, nil
}

// start is what the program writes at the beginning of the packet. The sum is
// that of the UDP checksum without heap count and payload offset (RFC 1624).
func (f *blastFrame) start() (words [15]uint32, sum uint32, length uint64) {
	for i := range (f.headers - 2) / 4 {
		words[i] = binary.NativeEndian.Uint32(f.bytes[4*i:])
	}
	packet := f.bytes[f.headers:]
	sum = uint32(^binary.BigEndian.Uint16(f.bytes[f.headers-2:]))
	for _, pointer := range [][]byte{packet[8:16], packet[24:32]} {
		for i := 0; i < len(pointer); i += 2 {
			sum += uint32(^binary.BigEndian.Uint16(pointer[i:]))
		}
	}
	return words, sum, binary.NativeEndian.Uint64(packet[32:])
}

// set tells the program.
func (t *blastTemplate) set(spec *ebpf.CollectionSpec, c *Config) error {
	spec.Maps[blastMapStarts].MaxEntries = uint32(len(t.destinations))
	packet := c.Frames[0].Full[t.headers:]
	values := t.flavour.MaxValue()
	for name, value := range map[string]any{
		blastVarInterface:      uint32(c.Ifindex),
		blastVarIpv6:           bytes.Equal(c.Frames[0].Full[12:14], []byte{0x86, 0xdd}),
		blastVarDestinations:   uint32(len(t.destinations)),
		blastVarInFlight:       uint64(c.InFlight),
		blastVarPacketsPerHeap: uint64(c.PacketsPerHeap),
		blastVarPayload:        uint64(t.payload),
		blastVarLastLacks:      uint32(t.lastLacks),
		blastVarFirstCount:     c.FirstCount,
		blastVarCountPointer:   binary.BigEndian.Uint64(packet[8:]) &^ values,
		blastVarOffsetPointer:  binary.BigEndian.Uint64(packet[24:]) &^ values,
		blastVarLargestValue:   values,
		blastVarDropEvery:      c.DropEvery,
		blastVarDuplicateEvery: c.DuplicateEvery,
		blastVarSwapEvery:      c.SwapEvery,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s of the blasting program: %w", name, err)
		}
	}
	return nil
}

// taken is how many redirected packets the interface has taken since it exists.
func (b *Generator) taken() (uint64, error) {
	tool, err := ethtool.NewEthtool()
	if err != nil {
		return 0, fmt.Errorf("blast: open ethtool: %w", err)
	}
	defer tool.Close()
	// Without statistics there is an error, or there are none.
	stats, err := tool.Stats(b.iface)
	var sum uint64
	found := false
	for name, value := range stats {
		if strings.HasPrefix(name, "tx_queue_") && strings.HasSuffix(name, "_xdp_xmit") {
			sum += value
			found = true
		}
	}
	if err == nil && !found {
		err = errors.New("it does not count redirected packets")
	}
	if err != nil {
		return 0, fmt.Errorf("blast: statistics of %s: %w (blast sends out of a veth, and in its network namespace)", b.iface, err)
	}
	return sum, nil
}
