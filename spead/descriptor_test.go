// SPDX-License-Identifier: Apache-2.0

package spead_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/speadx/speadx/spead"
)

// TestDescriptorCapture encodes descriptors as spead2 has sent them.
func TestDescriptorCapture(t *testing.T) {
	h := reassemble(t, readCapture(t, "descriptors"))[0]
	sent := make(map[uint64][]byte) // by the item described
	for _, it := range h.outItems() {
		if it.ID == spead.IDDescriptor {
			var p spead.Packet
			if r := p.Decode(it.Data, len(it.Data)); r != spead.OK {
				t.Fatalf("descriptor: %v", r)
			}
			for i := range p.NumPointers() {
				if p.Flavour.ID(p.Pointer(i)) == spead.IDDescriptorID {
					sent[p.Flavour.Value(p.Pointer(i))] = it.Data
				}
			}
		}
	}
	if len(sent) != 13 {
		t.Errorf("%d descriptors in the capture, want 13", len(sent))
	}
	for _, d := range []spead.Descriptor{
		{ID: 0x1600, Name: "timestamp", Description: "sample count", Format: []spead.FormatField{{Type: 'u', Bits: 48}}},
		{ID: 0x1601, Name: "negative", Description: "signed immediate", Format: []spead.FormatField{{Type: 'i', Bits: 48}}},
		{ID: 0x1700, Name: "label", Description: "text of any length", Format: []spead.FormatField{{Type: 'c', Bits: 8}}, Shape: []int64{-1}},
		{ID: 0x2004, Name: "u16", Description: "variable first axis", Format: []spead.FormatField{{Type: 'u', Bits: 16}}, Shape: []int64{-1, 4}},
		{ID: 0x2008, Name: "bits", Description: "a bit and a 7-bit integer", Format: []spead.FormatField{{Type: 'b', Bits: 1}, {Type: 'i', Bits: 7}}, Shape: []int64{2}},
		{ID: 0x2000, Name: "f4", Description: "big-endian floats", Shape: []int64{3, 2}, DType: dtypeOf(sent[0x2000])},
	} {
		got, err := d.Item(spead.Flavour48, 0)
		if err != nil {
			t.Errorf("%s: %v", d.Name, err)
			continue
		}
		if got.ID != spead.IDDescriptor || !bytes.Equal(got.Data, sent[d.ID]) {
			t.Errorf("%s: encoded as\n%q, sent as\n%q", d.Name, got.Data, sent[d.ID])
		}
	}
}

// dtypeOf cuts the numpy header, a dict, out of a descriptor.
func dtypeOf(b []byte) string { return string(b[bytes.IndexByte(b, '{'):]) }

func TestDescriptorErrors(t *testing.T) {
	for _, tt := range []struct {
		flavour spead.Flavour
		d       spead.Descriptor
		want    string
	}{
		{0, spead.Descriptor{ID: 1}, "no flavour"},
		{48, spead.Descriptor{}, "id is not within 1 to 0x7fff"},
		{48, spead.Descriptor{ID: 0x8000}, "id is not within"},
		{48, spead.Descriptor{ID: 1, Format: []spead.FormatField{{Type: 'u', Bits: 1 << 16}}}, "a field of 65536 bits"},
		{8, spead.Descriptor{ID: 1, Shape: []int64{256}}, "a dimension of 256"},
		{8, spead.Descriptor{ID: 1, Description: strings.Repeat("x", 256)}, "too long"},
	} {
		if _, err := tt.d.Item(tt.flavour, 0); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v: error %v, want one about %q", tt.flavour, err, tt.want)
		}
	}
}
