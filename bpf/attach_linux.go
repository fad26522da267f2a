// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/link"
	"github.com/speadx/speadx/internal/sandbox"
	"golang.org/x/sys/unix"
)

// AttachMode is where on the way of a packet the program runs.
type AttachMode uint8

const (
	Native  AttachMode = iota // in the driver, before the kernel has spent anything on the packet
	Generic                   // in the network core: any interface, but slower
)

func (m AttachMode) String() string {
	switch m {
	case Native:
		return "native"
	case Generic:
		return "generic"
	default:
		return fmt.Sprintf("AttachMode(%d)", uint8(m))
	}
}

// Link keeps the program on an interface. Its methods may be called from any
// goroutine.
type Link struct {
	steer *Steer // keeps the program and its maps reachable
	link  link.Link
}

// Attach puts the program on an interface, named by index and for messages by
// name, of the calling thread's network namespace. It stays until the Link or the
// Steer is closed or the process ends. The mode is used as given, never another.
//
// Errors are an [*AttachError] or a [*PermissionError]. If another program sits
// there, [ErrOtherProgram] is found by errors.Is.
func (s *Steer) Attach(ifindex int, ifname string, mode AttachMode) (*Link, error) {
	var flags link.XDPAttachFlags
	switch mode {
	case Native:
		flags = link.XDPDriverMode
	case Generic:
		flags = link.XDPGenericMode
	default:
		return nil, fmt.Errorf("bpf: attach to %s: no such mode: %v", ifname, mode)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("bpf: attach to %s: the program is closed", ifname)
	}
	if s.joined != nil {
		return s.attachJoined(ifname, mode)
	}
	raw, err := link.AttachXDP(link.XDPOptions{Program: s.prog, Interface: ifindex, Flags: flags})
	if err != nil {
		if errors.Is(err, unix.EPERM) {
			return nil, newPermissionError(fmt.Sprintf("attach to %s in %v mode", ifname, mode), err, sandbox.BPF, sandbox.NetAdmin)
		}
		return nil, newAttachError(ifindex, ifname, mode, s.config.Frags, err)
	}
	s.table.header.Mode = uint32(mode) + 1
	l := &Link{steer: s, link: raw}
	s.links[l] = struct{}{}
	return l, nil
}

// OtherModeError is in the error of [Steer.Attach] if the program that is shared was attached in
// another mode.
type OtherModeError struct {
	Owner Owner
	Mode  AttachMode // in which the owner has it
}

func (e *OtherModeError) Error() string {
	return fmt.Sprintf("%v has the program there in %v mode", e.Owner, e.Mode)
}

// attachJoined is Attach for a program that another receiver has attached.
func (s *Steer) attachJoined(ifname string, mode AttachMode) (*Link, error) {
	if on := AttachMode(s.table.header.Mode - 1); on != mode {
		return nil, &AttachError{Iface: ifname, Mode: mode, Err: &OtherModeError{s.table.list()[0], on}, Hint: fmt.Sprintf("to share it, receive in %v mode too", on)}
	}
	l := &Link{steer: s}
	s.links[l] = struct{}{}
	return l, nil
}

// Close takes the program off the interface, unless other receivers share it: the last of
// them does. It is idempotent, and no error if the interface is gone.
func (l *Link) Close() error {
	l.steer.mu.Lock()
	defer l.steer.mu.Unlock()
	if l.link == nil {
		delete(l.steer.links, l)
		return nil
	}
	delete(l.steer.links, l)
	var err error
	if !l.steer.handed {
		// Detach first: the kernel may put off what closing the descriptor does.
		err = l.link.Detach()
	} // else another receiver may need it
	err = errors.Join(err, l.link.Close())
	l.link = nil
	if err != nil {
		return fmt.Errorf("bpf: detach: %w", err)
	}
	return nil
}
