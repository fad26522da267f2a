// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"context"
	"fmt"
	"log"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/spead"
)

// An item group makes named, typed values of heaps, by what the sender's descriptors
// say. Update returns the items that a heap brought; others keep the values they had.
func Example_itemGroup() {
	ctx := context.Background()
	r, err := speadx.Open(ctx, speadx.Config{
		Streams: []speadx.Stream{{Source: "testdata/captures/descriptors.pcap"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	var group spead.ItemGroup
	for h, err := range r.Heaps(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		updated, err := group.Update(h)
		if err != nil {
			log.Print(err) // which items make no sense, and why; the others are there
		}
		fmt.Printf("heap %d: %d of %d items\n", h.Cnt(), len(updated), group.Len())
		for _, name := range []string{"timestamp", "label", "record"} {
			it := group.ByName(name)
			if it.HasValue() {
				fmt.Printf("  %s, version %d: %v\n", it.Descriptor().Description, it.Version(), it.Value().Any())
			}
		}
		h.Release() // its values are gone
	}
	// Output:
	// heap 1: 13 of 13 items
	//   sample count, version 2: 123456789012
	//   text of any length, version 2: MeerKAT
	//   structured, version 2: [[1 2.5] [3 -4.5]]
	// heap 2: 3 of 13 items
	//   sample count, version 3: 123456789013
	//   text of any length, version 3: SKA-Low
}

// A view reads numbers where they lie in the heap, in whichever byte order, and
// allocates nothing. Slice gives the memory itself if it is as the machine has it;
// Unpack converts, also numbers that are not whole bytes.
func Example_typedViews() {
	ctx := context.Background()
	r, err := speadx.Open(ctx, speadx.Config{
		Streams: []speadx.Stream{{Source: "testdata/captures/descriptors.pcap"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	h, err := r.Next(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer h.Release() // the views are valid until then
	var group spead.ItemGroup
	if _, err := group.Update(h); err != nil {
		log.Fatal(err)
	}

	f4, err := spead.ViewOf[float32](group.ByName("f4").Value()) // big-endian, 3 by 2
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("f4", f4.Shape(), f4.At(f4.Index(2, 1)))
	if _, ok := f4.Slice(); !ok {
		native := make([]float32, f4.Len())
		f4.CopyTo(native)
		fmt.Println("  copied", native)
	}

	column, err := spead.ViewOf[int32](group.ByName("fortran").Value()) // column by column
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print("fortran ", column.Order(), " in memory")
	for i := range column.Len() {
		fmt.Print(" ", column.At(i))
	}
	fmt.Println(", and row 0, column 1 is", column.At(column.Index(0, 1)))

	x, err := group.ByName("record").Value().Field("x")
	if err != nil {
		log.Fatal(err)
	}
	field, err := spead.ViewOf[float32](x)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("record.x", field.At(0), field.At(1))

	samples, err := spead.Unpack[uint16](nil, group.ByName("u12").Value()) // packed into 12 bits each
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("u12", samples)

	_, err = spead.ViewOf[float64](group.ByName("f4").Value())
	fmt.Println(err)
	// Output:
	// f4 [3 2] 5
	//   copied [0 1 2 3 4 5]
	// fortran F in memory 0 3 1 4 2 5, and row 0, column 1 is 1
	// record.x 2.5 -4.5
	// u12 [2748 3567 291]
	// spead: elements are float of 32 bits (>f4), not float64
}

// A group that holds heaps takes them over, and releases each when its last value has
// been replaced: then values stay valid from one heap to the next. ConsumerHeaps has
// to be one more than it may hold. Small values are better copied, so that a
// label does not hold a whole heap.
func Example_holdingHeaps() {
	ctx := context.Background()
	r, err := speadx.Open(ctx, speadx.Config{
		Streams:       []speadx.Stream{{Source: "testdata/captures/five-items.pcap"}},
		HeapSize:      45_000,
		ConsumerHeaps: 2, // the heap that the group holds, and the one that replaces it
	})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	group := spead.ItemGroup{Hold: 1, CopyBelow: 1024}
	for h, err := range r.Heaps(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		if _, err := group.Update(h); err != nil { // and no h.Release()
			log.Print(err)
		}
	}
	// The stream has ended, and the last heap is still there. Nothing described its
	// items, so they are bytes.
	for it := range group.All() {
		fmt.Printf("item %#x, version %d: %d bytes\n", it.ID(), it.Version(), len(it.Raw()))
	}
	s := r.Stats().Streams[0]
	fmt.Println("held:", s.Slots.Held, "of", s.Sum.Held)
	group.Release()
	fmt.Println("held:", r.Stats().Streams[0].Slots.Held)
	// Output:
	// item 0x1600, version 4: 6 bytes
	// item 0x3300, version 4: 9000 bytes
	// item 0x3301, version 4: 9000 bytes
	// item 0x3302, version 4: 9000 bytes
	// item 0x3303, version 4: 9000 bytes
	// item 0x3304, version 4: 9000 bytes
	// held: 1 of 2
	// held: 0
}
