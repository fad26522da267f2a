// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"net/netip"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/speadx/speadx/internal/testnet"
	"golang.org/x/sys/unix"
)

// Each CPU counts in its own slot.
func TestCountersByCPU(t *testing.T) {
	s := load(t, SteerConfig{Queues: 3})
	addEndpoints(t, s, netip.AddrPortFrom(group, ourPort))
	frame := frameTo(group, ourPort)

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.SchedSetaffinity(0, &allowed); err != nil {
			t.Error(err)
		}
	}()
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	var sum uint64
	for cpu := range cpus {
		if !allowed.IsSet(cpu) {
			continue
		}
		var one unix.CPUSet
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Fatal(err)
		}
		for range cpu + 1 {
			run(t, s, frame, nil)
		}
		sum += uint64(cpu + 1)
	}
	for cpu := -1; cpu <= cpus; cpu++ {
		for queue := -1; queue <= 4; queue++ {
			var want Counters
			if queue == 0 && cpu >= 0 && cpu < cpus && allowed.IsSet(cpu) {
				n := uint64(cpu + 1)
				want = Counters{Matched: n, NoSocket: n}
			}
			if got := s.PerCPU(cpu, queue); got != want {
				t.Errorf("CPU %d, queue %d: %+v, want %+v", cpu, queue, got, want)
			}
		}
	}
	want := Counters{Matched: sum, NoSocket: sum}
	if got := s.Counters(0); got != want {
		t.Errorf("queue 0: %+v, want %+v", got, want)
	}
	if got := s.Total(); got != want {
		t.Errorf("total %+v, want %+v", got, want)
	}
}

// Packets are counted and sent by the queue they came from; queues without a place
// in the map are left to the kernel and counted together.
func TestCountersByQueue(t *testing.T) {
	n := testnet.New(t, testnet.Options{Queues: 4})
	s := load(t, SteerConfig{Queues: 2, Frags: true})
	addEndpoints(t, s, netip.AddrPortFrom(group, ourPort))
	// A veth registers its queues for XDP only while it has a program.
	if _, err := s.Attach(n.B.Index, n.B.Name, Native); err != nil {
		t.Fatal(err)
	}
	if err := s.SetSocket(1, xdpSocket(t)); err != nil {
		t.Fatal(err)
	}
	frame := frameTo(group, ourPort)
	for queue := range 4 {
		want := uint32(xdpPass)
		if queue == 1 {
			want = xdpRedirect
		}
		for range queue + 1 {
			md := &xdpMD{IngressIfindex: uint32(n.B.Index), RxQueueIndex: uint32(queue)}
			if action := run(t, s, frame, md); action != want {
				t.Errorf("queue %d: action %d, want %d", queue, action, want)
			}
		}
	}
	for queue, want := range []Counters{
		{Matched: 1, NoSocket: 1},
		{Matched: 2},
		{Matched: 7, NoSocket: 7}, // those of queues 2 and 3
		{Matched: 7, NoSocket: 7},
	} {
		if got := s.Counters(queue); got != want {
			t.Errorf("queue %d: %+v, want %+v", queue, got, want)
		}
	}
	if got, want := s.Total(), (Counters{Matched: 10, NoSocket: 8}); got != want {
		t.Errorf("total %+v, want %+v", got, want)
	}
}

func TestCountersAllocateNothing(t *testing.T) {
	s := load(t, SteerConfig{Queues: 8})
	var sink Counters
	if n := testing.AllocsPerRun(100, func() {
		sink = s.Counters(3)
		sink.add(s.Total())
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
