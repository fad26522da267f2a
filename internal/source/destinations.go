// SPDX-License-Identifier: Apache-2.0

package source

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/speadx/speadx/internal/frame"
)

// Destination is where packets in a capture were sent.
type Destination struct {
	Addr    netip.AddrPort
	VLAN    int // -1: without a tag
	Packets uint64
}

const (
	lookRecords   = 200_000   // of the beginning of a file that are looked at
	lookBytes     = 128 << 20 // likewise
	lookAddresses = 64        // destinations that are told apart
)

// Destinations looks at the beginning of a capture file for destinations of SPEAD packets
// that accept takes. They come in the order in which they appear. A file that is damaged
// has those before the damage.
func Destinations(path string, accept func(*frame.Datagram) bool) ([]Destination, error) {
	f := captureFile{name: path}
	if err := f.open(); err != nil {
		return nil, err
	}
	defer f.close()
	type key struct {
		addr netip.AddrPort
		vlan int
	}
	found := map[key]*Destination{}
	var order []*Destination
	for records, bytes := 0, 0; records < lookRecords && bytes < lookBytes; records++ {
		r, err := f.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			break // reading the file reports it
		}
		bytes += len(r.data)
		var d frame.Datagram
		if parseLink(r.link, r.data, &d) != frame.OK || accept != nil && !accept(&d) {
			continue
		}
		payload := r.data[d.Offset : d.Offset+d.Len]
		if len(payload) < headerSize || binary.BigEndian.Uint16(payload) != magicVersion {
			continue
		}
		k := key{d.Dst, d.VLAN}
		if found[k] == nil {
			if len(found) == lookAddresses {
				return nil, fmt.Errorf("capture file: %s has SPEAD packets for more than %d destinations (name those that are wanted, as in 239.1.2.3:7148@%s)", path, lookAddresses, path)
			}
			found[k] = &Destination{Addr: d.Dst, VLAN: d.VLAN}
			order = append(order, found[k])
		}
		found[k].Packets++
	}
	out := make([]Destination, 0, len(order))
	for _, d := range order {
		out = append(out, *d)
	}
	slices.SortStableFunc(out, func(a, b Destination) int {
		return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.VLAN, b.VLAN))
	})
	return out, nil
}
