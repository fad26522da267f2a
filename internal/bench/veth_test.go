// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestVethOptionsDefaults(t *testing.T) {
	var o VethOptions
	if err := o.Complete(); err != nil {
		t.Fatal(err)
	}
	want := VethOptions{
		Payloads: []int{3072, 1408}, Senders: []int{1, 64}, Jumbo: 8192, Heap: 1 << 20, Rounds: 11, Trial: 100 * time.Millisecond, Frames: 8192,
	}
	if !reflect.DeepEqual(o, want) {
		t.Errorf("%+v, want %+v", o, want)
	}
	o = VethOptions{Payloads: []int{8, 3300}, Senders: []int{256}, Jumbo: -1, Spead2: "x", Spead2Bench: "y", Only: []string{Spead2, Spead2Tuned, Spead2Bench, Drain}, Paced: 1, Rounds: 1, Trial: 1, Heap: 1, Frames: 1}
	want = o
	if err := o.Complete(); err != nil || !reflect.DeepEqual(o, want) {
		t.Errorf("%v: what was asked for became %+v", err, o)
	}
}

func TestVethOptionsRefused(t *testing.T) {
	for _, tt := range []struct {
		o    VethOptions
		want string
	}{
		{VethOptions{Payloads: []int{3072, 7}}, "packets of 7 bytes of payload cannot be had from blast (8 to 3300)"},
		{VethOptions{Payloads: []int{3301}}, "packets of 3301 bytes"},
		{VethOptions{Payloads: []int{64, 65, 64}}, "packets of 64 bytes of payload stand there twice"},
		{VethOptions{Senders: []int{1, 0}}, "0 senders at once cannot be had from blast (1 to 256)"},
		{VethOptions{Senders: []int{257}}, "257 senders at once"},
		{VethOptions{Senders: []int{2, 3, 2}}, "2 senders stand there twice"},
		{VethOptions{Jumbo: 8901}, "packets of 8901 bytes of payload do not fit an MTU of 9000 (at most 8900)"},
		{VethOptions{Jumbo: 1}, "jumbo packets of 1 bytes of payload are too small"},
		{VethOptions{Rounds: -1}, "-1 rounds"},
		{VethOptions{Trial: -1}, "trials of -1ns"},
		{VethOptions{Trial: time.Hour}, "trials of 1h0m0s"},
		{VethOptions{Heap: -1}, "heaps of -1 bytes"},
		{VethOptions{Heap: math.MaxInt64}, "cannot be"},
		{VethOptions{Frames: -1}, "-1 frames are no power of two"},
		{VethOptions{Frames: 1000}, "1000 frames are no power of two"},
		{VethOptions{Paced: -1}, "-1 Gb/s is no pace"},
		{VethOptions{Paced: math.NaN()}, "NaN Gb/s is no pace"},
		{VethOptions{Paced: math.Inf(1)}, "+Inf Gb/s is no pace"},
		{VethOptions{Only: []string{Drain, "nobody"}}, `no contestant is called "nobody" (there are: drain, drain nap, drain copy, speadx native, speadx native spin, speadx default, speadx generic, speadx udp, asavie)`},
		{VethOptions{Only: []string{Spead2}}, `no contestant is called "spead2_recv"`},
		{VethOptions{Only: []string{Spead2Tuned}}, `no contestant is called "spead2_recv tuned"`},
		{VethOptions{Spead2: "x", Only: []string{Spead2Bench}}, `no contestant is called "spead2_bench"`},
	} {
		if err := tt.o.Complete(); err == nil || !strings.HasPrefix(err.Error(), "bench veth: ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: error %v, want %q", tt.o, err, tt.want)
		}
	}
}
