// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"testing"

	"github.com/safchain/ethtool"

	"github.com/speadx/speadx/internal/testnet"
)

// TestPausesSent: names of ixgbe, i40e, ice, mlx5 and bnxt.
func TestPausesSent(t *testing.T) {
	for _, tt := range []struct {
		stats map[string]uint64
		want  uint64
	}{
		{map[string]uint64{"tx_flow_control_xoff": 5, "rx_flow_control_xoff": 90, "tx_packets": 1000}, 5},
		{map[string]uint64{"port.link_xoff_tx": 6, "port.link_xoff_rx": 90}, 6},
		{map[string]uint64{"link_xoff_tx.nic": 7, "link_xoff_rx.nic": 90}, 7},
		{map[string]uint64{"tx_pause_ctrl_phy": 8, "tx_global_pause": 8, "tx_global_pause_duration": 900, "tx_pause_storm_warning_events": 70, "rx_global_pause": 90}, 8},
		{map[string]uint64{"tx_pause_frames": 9, "rx_pause_frames": 90}, 9},
		{map[string]uint64{"tx_prio3_pause": 3, "tx_prio3_pause_transition": 30}, 3},
		{nil, 0},
	} {
		if got := pausesSent(tt.stats); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.stats, got, tt.want)
		}
	}
}

func TestSoftnetDrops(t *testing.T) {
	const text = "00007b6c 00000010 00000002 00000000\n00001234 0000000a 00000000 00000000\n"
	if n, err := softnetDrops([]byte(text)); n != 26 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := softnetDrops([]byte("0 nonsense\n")); err == nil {
		t.Errorf("%d of nonsense", n)
	}
	if _, err := SoftnetDrops(); err != nil {
		t.Error(err)
	}
}

// TestMonitor: queues that are added, and an interface that is set down or away, are seen, also
// from another namespace.
func TestMonitor(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 4})
	var m *Monitor
	channels := func(count uint32) {
		t.Helper()
		n.Do(func() {
			tool, err := ethtool.NewEthtool()
			if err != nil {
				t.Fatal(err)
			}
			defer tool.Close()
			if _, err := tool.SetChannels(n.B.Name, ethtool.Channels{RxCount: count, TxCount: 1}); err != nil {
				t.Fatal(err)
			}
		})
	}
	n.Do(func() {
		var err error
		if m, err = NewMonitor(n.B.Index, n.B.Name, "veth"); err != nil {
			t.Fatal(err)
		}
	})
	defer m.Close()
	for _, count := range []uint32{4, 2, 3} {
		channels(count)
		done := make(chan Vitals)
		go func() { // on a thread that is not in the namespace
			v, err := m.Read()
			if err != nil {
				t.Error(err)
			}
			done <- v
		}()
		if v := <-done; v.RxQueues != int(count) || !v.Present || !v.Up || !v.Carrier {
			t.Errorf("%d channels: %+v", count, v)
		}
	}
	m.Close()
	if v, err := m.Read(); err != nil || v != (Vitals{}) {
		t.Errorf("closed: %+v, %v", v, err)
	}
}
