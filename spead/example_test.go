// SPDX-License-Identifier: Apache-2.0

package spead_test

import (
	"fmt"
	"log"

	"github.com/speadx/speadx/spead"
)

// A heap is built of descriptors and values, and cut into packets, which here are
// only counted. The buffers are used again from heap to heap.
func ExampleHeapBuilder() {
	timestamp := spead.Descriptor{
		ID: 0x1600, Name: "timestamp", Description: "Index of the first sample",
		Format: []spead.FormatField{{Type: 'u', Bits: 48}},
	}
	header, err := spead.NumpyHeader("<i2", spead.OrderC, 1024, 2)
	if err != nil {
		log.Fatal(err)
	}
	voltages := spead.Descriptor{ID: 0x4300, Name: "voltages", Description: "Two polarisations", DType: header}
	samples := make([]int16, 1024*2) // sent from where it lies, where the machine is little-endian

	builder := spead.HeapBuilder{Flavour: spead.Flavour48}
	packetiser, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: spead.Flavour48})
	if err != nil {
		log.Fatal(err)
	}
	packet := make([]byte, 0, packetiser.MaxPacket())
	send := func(cnt uint64) {
		if err := packetiser.Start(cnt, builder.Items()); err != nil {
			log.Fatal(err)
		}
		packets, bytes := 0, 0
		for {
			var more bool
			if packet, more = packetiser.AppendNext(packet[:0]); !more {
				break
			}
			packets++ // conn.Write(packet)
			bytes += len(packet)
		}
		fmt.Printf("heap %d: %d items in %d packets of together %d bytes\n", cnt, len(builder.Items()), packets, bytes)
		builder.Reset()
	}

	for cnt := range uint64(2) {
		if cnt == 0 { // now and then, for receivers that come late
			for _, d := range []*spead.Descriptor{&timestamp, &voltages} {
				if err := builder.Describe(d); err != nil {
					log.Fatal(err)
				}
			}
		}
		if err := builder.Add(&timestamp, cnt*1024); err != nil {
			log.Fatal(err)
		}
		if err := builder.Add(&voltages, samples); err != nil {
			log.Fatal(err)
		}
		send(cnt + 1)
	}
	builder.AddItem(spead.ControlItem(spead.CtrlStop))
	send(3)
	fmt.Println(builder.Add(&voltages, make([]int16, 3)))
	// Output:
	// heap 1: 4 items in 4 packets of together 4578 bytes
	// heap 2: 2 items in 3 packets of together 4232 bytes
	// heap 3: 1 items in 1 packets of together 57 bytes
	// spead: value of item 0x4300 (voltages): 3 elements, and the shape [1024 2] has 2048
}
