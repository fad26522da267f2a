// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"sync"
	"testing"
)

// TestFrameCounts follows frames from ring to ring.
func TestFrameCounts(t *testing.T) {
	q, f := openFake(t, testConfig())
	check := func(what string, want FrameCounts) {
		t.Helper()
		if got := q.FrameCounts(); got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	check("at first", FrameCounts{Fill: 64})
	f.send(packet(1, 9000)) // three frames
	check("sent", FrameCounts{Fill: 61, Ring: 3})
	dst := make([]Packet, 4)
	q.Receive(dst)
	check("received", FrameCounts{Fill: 61, Hand: 3})
	q.Release()
	check("released", FrameCounts{Fill: 64})
	f.fill.take(2)
	f.fill.publish()
	check("taken by the driver", FrameCounts{Fill: 62, Driver: 2})
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed", FrameCounts{})
}

// TestFrameCountsWhileReceiving: they are never negative, and never more than there are.
func TestFrameCountsWhileReceiving(t *testing.T) {
	q, f := openFake(t, testConfig())
	stop := make(chan struct{})
	var watchers sync.WaitGroup
	watchers.Go(func() {
		for {
			c := q.FrameCounts()
			if c.Fill+c.Driver+c.Ring+c.Hand+c.Lost != 64 || min(c.Fill, c.Driver, c.Ring, c.Hand) < 0 {
				t.Errorf("%+v", c)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	dst := make([]Packet, 16)
	for n := range 20000 {
		f.send(dst16[:1+n%16])
		if n%5 == 0 {
			q.Receive(dst)
			q.Release()
		}
	}
	close(stop)
	watchers.Wait()
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}
