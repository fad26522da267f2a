// SPDX-License-Identifier: Apache-2.0

package vnet

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// threadNS is the network namespace of the thread that opens it.
const threadNS = "/proc/thread-self/ns/net"

// namespace is an anonymous network namespace, kept alive by a descriptor.
type namespace struct {
	fd int
}

// newNamespace makes an empty namespace. The calling thread is left where it was.
func newNamespace() (*namespace, error) {
	leave, err := keepThread()
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("make a network namespace: %w (CAP_SYS_ADMIN is needed)", err)
	}
	fd, err := unix.Open(threadNS, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", threadNS, err)
	}
	return &namespace{fd: fd}, nil
}

// enter puts the calling goroutine, locked to its thread, into the namespace.
// leave undoes both and has to be called on the same goroutine.
func (ns *namespace) enter() (leave func(), err error) {
	leave, err = keepThread()
	if err != nil {
		return nil, err
	}
	if err := unix.Setns(ns.fd, unix.CLONE_NEWNET); err != nil {
		leave()
		return nil, fmt.Errorf("enter the network namespace: %w", err)
	}
	return leave, nil
}

func (ns *namespace) close() error {
	if ns.fd < 0 {
		return nil
	}
	err := unix.Close(ns.fd)
	ns.fd = -1
	return err
}

// keepThread locks the goroutine to its thread and remembers the thread's
// network namespace. restore returns to it and unlocks the thread.
func keepThread() (restore func(), err error) {
	runtime.LockOSThread()
	old, err := unix.Open(threadNS, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("open %s: %w", threadNS, err)
	}
	return func() {
		err := unix.Setns(old, unix.CLONE_NEWNET)
		_ = unix.Close(old)
		if err != nil {
			return // still locked: the runtime ends this thread with its goroutine
		}
		runtime.UnlockOSThread()
	}, nil
}
