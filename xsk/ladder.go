//go:build linux

package xsk

import (
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

// ladder is the wanted modes, best first. A rung that cannot work comes with its
// error. Native and generic mode use multi-buffer wherever the kernel has it: it
// changes nothing for packets of one frame.
func (c *InterfaceConfig) ladder(release string) []Rung {
	oldKernel := tooOldForMultiBuffer(release)
	f := c.Features
	var rungs []Rung
	add := func(m Mode, multiBuffer bool, err error) {
		if c.Want.allows(m) {
			rungs = append(rungs, Rung{Mode: m, MultiBuffer: multiBuffer, Err: err})
		}
	}

	noZeroCopy := f != nil && !f.ZeroCopy
	fits := c.MTU > 0 && c.MTU <= zeroCopyMTU()
	switch {
	case noZeroCopy:
		add(ModeZeroCopy, !fits, errors.New("the driver has no zero-copy"))
	case fits:
		add(ModeZeroCopy, false, nil)
	case oldKernel:
		add(ModeZeroCopy, true, fmt.Errorf("%s, larger than %d, needs multi-buffer: kernel %s is older than 6.6", c.mtu(), zeroCopyMTU(), release))
	case f != nil && f.ZCMaxChain == 1:
		add(ModeZeroCopy, true, fmt.Errorf("the driver's zero-copy takes packets of one frame only (%s, zero-copy would need at most %d)", c.mtu(), zeroCopyMTU()))
	default:
		add(ModeZeroCopy, true, nil)
	}

	var noNative error
	if f != nil && !f.Native {
		noNative = errors.New("the driver has no native XDP")
	}
	add(ModeNative, !oldKernel, noNative)
	add(ModeGeneric, !oldKernel, nil)
	return rungs
}

func (c *InterfaceConfig) mtu() string {
	if c.MTU == 0 {
		return "unknown MTU"
	}
	return fmt.Sprintf("MTU %d", c.MTU)
}

// final says that no other mode can do better.
func final(err error) bool {
	var e *OpenError
	if !errors.As(err, &e) {
		return false
	}
	switch e.Step {
	case StepAttach, StepBind:
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

// attachHint is what the errno of attaching the program says.
func (c *InterfaceConfig) attachHint(sys *system, m Mode, frags bool, err error) string {
	if strings.HasSuffix(err.Error(), ")") {
		return "" // the Attacher has said what helps
	}
	large := !frags && (c.MTU == 0 || c.MTU > 3000) // no driver takes more in one buffer than 4096 less its headrooms
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "needs CAP_NET_ADMIN and CAP_BPF"
	case errors.Is(err, unix.EBUSY):
		return fmt.Sprintf("another XDP program is on the interface: ip -d link show %s", c.Ifname)
	case errors.Is(err, unix.EEXIST):
		return "another XDP program is on the interface in another mode, or on the bond above it"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.EINVAL) && !sys.exists(c.Ifindex):
		return noInterface(c.Ifindex) // for a bpf_link the kernel calls that EINVAL
	case errors.Is(err, unix.ENOSPC):
		return "it has fewer receive queues than its peer has transmit queues"
	case errors.Is(err, unix.ENOMEM) && m != ModeGeneric:
		return "the driver lacks queues or memory for XDP: use fewer queues, ethtool -L"
	case large && m != ModeGeneric && (errors.Is(err, unix.ERANGE) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)):
		return fmt.Sprintf("%s needs an XDP program with frags, which needs kernel 6.6 here; else lower it to 3498 or less", c.mtu())
	case errors.Is(err, unix.ERANGE):
		return fmt.Sprintf("%s is too large for XDP on this driver", c.mtu())
	case errors.Is(err, unix.EOPNOTSUPP) && m != ModeGeneric:
		return "the driver has no native XDP, or not with LRO or HW-GRO on, or not at this MTU: dmesg may say why"
	case errors.Is(err, unix.EINVAL) && m != ModeGeneric:
		return "the driver refuses: LRO, MTU or the number of queues; dmesg may say why"
	}
	return ""
}

// tooOldForMultiBuffer says that the kernel has no XDP_USE_SG. A release that
// cannot be read is taken for a new one: the kernel then says so itself.
func tooOldForMultiBuffer(release string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n != 2 {
		return false
	}
	return major < 6 || major == 6 && minor < 6
}
