// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"errors"
	"fmt"
	"strings"

	"github.com/speadx/speadx/internal/pages"
	"github.com/speadx/speadx/internal/sandbox"
	"golang.org/x/sys/unix"
)

// ErrClosed is the error of a Queue that has been closed.
var ErrClosed = errors.New("xsk: queue is closed")

// ErrDown is part of the error of [Queue.Wait] when the interface cannot deliver
// packets any more: it was set down, or is gone.
var ErrDown = errors.New("interface is down or gone")

// ErrNoBusyPoll is part of the error of [Open] where busy polling would be
// accepted by the kernel and do nothing.
var ErrNoBusyPoll = errors.New("busy polling has no effect on this queue")

// OpenError says which step of opening failed, and where.
type OpenError struct {
	Step  string // see the constants Step…
	Iface string
	Queue int // -1 where the step is the whole interface's
	Err   error
	Hint  string // the likely remedy; "" where there is no single one
	// Forbidden is what forbids the socket: "capability", "seccomp", "user-namespace",
	// "lockdown", "policy" or, if the kernel does not have it, "unsupported"; else "".
	Forbidden string
}

// The steps of opening, in their order.
const (
	StepConfig     = "check the settings"
	StepAttach     = "attach the XDP program"
	StepClaim      = "claim the queues"
	StepSocket     = "make the socket"
	StepMemory     = "map memory for the UMEM"
	StepRegister   = "register the UMEM"
	StepFill       = "make the fill ring"
	StepCompletion = "make the completion ring"
	StepRX         = "make the RX ring"
	StepOffsets    = "ask for the rings' layout"
	StepMapFill    = "map the fill ring"
	StepMapRX      = "map the RX ring"
	StepBind       = "bind the socket"
	StepKick       = "ask for the interface's state"
	StepVerify     = "verify the mode"
	StepBusyPoll   = "set up busy polling"
	StepEventfd    = "make the eventfd"
	StepEnable     = "put the socket into the map"
)

func (e *OpenError) Error() string { return "xsk: " + e.reason(" on "+e.Iface) }

// reason is the text without its beginning; where goes behind the step.
func (e *OpenError) reason(where string) string {
	var s strings.Builder
	s.WriteString(e.Step + where)
	if e.Queue >= 0 {
		if where == "" {
			s.WriteString(" of")
		}
		fmt.Fprintf(&s, " queue %d", e.Queue)
	}
	fmt.Fprintf(&s, ": %v", e.Err)
	if e.Hint != "" {
		fmt.Fprintf(&s, " (%s)", e.Hint)
	}
	return s.String()
}

// Unwrap returns the reason, mostly a [unix.Errno].
func (e *OpenError) Unwrap() error { return e.Err }

// hint is what the errno of a step on the way to a bound socket says, where it
// says one thing. What each call may answer is in the kernel's net/xdp/xsk.c,
// xsk_buff_pool.c and xdp_umem.c.
func (c *Config) hint(sys *system, step string, err error) string {
	switch step {
	case StepSocket:
		switch cause := sys.forbidden(err); cause {
		case sandbox.Capability:
			return "needs CAP_NET_RAW"
		case sandbox.Unsupported:
			return "the kernel is built without CONFIG_XDP_SOCKETS"
		default:
			return cause.Remedy()
		}
	case StepRegister:
		switch {
		case errors.Is(err, unix.ENOBUFS):
			size := c.Frames * chunkBytes
			limit, limitErr := sys.memlock()
			if limitErr != nil || limit == unix.RLIM_INFINITY {
				return "raise RLIMIT_MEMLOCK or grant CAP_IPC_LOCK"
			}
			return fmt.Sprintf("the limit of locked memory is %s for all of this user's sockets, this UMEM has %s: raise RLIMIT_MEMLOCK or grant CAP_IPC_LOCK",
				pages.Human(int(limit)), pages.Human(size))
		case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EFAULT):
			return "the UMEM's pages cannot be pinned: memory is short"
		}
	case StepBind, StepKick:
		if step == StepKick && errors.Is(err, unix.EOPNOTSUPP) {
			return "the kernel is too old: Linux 5.11 is needed"
		}
		return c.bindHint(sys, err)
	case StepBusyPoll:
		switch {
		case errors.Is(err, unix.EPERM):
			return "needs CAP_NET_ADMIN"
		case errors.Is(err, ErrNoBusyPoll):
			return "its driver gives the socket no NAPI id: wait by poll or spin"
		}
	}
	return ""
}

func (c *Config) bindHint(sys *system, err error) string {
	switch {
	case errors.Is(err, unix.EBUSY):
		return "another socket holds this queue: ss --xdp -ep shows whose"
	case errors.Is(err, unix.ENETDOWN):
		return fmt.Sprintf("ip link set %s up", c.Ifname)
	case errors.Is(err, unix.ENODEV):
		return noInterface(c.Ifindex)
	case errors.Is(err, unix.ENXIO):
		return "the interface was removed meanwhile"
	case errors.Is(err, unix.EPERM):
		return "a security module forbids it"
	case errors.Is(err, unix.EOPNOTSUPP) && c.Mode == ModeZeroCopy:
		if c.MultiBuffer {
			return "the driver has no zero-copy for packets of several frames"
		}
		return "the driver has no zero-copy"
	case errors.Is(err, unix.EINVAL):
		if c.MultiBuffer && !sys.multiBuffer() {
			return "the kernel has no packets in several frames, which Linux 6.6 has"
		}
		if c.Mode == ModeZeroCopy && c.Driver == "virtio_net" {
			return "virtio_net has zero-copy only where the hypervisor offers VIRTIO_F_ACCESS_PLATFORM; QEMU does with iommu_platform=on,disable-legacy=on"
		}
		if c.Mode == ModeZeroCopy {
			return "the driver refuses zero-copy with this queue, MTU or number of frames: dmesg may say why"
		}
		// The flags are right, so in copy mode one cause remains.
		return fmt.Sprintf("there is no queue %d: ethtool -l %s shows how many there are", c.Queue, c.Ifname)
	}
	return ""
}

func noInterface(index int) string {
	return fmt.Sprintf("no interface with index %d in this network namespace", index)
}
