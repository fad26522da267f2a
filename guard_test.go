// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"context"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/spead"
)

// faults reports whether f touches memory that must not be touched.
func faults(f func()) (fault bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err, ok := r.(error)
			fault = ok && strings.Contains(err.Error(), "invalid memory address")
			if !fault {
				panic(r)
			}
		}
	}()
	f()
	return false
}

var sink byte // so that reading is not left out

// TestGuardReleased: whatever still points into a released heap faults, at the very
// place that uses it; what is held does not.
func TestGuardReleased(t *testing.T) {
	ctx := context.Background()
	r, err := speadx.Open(ctx, speadx.Config{
		Streams:       []speadx.Stream{{Source: "testdata/captures/descriptors.pcap"}},
		GuardReleased: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	h, err := r.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var g spead.ItemGroup
	if _, err := g.Update(h); err != nil {
		t.Fatal(err)
	}
	view, err := spead.ViewOf[float32](g.ByName("f4").Value())
	if err != nil {
		t.Fatal(err)
	}
	raw, value := h.Payload(), g.ByName("u16").Value()
	use := map[string]func(){
		"a view":    func() { view.At(0) },
		"a value":   func() { value.At(1) },
		"the bytes": func() { sink += raw[len(raw)/2] },
	}
	for name, f := range use {
		if faults(f) {
			t.Errorf("%s of a held heap faults", name)
		}
	}
	h.Release()
	for name, f := range use {
		if !faults(f) {
			t.Errorf("%s of a released heap can be used", name)
		}
	}
	// The memory is there again for the heaps that follow.
	for h, err := range r.Heaps(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if n := len(h.Items()); n != 3 || h.Payload()[0] == 0 {
			t.Errorf("heap %d has %d items", h.Cnt(), n)
		}
		h.Release()
	}
	s := r.Stats()
	if s.Unaccounted != 0 || s.Streams[0].Slots.Held != 0 {
		t.Errorf("%+v", s)
	}
}
