// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import "fmt"

// Mode is a way in which packets get from the driver into the UMEM.
type Mode uint8

// The modes, best first.
const (
	ModeZeroCopy Mode = iota // the NIC writes into the UMEM
	ModeNative               // the driver runs the XDP program, the kernel copies
	ModeGeneric              // the network stack runs it, on any interface; the kernel copies
)

func (m Mode) String() string {
	switch m {
	case ModeZeroCopy:
		return "zerocopy"
	case ModeNative:
		return "native"
	case ModeGeneric:
		return "generic"
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// Want is which modes [OpenInterface] may choose from.
type Want uint8

// WantAuto takes the best mode that works, the others exactly one.
const (
	WantAuto Want = iota
	WantZeroCopy
	WantNative
	WantGeneric
)

func (w Want) String() string {
	switch w {
	case WantAuto:
		return "auto"
	case WantZeroCopy:
		return "zerocopy"
	case WantNative:
		return "native"
	case WantGeneric:
		return "generic"
	}
	return fmt.Sprintf("want(%d)", uint8(w))
}

// ParseWant is the inverse of [Want.String].
func ParseWant(s string) (Want, error) {
	for w := WantAuto; w <= WantGeneric; w++ {
		if s == w.String() {
			return w, nil
		}
	}
	return 0, fmt.Errorf("xsk: unknown mode %q (auto, zerocopy, native or generic)", s)
}

// allows reports whether the mode may be tried.
func (w Want) allows(m Mode) bool {
	return w == WantAuto || w == Want(m)+WantZeroCopy
}

// Wait is what [Queue.Wait] does while there is nothing to receive.
type Wait uint8

const (
	WaitPoll Wait = iota // nap for 50 to 400 µs while packets come, else sleep in poll(2)
	WaitSpin             // look at the ring again and again: quickest, costs a core
	WaitBusy             // drive the driver's poll function from here, without interrupts
)

func (w Wait) String() string {
	switch w {
	case WaitPoll:
		return "poll"
	case WaitSpin:
		return "spin"
	case WaitBusy:
		return "busy"
	}
	return fmt.Sprintf("wait(%d)", uint8(w))
}

// ParseWait is the inverse of [Wait.String].
func ParseWait(s string) (Wait, error) {
	for w := WaitPoll; w <= WaitBusy; w++ {
		if s == w.String() {
			return w, nil
		}
	}
	return 0, fmt.Errorf("xsk: unknown way to wait %q (poll, spin or busy)", s)
}
