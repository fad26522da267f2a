// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/ledger"
)

// provokedHere are the fates that are given on the way to the assembler, each with the test that
// provokes it. The fates that the assembler gives are provoked by TestEachFate of package heap.
//
// No NIC here drops packets: nic_dropped is provoked with readings, by TestEachDiagnosis, and its
// sources by TestEthtoolDrops and TestQueueStats of internal/netif.
var provokedHere = map[ledger.Fate]func(*testing.T){
	ledger.CaptureCut: TestCutCapture, ledger.ChainTooLong: TestTCPLostSync, ledger.Shutdown: TestCloseIsIdempotent,
	ledger.NotIPUDP: TestNotOurs, ledger.Fragment: TestNotOurs, ledger.OtherEndpoint: TestChangeEndpoints,
	ledger.NoSocket: TestQueueWithoutSocket, ledger.KernelDropped: TestStalledBlock,
}

func TestEachFateBeforeTheAssembler(t *testing.T) {
	for f := ledger.AfterStop + 1; f < ledger.NumFates; f++ {
		if provokedHere[f] == nil && f != ledger.NICDropped {
			t.Errorf("nothing provokes %v", f)
		}
	}
}

// In a capture, what is no UDP and what is a fragment has its fate.
func TestNotOurs(t *testing.T) {
	arp := append(make([]byte, 12), 0x08, 0x06)
	arp = append(arp, make([]byte, 46)...)
	ip := []byte{0x45, 0, 0, 48, 0, 1, 0x20, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2} // more fragments follow
	fragment := append(make([]byte, 12), 0x08, 0x00)
	fragment = append(append(fragment, ip...), make([]byte, 28)...)
	file := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0}
	for _, frame := range [][]byte{arp, fragment, arp} {
		var head [16]byte
		binary.LittleEndian.PutUint32(head[8:], uint32(len(frame)))
		binary.LittleEndian.PutUint32(head[12:], uint32(len(frame)))
		file = append(append(file, head[:]...), frame...)
	}
	path := filepath.Join(t.TempDir(), "other.pcap")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	r := openHere(t, t.Context(), speadx.Config{Streams: []speadx.Stream{{Source: path}}, HeapSize: 4096})
	<-r.Done()
	s := r.Stats()
	if s.Fates[ledger.NotIPUDP] != 2 || s.Fates[ledger.Fragment] != 1 || s.Packets != s.Fates.Settled() || s.Unaccounted != 0 {
		t.Errorf("%d packets: %v", s.Packets, s.Fates)
	}
}
