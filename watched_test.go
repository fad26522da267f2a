// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"slices"
	"testing"

	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/pool"
)

// TestWatchedInterfacesFollow: the interfaces of sockets are watched from Add to Remove, also
// those that Open was given. Packets that came on them count as long as they were watched.
func TestWatchedInterfacesFollow(t *testing.T) {
	n := testnet.New(t, testnet.Options{})
	own, added := n.B.Addr4.String()+":7148", "127.0.0.1:7149"
	r, err := Open(t.Context(), Config{
		Streams: []Stream{{Name: "A", Source: own}}, Mode: ModeUDP, SpareStreams: 1, HeapSize: 4096, Hugepages: pool.PagesOff,
	})
	testnet.NeedPrivilege(t, err)
	defer r.Close()
	watched := func() (names []string) {
		r.changes.links.Lock()
		defer r.changes.links.Unlock()
		for _, v := range r.vitals.list {
			names = append(names, v.Name())
		}
		if len(r.links) != len(names) {
			t.Errorf("%d links, %d vitals", len(r.links), len(names))
		}
		return names
	}
	sockets := func() (names []string) {
		for _, s := range r.Sockets() {
			names = append(names, s.Stream)
		}
		return names
	}
	check := func(step string, interfaces, streams []string) {
		t.Helper()
		if got := watched(); !slices.Equal(got, interfaces) {
			t.Errorf("%s: watches %q, want %q", step, got, interfaces)
		}
		if got := sockets(); !slices.Equal(got, streams) {
			t.Errorf("%s: sockets of %q, want %q", step, got, streams)
		}
	}
	check("at first", []string{n.B.Name}, []string{"A"})
	s := r.Stats()
	before := r.quietCounts(&s).devices
	if err := r.Add(t.Context(), "B", added); err != nil {
		t.Fatal(err)
	}
	check("added", []string{n.B.Name, "lo"}, []string{"A", "B"})
	if err := r.Remove(t.Context(), "A", own); err != nil {
		t.Fatal(err)
	}
	check("removed what Open was given", []string{"lo"}, []string{"B"})
	if now := r.quietCounts(&s).devices; now < before {
		t.Errorf("%d packets after %d", now, before)
	}
	if err := r.Remove(t.Context(), "B", added); err != nil {
		t.Fatal(err)
	}
	check("removed", nil, nil)
	if err := r.checkInterfaces(); err != nil {
		t.Errorf("without an interface: %v", err)
	}
	if err := r.Add(t.Context(), "A", own); err != nil {
		t.Fatal(err)
	}
	check("added again", []string{n.B.Name}, []string{"A"})
}
