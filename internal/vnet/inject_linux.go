// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Inject sends Ethernet frames, as they are, out of A, in order. A frame may be
// as long as the MTU and its Ethernet header, and one VLAN tag more. All frames
// have been handed to B when it returns without an error, but nothing says that
// a program there has seen them yet.
func (n *Net) Inject(frames [][]byte) error {
	var fd int
	var err error
	if nsErr := n.A.Do(func() {
		// Protocol 0: this socket receives nothing.
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	}); nsErr != nil {
		return nsErr
	}
	if err != nil {
		return fmt.Errorf("vnet: open a packet socket: %w", err)
	}
	defer unix.Close(fd)
	to := &unix.SockaddrLinklayer{Ifindex: n.A.Index}
	for k, frame := range frames {
		if err := sendFrame(fd, to, frame); err != nil {
			return fmt.Errorf("vnet: inject frame %d of %d bytes on %s: %w", k, len(frame), n.A.Name, err)
		}
	}
	return nil
}

// sendFrame retries while the wire is full: a veth holds 256 frames a queue and
// says ENOBUFS of one more, which it drops.
func sendFrame(fd int, to unix.Sockaddr, frame []byte) error {
	deadline := time.Time{}
	for {
		err := unix.Sendto(fd, frame, 0, to)
		if !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EINTR) {
			return err
		}
		now := time.Now()
		if deadline.IsZero() {
			deadline = now.Add(5 * time.Second)
		}
		if now.After(deadline) {
			return err
		}
		runtime.Gosched()
	}
}
