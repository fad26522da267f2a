// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/safchain/ethtool"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/testnet"
)

// TestEffects: what a native program takes from the other end of a veth pair is said, and
// is true. It is given back.
func TestEffects(t *testing.T) {
	n := newWire(t, testnet.Options{})
	tso := func() (on bool) {
		if err := n.A.Do(func() {
			tool, err := ethtool.NewEthtool()
			if err != nil {
				t.Fatal(err)
			}
			defer tool.Close()
			features, err := tool.Features(n.A.Name)
			if err != nil {
				t.Fatal(err)
			}
			on = features["tx-tcp-segmentation"]
		}); err != nil {
			t.Fatal(err)
		}
		return on
	}
	for _, tt := range []struct {
		mode speadx.Mode
		want []speadx.Effect
	}{
		{speadx.ModeNative, []speadx.Effect{speadx.EffectPeerTSO}},
		{speadx.ModeGeneric, nil},
	} {
		cfg := one(n)
		cfg.Mode = tt.mode
		before := tso()
		r := open(t, n, cfg)
		in := r.Info()
		if got := in.Devices[0].Effects; !slices.Equal(got, tt.want) {
			t.Errorf("%v: effects %v, want %v", tt.mode, got, tt.want)
		}
		said := slices.ContainsFunc(in.Notes, func(note string) bool { return strings.Contains(note, n.B.Name) && strings.Contains(note, "TSO") })
		if lost := before && !tso(); lost != (tt.want != nil) || said != lost {
			t.Errorf("%v: TSO lost %t, said %t", tt.mode, lost, said)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if tso() != before {
			t.Errorf("%v: TSO is not given back", tt.mode)
		}
	}
}

// TestShareAllVLANs: receivers that share a program see VLANs alike, or the second is refused.
func TestShareAllVLANs(t *testing.T) {
	n := newWire(t, testnet.Options{Queues: 2})
	for _, all := range []bool{false, true} {
		first := one(n)
		first.Queues, first.AllVLANs = []int{0}, all
		r := open(t, n, first)
		for _, other := range []bool{!all, all} {
			second := one(n)
			second.Streams[0].Source = endpoint(n, port+1)
			second.Queues, second.AllVLANs = []int{1}, other
			r2, err := tryOpen(t, n, second)
			if err == nil {
				err = r2.Close()
			}
			var refused *speadx.SettingError
			if errors.As(err, &refused) != (other != all) || other == all && err != nil {
				t.Errorf("%t beside %t: %v", other, all, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
