// SPDX-License-Identifier: Apache-2.0

// Package sandbox finds out what forbids a system call to this process: a seccomp filter, a
// user namespace, the kernel's lockdown, or a kernel that does not have it. An errno alone
// does not tell: RestrictAddressFamilies of systemd answers as a kernel without AF_XDP does.
//
// [Look] reads what the kernel says of the calling thread. Its result is a value, and may be
// used by any number of goroutines.
package sandbox

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Cause is what forbids something, for programs to compare.
type Cause string

// The causes.
const (
	Unknown       Cause = ""
	Unsupported   Cause = "unsupported"    // the kernel does not have it
	Capability    Cause = "capability"     // a capability is missing
	Seccomp       Cause = "seccomp"        // a filter of system calls
	UserNamespace Cause = "user-namespace" // capabilities of it do not count outside
	Lockdown      Cause = "lockdown"       // the kernel protects itself from root
	Policy        Cause = "policy"         // a security module, probably
)

// Evidence is what the kernel tells of the calling thread.
type Evidence struct {
	Seccomp       bool   // a filter is on it
	UserNamespace bool   // it is not in the first one
	Lockdown      string // "integrity" or "confidentiality"; "" is none, or unknown
	// XDPSockets reports whether the kernel has AF_XDP; XDPKnown whether that is known.
	XDPSockets, XDPKnown bool
}

// Look gathers the evidence. What cannot be read counts as not there.
func Look() Evidence { return look(os.ReadFile) }

func look(read func(string) ([]byte, error)) Evidence {
	var e Evidence
	if status, err := read("/proc/thread-self/status"); err == nil {
		for line := range bytes.Lines(status) {
			if mode, found := bytes.CutPrefix(line, []byte("Seccomp:")); found {
				e.Seccomp = string(bytes.TrimSpace(mode)) != "0"
			}
		}
	}
	if uids, err := read("/proc/self/uid_map"); err == nil {
		e.UserNamespace = !bytes.Equal(bytes.Join(bytes.Fields(uids), []byte(" ")), []byte("0 0 4294967295"))
	}
	// "none [integrity] confidentiality"
	if modes, err := read("/sys/kernel/security/lockdown"); err == nil {
		if _, after, found := strings.Cut(string(modes), "["); found {
			if mode, _, _ := strings.Cut(after, "]"); mode != "none" {
				e.Lockdown = mode
			}
		}
	}
	// Each family registers its protocol.
	protocols, err := read("/proc/thread-self/net/protocols")
	e.XDPKnown = err == nil && len(protocols) > 0
	for line := range bytes.Lines(protocols) {
		if name := bytes.Fields(line); len(name) > 0 && string(name[0]) == "XDP" {
			e.XDPSockets = true
		}
	}
	return e
}

// Refused reports whether an error can be that of a sandbox.
func Refused(err error) bool {
	for _, errno := range []unix.Errno{unix.EPERM, unix.EACCES, unix.ENOSYS} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return errors.Is(err, fs.ErrPermission)
}

// OfSocket is why a socket of AF_XDP was refused, to a thread that has CAP_NET_RAW or not.
func (e Evidence) OfSocket(err error, capable bool) Cause {
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT) && e.XDPKnown && !e.XDPSockets:
		return Unsupported
	case errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.ENOSYS):
		if e.Seccomp {
			return Seccomp
		}
		if e.XDPSockets {
			return Policy
		}
		return Unsupported
	}
	return e.OfPrivilege(err, capable)
}

// OfPrivilege is why a privileged call was refused, to a thread that has the capabilities
// which it needs or not.
func (e Evidence) OfPrivilege(err error, capable bool) Cause {
	switch {
	case !Refused(err):
		return Unknown
	case errors.Is(err, unix.ENOSYS) && e.Seccomp:
		return Seccomp
	case errors.Is(err, unix.ENOSYS):
		return Unsupported
	case !capable:
		return Capability
	case e.UserNamespace:
		return UserNamespace
	case e.Seccomp:
		return Seccomp
	case e.Lockdown != "":
		return Lockdown
	}
	return Policy
}

// Remedy says in words what a cause is and what to do; "" for Unknown, Unsupported and
// Capability, of which the caller knows more.
func (c Cause) Remedy() string {
	switch c {
	case Seccomp:
		return "a seccomp filter forbids it: Seccomp in /proc/self/status is 2. Change RestrictAddressFamilies= or SystemCallFilter= of the systemd unit, or the container's seccomp profile"
	case UserNamespace:
		return "capabilities count for nothing inside a user namespace (/proc/self/uid_map): run outside of it"
	case Lockdown:
		return "the kernel is locked down (/sys/kernel/security/lockdown): boot without Secure Boot, or use UDP sockets"
	case Policy:
		return "all capabilities are there: a security module (SELinux, AppArmor) or another policy of this machine or container forbids it"
	}
	return ""
}

// Capable reports whether the calling thread has a capability.
func Capable(capability uint) (bool, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false, err
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0, nil
}
