// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/speadx/speadx/internal/filter"
	"github.com/speadx/speadx/internal/source"
)

// filter is that of datagrams in capture files; nil takes all.
func (c *Config) filter() (filter.Filter, error) {
	if c.Filter == "" {
		return nil, nil
	}
	f, err := filter.Parse(c.Filter)
	if err != nil {
		return nil, fmt.Errorf("speadx: %w", err)
	}
	return f, nil
}

// splitCaptures makes a stream of each destination of a capture file in which several
// destinations get SPEAD packets: their heap counts have nothing to do with each other. A
// stream that names what it wants of a file, or has several sources, stays as it is. notes
// say what was found.
func splitCaptures(c *Config, accept filter.Filter) (notes []string, err error) {
	var out []Stream
	for _, s := range c.Streams {
		src, err := ParseSource(s.Source)
		if err != nil {
			return nil, fmt.Errorf("speadx: %w", err)
		}
		if src.File == "" || len(src.Endpoints) > 0 || source.IsPipe(src.File) {
			out = append(out, s)
			continue
		}
		found, err := source.Destinations(src.File, accept)
		if err != nil {
			return nil, fmt.Errorf("speadx: %w", err)
		}
		if len(found) < 2 {
			out = append(out, s)
			continue
		}
		var list []string
		several := map[netip.AddrPort]int{}
		for _, d := range found {
			several[d.Addr]++
		}
		for _, d := range found {
			text := d.Addr.String()
			if several[d.Addr] > 1 {
				text = fmt.Sprintf("vlan%d/%s", max(d.VLAN, 0), text)
			}
			list = append(list, fmt.Sprintf("%s (%d packets)", text, d.Packets))
			one := s
			one.Source = text + "@" + src.File
			if one.Name != "" {
				one.Name += " " + text
			}
			if !s.joint() {
				out = append(out, one)
			}
		}
		if s.joint() {
			out = append(out, s)
			notes = append(notes, fmt.Sprintf("%s holds packets for %d destinations, and they are one stream: %s",
				src.File, len(found), strings.Join(list, ", ")))
			continue
		}
		notes = append(notes, fmt.Sprintf("%s holds packets for %d destinations, each of which is a stream: %s",
			src.File, len(found), strings.Join(list, ", ")))
	}
	c.Streams = out
	return notes, nil
}

// joint reports whether all destinations in a capture are one stream.
func (s *Stream) joint() bool { return s.Joint || len(s.Sources) > 0 }

// paths are the names of a stream's files, each once.
func (s *planStream) paths() []string {
	var out []string
	for _, f := range s.files {
		if len(out) == 0 || out[len(out)-1] != f.path {
			out = append(out, f.path)
		}
	}
	return out
}

// openCaptures opens the captures. Those of one stream are merged by time; one that several
// streams name is read once.
func (r *Receiver) openCaptures() error {
	done := map[int]bool{}
	for i, s := range r.streams {
		if len(s.plan.files) == 0 || done[i] {
			continue
		}
		var captures []source.Capture
		streams := map[int]bool{i: true}
		for _, f := range s.plan.files {
			c := source.Capture{Path: f.path, Stream: int32(i)}
			list := wanted(f, int32(i))
			if len(s.plan.files) == 1 && len(list) > 0 {
				for j := i + 1; j < len(r.streams); j++ {
					if other := r.streams[j].plan.files; len(other) == 1 && other[0].path == f.path && len(other[0].endpoints) > 0 {
						list = append(list, wanted(other[0], int32(j))...)
						streams[j] = true
					}
				}
			}
			c.Wanted = list
			captures = append(captures, c)
		}
		src, err := source.OpenPCAP(captures, r.accept)
		if err != nil {
			return err
		}
		t := r.addThread(src)
		t.file = true
		for j := range r.streams {
			if streams[j] {
				t.feed(j, r.streams[j])
				done[j] = true
			}
		}
	}
	return nil
}

func wanted(f planFile, stream int32) []source.Wanted {
	var out []source.Wanted
	for _, a := range f.endpoints {
		out = append(out, source.Wanted{Addr: a, VLAN: f.vlan, Stream: stream})
	}
	return out
}
