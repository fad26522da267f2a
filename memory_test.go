// SPDX-License-Identifier: Apache-2.0

//go:build linux && !race

// The race detector has memory of its own, and under it tables are in Go memory.

package speadx_test

import (
	"testing"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/pool"
)

// TestMemory: a receiver's process has little memory but what it says it has: pool,
// packet buffers and Go memory for heaps. That is so for small heaps too, of which many
// more are remembered, and where the consumer may hold many.
func TestMemory(t *testing.T) {
	const heaps, rest = 30, 32 << 20
	for _, tt := range []struct {
		name string
		size int64
		cfg  func(*speadx.Config)
	}{
		{"large heaps", 4 << 20, func(*speadx.Config) {}},
		{"many small heaps", 64 << 10, func(c *speadx.Config) { c.ConcurrentHeaps = 1500 }},
		{"many held", 64 << 10, func(c *speadx.Config) { c.ConsumerHeaps = 1500 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := newWire(t, testnet.Options{})
			cfg := one(n)
			cfg.HeapSize, cfg.Hugepages, cfg.Frames = tt.size, pool.PagesAuto, 0
			tt.cfg(&cfg)
			c := startChild(t, n, cfg)
			sendHeaps(t, n, send.Config{Heaps: heaps, HeapSize: tt.size, MaxPacket: 8972})
			var got childReport
			c.says(t, &got)
			if err := c.Wait(); err != nil {
				t.Error(err)
			}
			if got.Heaps != heaps || got.Wrong != 0 || got.Unaccounted != 0 {
				t.Errorf("%+v", got)
			}
			own := got.Pool + got.Packets + got.Go
			t.Logf("%d MiB resident: pool %d MiB, packet buffers %d MiB, Go memory for heaps %d MiB, rest %d MiB",
				got.Memory>>20, got.Pool>>20, got.Packets>>20, got.Go>>20, (got.Memory-own)>>20)
			if got.Memory < own || got.Memory > own+rest {
				t.Errorf("%d bytes resident, %d of pool, %d of packet buffers and %d of Go memory for heaps", got.Memory, got.Pool, got.Packets, got.Go)
			}
		})
	}
}
