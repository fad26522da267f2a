//go:build linux

package speadx_test

import (
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
