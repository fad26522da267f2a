// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/speadx/speadx/internal/netif"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrOtherProgram is in the error of [Steer.Attach] if another XDP program sits on
// the interface. It is left alone.
var ErrOtherProgram = errors.New("another XDP program is attached")

// AttachError says why the program could not be put on an interface.
type AttachError struct {
	Iface string
	Mode  AttachMode
	Err   error
	Other *OtherProgram // what sits there, nil if nothing does
	Hint  string        // the likely remedy; "" where there is no single one
}

func (e *AttachError) Error() string {
	s := fmt.Sprintf("bpf: attach to %s in %v mode: %v", e.Iface, e.Mode, e.Err)
	if e.Other != nil {
		s += fmt.Sprintf(": %v is attached there", e.Other)
	}
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

// Unwrap gives the kernel's error and, if another program was in the way,
// [ErrOtherProgram].
func (e *AttachError) Unwrap() []error {
	if e.Other != nil {
		return []error{e.Err, ErrOtherProgram}
	}
	return []error{e.Err}
}

// OtherProgram is an XDP program that somebody else has on the interface.
type OtherProgram struct {
	ID   uint32 // 0 if unknown
	Name string // "" if unknown: reading it needs CAP_SYS_ADMIN
	Mode string // native, generic, hardware or several
	Link uint32 // the bpf_link that holds it; 0 if none does, or unknown
}

func (o *OtherProgram) String() string {
	s := "XDP program"
	if o.ID != 0 {
		s += fmt.Sprintf(" %d", o.ID)
	}
	if o.Name != "" {
		s += fmt.Sprintf(" %q", o.Name)
	}
	s += fmt.Sprintf(" in %s mode", o.Mode)
	if o.Link != 0 {
		s += fmt.Sprintf(" by link %d", o.Link)
	}
	return s
}

// situation is what the remedy of a failed attachment depends on.
type situation struct {
	iface  string
	mode   AttachMode
	frags  bool
	found  bool // the interface is there, and the fields below hold
	mtu    int
	kind   string // "veth", "bond"…; "device" for hardware
	master bool   // it belongs to a bond, a bridge or the like
	other  *OtherProgram

	offloads netif.Offloads
	features *netif.Features // nil: unknown
}

func newAttachError(ifindex int, ifname string, mode AttachMode, frags bool, err error) *AttachError {
	is := situation{iface: ifname, mode: mode, frags: frags}
	var gone netlink.LinkNotFoundError
	l, linkErr := netlink.LinkByIndex(ifindex)
	if linkErr == nil {
		is.found = true
		is.mtu = l.Attrs().MTU
		is.kind = l.Type()
		is.master = l.Attrs().MasterIndex != 0
		is.offloads = netif.ReadOffloads(l.Attrs().Name)
		is.features = netif.ReadFeatures(ifindex)
	} else if ifindex < 1 || errors.As(linkErr, &gone) {
		err = fmt.Errorf("no interface has index %d: %w", ifindex, unix.ENODEV)
	}
	busy := errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EEXIST)
	if busy && is.found {
		is.other = otherProgram(ifindex, l.Attrs().Xdp)
	}
	return &AttachError{Iface: ifname, Mode: mode, Err: err, Other: is.other, Hint: is.hint(err)}
}

// pageMTU is the largest MTU at which a packet fits a page of 4096 bytes. The kernel needs
// some of the page: 256 bytes of headroom, 320 for struct skb_shared_info, and the Ethernet
// header with two VLAN tags. A driver's buffers are no larger, mostly.
const pageMTU = 4096 - 256 - 320 - 22

// hint is the remedy for what the kernel answered, where the state of the interface shows
// the cause. Through a bpf_link the kernel gives only the number of the error; its words
// go to the tracepoint xdp:bpf_xdp_link_attach_failed.
func (is *situation) hint(err error) string {
	if is.other != nil {
		switch {
		case is.other.Name == "xdp_dispatcher": // libxdp's: several programs behind one
			return fmt.Sprintf("it is never displaced: remove it with xdp-loader unload %s --all", is.iface)
		case is.other.Link != 0:
			return "it is never displaced: stop the process that holds it"
		case is.other.Mode == "native":
			return fmt.Sprintf("it is never displaced: stop its owner, or if nobody owns it, ip link set dev %s xdpdrv off", is.iface)
		case is.other.Mode == "generic":
			return fmt.Sprintf("it is never displaced: stop its owner, or if nobody owns it, ip link set dev %s xdpgeneric off", is.iface)
		}
		return "it is never displaced: stop its owner"
	}
	if !is.found {
		return ""
	}
	refused := is.mode == Native && (errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ERANGE))
	switch {
	case errors.Is(err, unix.EEXIST) && is.master:
		return "the interface above it has an XDP program"
	case errors.Is(err, unix.EBUSY) && !is.frags:
		return fmt.Sprintf("a program without frags cannot run with header split: ethtool -G %s tcp-data-split off", is.iface)
	case errors.Is(err, unix.ENOSPC) && is.kind == "veth":
		return "native XDP on a veth needs as many receive queues as its peer has transmit queues"
	case errors.Is(err, unix.ENOMEM) && is.mode == Native:
		return fmt.Sprintf("the driver lacks queues or memory for XDP: fewer queues may help, ethtool -L %s combined N", is.iface)
	case !refused:
		return ""
	case is.kind != "device" && is.kind != "veth" && errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Sprintf("a %s has no native XDP: use generic mode, or the device below", is.kind)
	case is.features != nil && !is.features.Basic && is.offloads == (netif.Offloads{}):
		return "the driver has no native XDP: use generic mode"
	case is.offloads.LRO:
		return fmt.Sprintf("LRO is on, with which drivers refuse it: ethtool -K %s lro off", is.iface)
	case is.offloads.HWGRO:
		return fmt.Sprintf("hardware GRO is on, with which drivers refuse it: ethtool -K %s rx-gro-hw off", is.iface)
	case is.mtu > pageMTU && !is.frags:
		return fmt.Sprintf("an MTU of %d is more than a buffer holds, and this kernel has no program for packets in several buffers, which Linux 5.18 has: ip link set dev %s mtu %d or less", is.mtu, is.iface, pageMTU)
	case is.mtu > pageMTU && (is.features == nil || !is.features.RxSG):
		return fmt.Sprintf("an MTU of %d is more than a page holds, and the driver does not run programs on packets in several buffers: generic mode, or ip link set dev %s mtu %d or less", is.mtu, is.iface, pageMTU)
	case is.mtu > 1500 && is.mtu <= pageMTU:
		return fmt.Sprintf("an MTU of %d may be more than a buffer of the driver holds: ip link set dev %s mtu 1500 shows whether it is", is.mtu, is.iface)
	case errors.Is(err, unix.EOPNOTSUPP):
		return "the driver has no native XDP: use generic mode"
	}
	return "dmesg may say why"
}

// ProgramOn is the XDP program that is on an interface; nil if there is none.
func ProgramOn(ifindex int) (*OtherProgram, error) {
	l, err := netlink.LinkByIndex(ifindex)
	if err != nil {
		return nil, fmt.Errorf("bpf: interface %d: %w", ifindex, err)
	}
	return otherProgram(ifindex, l.Attrs().Xdp), nil
}

// otherProgram finds out what it can about the program on an interface; nil if
// there is none.
func otherProgram(ifindex int, xdp *netlink.LinkXdp) *OtherProgram {
	if xdp == nil || !xdp.Attached {
		return nil
	}
	other := &OtherProgram{ID: xdp.ProgId}
	switch xdp.AttachMode { // include/uapi/linux/if_link.h, XDP_ATTACHED_*
	case 1:
		other.Mode = "native"
	case 2:
		other.Mode = "generic"
	case 3:
		other.Mode = "hardware"
	default:
		other.Mode = "several"
	}
	if prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(other.ID)); err == nil {
		if info, err := prog.Info(); err == nil {
			other.Name = info.Name
		}
		_ = prog.Close()
	}
	var it link.Iterator
	defer it.Close()
	for it.Next() {
		info, err := it.Link.Info()
		if err != nil || info.XDP() == nil {
			continue
		}
		if info.XDP().Ifindex == uint32(ifindex) && (other.ID == 0 || uint32(info.Program) == other.ID) {
			other.Link = uint32(info.ID)
			break
		}
	}
	return other
}
