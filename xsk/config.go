// SPDX-License-Identifier: Apache-2.0

//go:build linux

package xsk

import (
	"fmt"
	"math/bits"

	"github.com/speadx/speadx/pool"
)

// Defaults and limits of [Config].
const (
	DefaultFrames   = 8192 // 32 MiB: 7 ms of 8 KiB packets at 25 Gb/s
	DefaultMaxChain = 18   // 64 KiB, the largest IP packet, in frames of 4096
	MinFrames       = 2
	MaxFrames       = 1 << 24
)

// Config says what [Open] shall open.
type Config struct {
	Ifindex int    // the interface, in the caller's network namespace
	Ifname  string // its name, for messages
	Driver  string // its driver, for hints; "": unknown
	Queue   int    // its receive queue, from 0

	// Frames is the number of frames, and of slots of both rings: what can arrive
	// while nobody reads. A power of two; 0: [DefaultFrames]. In zero-copy at
	// least twice the NIC's own ring.
	Frames int

	// Mode is the mode in which the XDP program is attached. What cannot be had
	// is an error: nothing falls back silently.
	Mode Mode

	// MultiBuffer lets packets span frames (XDP_USE_SG). Without it the kernel drops what
	// is longer than one, 3840 bytes. Needs a kernel that has it, as Linux 6.6, and an
	// XDP program with frags.
	MultiBuffer bool

	// MaxChain is the number of frames a packet may span; longer ones are dropped
	// and counted. 0: [DefaultMaxChain], or Frames-1 if that is less.
	MaxChain int

	Wait Wait // what Wait does while there is nothing to receive

	Pages pool.Pages // of the UMEM; 1 GiB pages are not used for it
	Node  int        // NUMA node of the UMEM, that of the NIC; -1: any

	// Touched is called while the UMEM is touched, by several threads. Its error is that of
	// Open. May be nil.
	Touched func(bytes, of int) error
}

// check refuses what cannot work, before the first system call, and puts the
// defaults in.
func (c *Config) check() error {
	if c.Ifname == "" {
		c.Ifname = fmt.Sprintf("interface %d", c.Ifindex)
	}
	if c.Frames == 0 {
		c.Frames = DefaultFrames
	}
	if c.MaxChain == 0 {
		c.MaxChain = min(DefaultMaxChain, c.Frames-1)
	}
	var err error
	switch {
	case c.Ifindex <= 0:
		err = fmt.Errorf("interface index %d", c.Ifindex)
	case c.Queue < 0:
		err = fmt.Errorf("queue %d", c.Queue)
	case c.Frames < 0 || bits.OnesCount(uint(c.Frames)) != 1:
		err = fmt.Errorf("%d frames: not a power of two", c.Frames)
	case c.Frames < MinFrames || c.Frames > MaxFrames:
		err = fmt.Errorf("%d frames: outside %d to %d", c.Frames, MinFrames, MaxFrames)
	case c.MaxChain < 1 || c.MaxChain >= c.Frames:
		err = fmt.Errorf("packets of up to %d frames: outside 1 to %d, one less than there are", c.MaxChain, c.Frames-1)
	case c.Mode > ModeGeneric:
		err = fmt.Errorf("unknown %v", c.Mode)
	case c.Wait > WaitBusy:
		err = fmt.Errorf("unknown %v", c.Wait)
	default:
		return nil
	}
	return c.failed(StepConfig, err, "")
}

func (c *Config) failed(step string, err error, hint string) *OpenError {
	return &OpenError{Step: step, Iface: c.Ifname, Queue: c.Queue, Err: err, Hint: hint}
}

// chunkBytes is the size of a frame. Kernels accept a power of two from 2048 to one page
// (xdp_umem_reg). On machines with pages of 64 KiB it is not a page: 8192 frames of that
// size would be 512 MiB a queue.
const chunkBytes = 4096

// headroom is what the kernel keeps free at the beginning of each frame for the
// XDP program (XDP_PACKET_HEADROOM).
const headroom = 256

// maxFrame is the longest Ethernet frame that one frame of the UMEM takes.
const maxFrame = chunkBytes - headroom

// OneFrameMTU is the largest MTU at which every packet fits one frame of the UMEM. In
// zero-copy the kernel demands MTU+26 (Ethernet header, two VLAN tags, FCS) within what
// is left of the frame, in units of 128 (xp_assign_dev, xsk_pool_get_rx_frame_size).
const OneFrameMTU = maxFrame&^127 - 26
