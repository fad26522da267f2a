// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/testnet"
)

// large is a configuration whose pool is touched in several parts, and which joins a group.
func large(n *testnet.Net) speadx.Config {
	cfg := one(n)
	cfg.Streams[0].Sources = []string{"239.77.0.9:7149"}
	cfg.HeapSize, cfg.PoolMin = 8<<20, -1
	return cfg
}

// TestProgress: Open tells of each stage once, and of all memory.
func TestProgress(t *testing.T) {
	n := newWire(t, testnet.Options{})
	cfg := large(n)
	var inside atomic.Int32
	var seen []speadx.Progress
	cfg.Progress = func(p speadx.Progress) {
		if inside.Add(1) != 1 {
			t.Error("Progress is called while it runs")
		}
		seen = append(seen, p)
		inside.Add(-1)
	}
	r := open(t, n, cfg)
	var stages []speadx.Stage
	touched, elapsed := int64(0), seen[0].Elapsed
	for i, p := range seen {
		if i == 0 || p.Stage != seen[i-1].Stage {
			stages = append(stages, p.Stage)
		}
		if p.Touched < touched || p.Touched > p.Total || p.Elapsed < elapsed {
			t.Errorf("%+v after %d bytes and %v", p, touched, elapsed)
		}
		touched, elapsed = p.Touched, p.Elapsed
		if device := map[speadx.Stage]string{speadx.StageAttach: n.B.Name, speadx.StageCarrier: n.B.Name}[p.Stage]; p.Device != device {
			t.Errorf("%+v, want device %q", p, device)
		}
	}
	if want := []speadx.Stage{speadx.StageMemory, speadx.StageAttach, speadx.StageCarrier, speadx.StageJoin, speadx.StageReady}; !slices.Equal(stages, want) {
		t.Errorf("stages %v, want %v", stages, want)
	}
	if pool := int64(r.Info().PoolBytes); touched != pool || seen[len(seen)-1].Total != pool {
		t.Errorf("%d of %d bytes touched, the pool has %d", touched, seen[len(seen)-1].Total, pool)
	}
	if told := slices.ContainsFunc(seen, func(p speadx.Progress) bool { return p.Touched == 0 && p.Total > 0 }); !told {
		t.Error("nothing is told before the first byte is touched")
	}
}

// TestOpenCancelled: in whatever stage the context ends, Open returns its error, and
// everything is given back.
func TestOpenCancelled(t *testing.T) {
	n := newWire(t, testnet.Options{})
	goroutines := goleak.IgnoreCurrent()
	for _, tt := range []struct {
		name string
		at   func(speadx.Progress) bool
		says string
	}{
		{"before", nil, "memory"},
		{"first byte", func(p speadx.Progress) bool { return p.Total > 0 }, "0 of "},
		{"last byte", func(p speadx.Progress) bool { return p.Total > 0 && p.Touched == p.Total }, "bytes of the pool"},
		{"attach", func(p speadx.Progress) bool { return p.Stage == speadx.StageAttach }, "attach"},
		{"carrier", func(p speadx.Progress) bool { return p.Stage == speadx.StageCarrier }, "carrier"},
		{"join", func(p speadx.Progress) bool { return p.Stage == speadx.StageJoin }, "join"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cfg := large(n)
			if tt.at == nil {
				cancel()
			} else {
				cfg.Progress = func(p speadx.Progress) {
					if tt.at(p) {
						cancel()
					}
				}
			}
			before := takeInventory(t)
			var err error
			n.Do(func() { _, err = speadx.Open(ctx, cfg) })
			if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%v", err)
			}
			checkNothingLeft(t, n, before, goroutines)
		})
	}
	r := open(t, n, large(n)) // and it can be opened
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
