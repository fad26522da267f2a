// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"context"
	"fmt"
	"log"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/ledger"
)

// A capture file is received like a network. With Source "239.1.2.3:7148" the
// same would come over AF_XDP from the interface that the group's route leads out
// of.
func Example() {
	ctx := context.Background()
	r, err := speadx.Open(ctx, speadx.Config{
		Streams:  []speadx.Stream{{Source: "testdata/captures/five-items.pcap"}},
		HeapSize: 45_000,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	for h, err := range r.Heaps(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("heap %d: %d bytes in %d items, complete: %v\n", h.Cnt(), h.Length(), len(h.Items()), h.Complete())
		h.Release()
	}
	// Output:
	// heap 1: 45000 bytes in 6 items, complete: true
	// heap 3: 45000 bytes in 6 items, complete: true
	// heap 5: 45000 bytes in 6 items, complete: true
	// heap 7: 45000 bytes in 6 items, complete: true
}

// An item's data is a view into the heap's memory, valid until Release. Incomplete
// heaps are handed over where Config asks for them.
func ExampleReceiver_Heaps() {
	ctx := context.Background()
	r, err := speadx.Open(ctx, speadx.Config{
		Streams:    []speadx.Stream{{Name: "antenna 7", Source: "testdata/captures/lossy.pcap"}},
		HeapSize:   40_000,
		Incomplete: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	const timestamp, samples = 0x1600, 0x3300 // the sender's ids
	for h, err := range r.Heaps(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s, heap %d:", h.Stream(), h.Cnt())
		for _, item := range h.Items() {
			switch item.ID {
			case timestamp:
				fmt.Printf(" timestamp %d", item.Value)
			case samples:
				fmt.Printf(" samples %x…", item.Data[:4])
			}
		}
		if !h.Complete() {
			fmt.Printf(" present are %v", h.Ranges())
		}
		fmt.Println()
		h.Release()
	}
	// Output:
	// antenna 7, heap 1: samples 97e3e676… timestamp 0
	// antenna 7, heap 3: samples f94a7382… timestamp 1000
	// antenna 7, heap 7: samples cbbac67c… timestamp 3000
	// antenna 7, heap 11: samples 90eb8d2b… timestamp 5000
	// antenna 7, heap 9: samples 13bcfeac… timestamp 4000 present are [{0 12872} {14304 40000}]
}

// Every packet has a fate, and the sum closes.
func ExampleReceiver_Stats() {
	ctx := context.Background()
	r, err := speadx.Open(ctx, speadx.Config{
		Streams:  []speadx.Stream{{Source: "testdata/captures/duplicated.pcap"}},
		HeapSize: 40_000,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	for h, err := range r.Heaps(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		h.Release()
	}
	s := r.Stats()
	fmt.Println(s.Packets, "packets")
	for fate, packets := range s.Fates {
		if packets > 0 {
			fmt.Println(packets, ledger.Fate(fate))
		}
	}
	fmt.Println(s.Unaccounted, "unaccounted")
	// Output:
	// 212 packets
	// 168 delivered
	// 43 duplicate
	// 1 stream_control
	// 0 unaccounted
}
