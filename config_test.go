// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"strings"
	"testing"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
)

func TestNames(t *testing.T) {
	for _, m := range []speadx.Mode{speadx.ModeAuto, speadx.ModeZeroCopy, speadx.ModeNative, speadx.ModeGeneric, speadx.ModeUDP} {
		if got, err := speadx.ParseMode(m.String()); err != nil || got != m {
			t.Errorf("mode %v is read as %v, %v", m, got, err)
		}
	}
	for _, p := range []heap.Policy{heap.Block, heap.DropNewest, heap.DropOldest} {
		if got, err := heap.ParsePolicy(p.String()); err != nil || got != p {
			t.Errorf("policy %v is read as %v, %v", p, got, err)
		}
	}
	for _, wrong := range []string{"", "Native", "copy"} {
		if _, err := speadx.ParseMode(wrong); err == nil || !strings.Contains(err.Error(), "auto, zerocopy, native, generic, udp") {
			t.Errorf("mode %q: %v", wrong, err)
		}
	}
}

// TestDefaults: what is not set is what the documentation says it is.
func TestDefaults(t *testing.T) {
	r, err := speadx.Open(t.Context(), speadx.Config{Streams: []speadx.Stream{{Source: "testdata/captures/plain-64-48.pcap"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in := r.Info()
	if len(in.Streams) != 1 || in.Threads != 1 {
		t.Fatalf("%+v", in)
	}
	s := in.Streams[0]
	if s.Sum.Live != 4+14 || s.Sum.Ring != 4 || s.Sum.Held != 2 || s.Sum.Threads != 1 || s.Sum.Largest != 4<<20 || s.Sum.SmallBelow != 16<<10 {
		t.Errorf("the pool is for %+v", s.Sum)
	}
	if in.PoolSlots != 2*(4+14+4+2+1) || s.SlotSize < 4<<20+8192 || s.SmallSize < 16<<10+8192 || in.PoolBytes < 25*(s.SlotSize+s.SmallSize) {
		t.Errorf("%d slots of %d and %d bytes in %d", in.PoolSlots, s.SlotSize, s.SmallSize, in.PoolBytes)
	}
	if in.TableBytes == 0 || in.TableBytes != s.Sum.Tables || in.GoBytes == 0 || in.PoolBytes < 25*(s.SlotSize+s.SmallSize)+in.TableBytes {
		t.Errorf("%d bytes of tables and %d of Go memory, with a pool of %d bytes that is for %+v", in.TableBytes, in.GoBytes, in.PoolBytes, s.Sum)
	}
	if s.Blocks { // a file waits
		t.Error("a full ring is said to lose packets of a file")
	}
}
