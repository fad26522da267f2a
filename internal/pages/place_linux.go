// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"errors"
	"fmt"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// bind places b, whose pages are not there yet, on node: strictly if the
// kernel will, else as a preference, else anywhere, with a note. Containers
// refuse mbind without CAP_SYS_NICE (EPERM), kernels without NUMA lack it.
func (k *kernel) bind(m *Mapping, b []byte, node int) {
	if node < 0 {
		return
	}
	err := k.mbind(b, unix.MPOL_BIND, node)
	if err == nil {
		m.Node = node
		return
	}
	k.prefer(m, b, node, err.Error())
}

// prefer asks for node without insisting; reason says why it is not bound.
func (k *kernel) prefer(m *Mapping, b []byte, node int, reason string) {
	if err := k.mbind(b, unix.MPOL_PREFERRED, node); err != nil {
		m.note("not bound to node %d: %s; nor preferred there: %v", node, reason, err)
		return
	}
	m.note("not bound to node %d, only preferred there: %s", node, reason)
}

// populate makes every page of b, which begins on a page, present and writable.
func (k *kernel) populate(b []byte, page int) error {
	err := k.madvise(b, unix.MADV_POPULATE_WRITE)
	if errors.Is(err, unix.EINVAL) { // before Linux 5.14
		err = touch(b, page)
	}
	switch {
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EFAULT):
		return fmt.Errorf("%w: %w", ErrMemory, err)
	default:
		return err
	}
}

// touch writes a zero to each page of b, which is fresh memory. A page that
// cannot be had is SIGBUS; here it becomes EFAULT, as MADV_POPULATE_WRITE has it.
func touch(b []byte, page int) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch r := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // the runtime's error for a fault
			err = unix.EFAULT
		default:
			panic(r)
		}
	}()
	for i := 0; i < len(b); i += page {
		b[i] = 0
	}
	return nil
}

// verifyTHP returns nil if all of b lies on transparent huge pages. What the
// faults did not get, on fragmented memory, it asks the kernel to collapse now
// (Linux 6.1) rather than leave to khugepaged's leisure. The error is a [stopped] if
// Touched of o ended that.
func (k *kernel) verifyTHP(b []byte, page int, o Options) error {
	got, err := k.anonHuge(b)
	if err == nil && got < len(b) {
		if err := k.inParts(b, page, o, func(part []byte) error {
			// Refused or too old: the count below decides.
			_ = k.madvise(part, unix.MADV_COLLAPSE)
			return o.touched(len(b), len(b))
		}); err != nil {
			return err
		}
		got, err = k.anonHuge(b)
	}
	if err != nil {
		return fmt.Errorf("they cannot be counted: %w", err)
	}
	if got < len(b) {
		return fmt.Errorf("%s needed, got %s (memory is fragmented: echo 1 > /proc/sys/vm/compact_memory)", Human(len(b)), Human(got))
	}
	return nil
}

// lock keeps b from being swapped out. Refusal costs nothing where there is no
// swap, so it is a note.
func (k *kernel) lock(m *Mapping, b []byte) {
	err := k.mlock(b)
	switch {
	case err == nil:
	case errors.Is(err, unix.ENOMEM), errors.Is(err, unix.EPERM), errors.Is(err, unix.EAGAIN):
		m.note("not locked: %v (RLIMIT_MEMLOCK is below %s: raise ulimit -l, or LimitMEMLOCK of the systemd unit)", err, Human(len(b)))
	default:
		m.note("not locked: %v", err)
	}
}
