// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// LadderError says why each mode failed.
type LadderError struct {
	Iface string
	Rungs []Rung
}

func (e *LadderError) Error() string {
	if len(e.Rungs) == 1 {
		return fmt.Sprintf("xsk: %s cannot have %s: %s", e.Iface, e.Rungs[0].Name(), e.Rungs[0].Reason())
	}
	var s strings.Builder
	fmt.Fprintf(&s, "xsk: no mode works on %s", e.Iface)
	separator := ": "
	for _, r := range e.Rungs {
		fmt.Fprintf(&s, "%s%s: %s", separator, r.Name(), r.Reason())
		separator = "; "
	}
	return s.String()
}

// Unwrap returns the reasons of all rungs.
func (e *LadderError) Unwrap() []error {
	errs := make([]error, len(e.Rungs))
	for n, r := range e.Rungs {
		errs[n] = r.Err
	}
	return errs
}

// Cause is why a mode is not in use, for programs to compare.
type Cause string

// The causes. The first ones are known before the mode is tried.
const (
	NoZeroCopy    Cause = "no-zerocopy"     // the driver says that it has no zero-copy
	NoNative      Cause = "no-native"       // the driver says that it runs no XDP programs
	OffloadOn     Cause = "offload-on"      // likewise, while a receive offload is on
	NoRedirect    Cause = "no-redirect"     // it runs them, and cannot pass their packets to sockets
	NoMultiBuffer Cause = "no-multi-buffer" // a packet may need several frames, and the kernel fills only one
	OneFrame      Cause = "one-frame"       // likewise the driver, in zero-copy
	DriverFault   Cause = "driver-fault"    // it works, but the driver has a fault that damages data
	AttachRefused Cause = "attach-refused"  // kernel or driver refused the XDP program
	BindRefused   Cause = "bind-refused"    // kernel or driver refused the socket
	Failed        Cause = "failed"          // another step failed
)

// CauseError says that a mode cannot work, without that it was tried.
type CauseError struct {
	Cause Cause
	MTU   int // of the interface; 0: unknown

	Iface    string   // of OffloadOn
	Offloads []string // those that are on, by ethtool's names
}

func (e *CauseError) Error() string {
	mtu := "unknown MTU"
	if e.MTU > 0 {
		mtu = fmt.Sprintf("MTU %d", e.MTU)
	}
	switch e.Cause {
	case NoZeroCopy:
		return "the driver has no zero-copy"
	case NoNative:
		return "the driver has no native XDP"
	case OffloadOn:
		on, off := "is", ""
		if len(e.Offloads) > 1 {
			on = "are"
		}
		for _, o := range e.Offloads {
			off += " " + o + " off"
		}
		return fmt.Sprintf("the driver offers no native XDP while %s %s on (ethtool -K %s%s)", strings.Join(e.Offloads, " and "), on, e.Iface, off)
	case NoRedirect:
		return "the driver's native XDP cannot pass packets to AF_XDP sockets, and would drop them"
	case NoMultiBuffer:
		return fmt.Sprintf("%s needs packets in several frames, which this kernel does not have (Linux 6.6 does; an MTU of %d or less needs one frame)", mtu, OneFrameMTU)
	case DriverFault:
		return "the driver has a fault in this mode, which damages data when frames run out (to ask for the mode by name overrules this)"
	case OneFrame:
		return fmt.Sprintf("the driver's zero-copy takes packets of one frame only (%s, zero-copy would need at most %d)", mtu, OneFrameMTU)
	}
	return string(e.Cause)
}

// ZeroCopyFault reports whether the zero-copy of a driver has a fault for which WantAuto
// does not take it.
//
// igb has one since its zero-copy came with Linux 6.14, and in 7.3 too. The fill ring may run
// empty near the end of the NIC's ring. Then igb_alloc_rx_buffers_zc leaves without clearing
// the length of the next descriptor. By that length igb_clean_rx_irq_zc knows where to stop.
// So it goes on through old descriptors, and hands out a whole ring of frames that were
// handed out before. The driver counts that many packets more than the NIC does. A frame is
// then in two places, and the NIC writes into it while it is read. ice, i40e and ixgbe
// compare indices instead. hack/vm shows the fault (TestIgbStaleDescriptors).
func ZeroCopyFault(driver string) bool { return driver == "igb" }

// ladder is the wanted modes, best first. A rung that cannot work comes with its
// error. Native and generic mode use multi-buffer wherever the kernel has it: it
// changes nothing for packets of one frame. A kernel without it drops packets that are
// longer than a frame. [WantAuto] does not take such a mode at an MTU that allows such
// packets. A mode that was asked for is taken, since the packets may be shorter than
// the MTU.
func (c *InterfaceConfig) ladder(multiBuffer bool) []Rung {
	f := c.Features
	if f == nil { // nothing is known: all is tried
		f = &Features{Native: true, Redirect: true, ZeroCopy: true}
	}
	var rungs []Rung
	add := func(m Mode, multiBuffer bool, cause Cause) {
		if !c.Want.allows(m) {
			return
		}
		r := Rung{Mode: m, MultiBuffer: multiBuffer}
		if cause != "" {
			e := &CauseError{Cause: cause, MTU: c.MTU}
			if cause == OffloadOn {
				e.Iface, e.Offloads = c.Ifname, c.Offloads
			}
			r.Err = e
		}
		rungs = append(rungs, r)
	}
	fits := c.MTU > 0 && c.MTU <= OneFrameMTU
	driver := Cause("")
	switch {
	case !f.Native && len(c.Offloads) > 0: // mlx5 then says that it has no XDP at all
		driver = OffloadOn
	case !f.Native:
		driver = NoNative
	case !f.Redirect:
		driver = NoRedirect
	}
	frames := Cause("")
	if !fits && !multiBuffer {
		frames = NoMultiBuffer
	}
	copied := frames
	if c.Want != WantAuto {
		copied = ""
	}

	zeroCopy := cmp.Or(driver, frames)
	switch {
	case driver == OffloadOn:
	case !f.ZeroCopy:
		zeroCopy = NoZeroCopy
	case zeroCopy == "" && !fits && f.ZCMaxChain == 1:
		zeroCopy = OneFrame
	case zeroCopy == "" && c.Want == WantAuto && c.Features != nil && ZeroCopyFault(c.Driver):
		zeroCopy = DriverFault
	}
	add(ModeZeroCopy, !fits, zeroCopy)
	native := driver
	if c.Driver == "nfp" && native == "" { // nfd3/dp.c has no XDP_REDIRECT, only its zero-copy has
		native = NoRedirect
	}
	add(ModeNative, multiBuffer, cmp.Or(native, copied))
	add(ModeGeneric, multiBuffer, copied)
	return rungs
}

// final says that no other mode can do better.
func final(err error) bool {
	var e *OpenError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Step {
	case StepAttach, StepBind, StepKick:
		for _, errno := range []unix.Errno{unix.EPERM, unix.EACCES, unix.ENODEV, unix.ENETDOWN, unix.ENXIO} {
			if errors.Is(err, errno) {
				return true
			}
		}
		return false
	}
	// Whatever comes before bind, and busy polling, does not depend on the mode.
	return e.Step != StepVerify
}
