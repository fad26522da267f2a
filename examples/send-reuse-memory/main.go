// SPDX-License-Identifier: Apache-2.0

// Send-reuse-memory sends heaps as a digitiser does, as fast as it can, out of two
// buffers that it uses again and again: the sender of docs/tutorial-memory-pools.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/speadx/speadx/spead"
)

// flavour is what spead2 and PySPEAD send by default.
const flavour = spead.Flavour40

// descriptorSlack is room for the descriptors in the first heap.
const descriptorSlack = 8192

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("send-reuse-memory", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "Usage: send-reuse-memory [-n heaps] [-H heap-size] [-p packet-size] host port")
	}
	heaps := flags.Int("n", 1000, "heaps to send")
	heapSize := flags.Int64("H", 1<<20, "bytes of samples in a heap")
	packet := flags.Int("p", spead.DefaultMaxPacket, "largest UDP payload")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if flags.NArg() != 2 || *heaps < 0 || *heapSize < 1 {
		flags.Usage()
		return 2
	}
	packetiser, err := spead.NewPacketiser(spead.PacketiserConfig{Flavour: flavour, MaxPacket: *packet})
	if most := int64(flavour.MaxValue()) - descriptorSlack; err == nil && *heapSize > most {
		err = fmt.Errorf("heaps of %d bytes do not fit into SPEAD-%v (at most %d)", *heapSize, flavour, most)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		flags.Usage()
		return 2
	}
	conn, err := net.Dial("udp", net.JoinHostPort(flags.Arg(0), flags.Arg(1)))
	if err == nil {
		defer conn.Close()
		var elapsed time.Duration
		if elapsed, err = send(conn, packetiser, *heaps, *heapSize); err == nil {
			fmt.Fprintf(stdout, "%.6g MB/s\n", float64(*heapSize)*float64(*heaps)/elapsed.Seconds()/1e6)
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// send sends heaps and a stop heap, each packet by one Write, and says how long the
// heaps took.
func send(w io.Writer, packetiser *spead.Packetiser, heaps int, heapSize int64) (time.Duration, error) {
	timestamp := spead.Descriptor{
		ID: 0x1600, Name: "timestamp", Description: "Index of the first sample",
		Format: []spead.FormatField{{Type: 'u', Bits: uint64(flavour.AddrBits())}},
	}
	header, err := spead.NumpyHeader("i1", spead.OrderC, heapSize)
	if err != nil {
		return 0, err
	}
	samples := spead.Descriptor{ID: 0x3300, Name: "adc_samples", Description: "ADC converter output", DType: header}

	// Two buffers go round: one is filled while the other is being sent.
	filled, empty := make(chan []int8, 2), make(chan []int8, 2)
	defer close(empty) // ends the goroutine, also after an error
	empty <- make([]int8, heapSize)
	empty <- make([]int8, heapSize)
	go func() {
		for i := 0; i < heaps; i++ {
			buffer, ok := <-empty
			if !ok {
				return
			}
			for j := range buffer {
				buffer[j] = int8(i)
			}
			filled <- buffer
		}
	}()

	builder := spead.HeapBuilder{Flavour: flavour}
	packet := make([]byte, 0, packetiser.MaxPacket())
	sendHeap := func(cnt uint64) error {
		defer builder.Reset()
		if err := packetiser.Start(cnt, builder.Items()); err != nil {
			return err
		}
		for {
			var more bool
			if packet, more = packetiser.AppendNext(packet[:0]); !more {
				return nil
			}
			if _, err := w.Write(packet); err != nil {
				return err
			}
		}
	}

	began := time.Now()
	for i := range heaps {
		if i == 0 {
			if err := builder.Describe(&timestamp); err != nil {
				return 0, err
			}
			if err := builder.Describe(&samples); err != nil {
				return 0, err
			}
		}
		buffer := <-filled
		if err := builder.Add(&timestamp, timestampOf(i, heapSize)); err != nil {
			return 0, err
		}
		if err := builder.Add(&samples, buffer); err != nil { // refers to the buffer
			return 0, err
		}
		if err := sendHeap(uint64(i) + 1); err != nil {
			return 0, err
		}
		empty <- buffer
	}
	elapsed := time.Since(began)
	builder.AddItem(spead.ControlItem(spead.CtrlStop))
	return elapsed, sendHeap(uint64(heaps) + 1)
}

// timestampOf is the index of the first sample of heap i. It begins again at 0 when its
// bits are used up.
func timestampOf(i int, heapSize int64) uint64 {
	return uint64(i) * uint64(heapSize) & flavour.MaxValue()
}
