// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/speadx/speadx/internal/sandbox"
	"golang.org/x/sys/unix"
)

// PermissionError says that the kernel refused something for lack of privileges.
// It wraps the kernel's error, so errors.Is finds [os.ErrPermission].
type PermissionError struct {
	Op      string   // what was refused
	Missing []string // capabilities that it needs and this process lacks; may be empty
	// Cause is what forbids it: "capability", "user-namespace", "seccomp", "lockdown",
	// "unsupported" or "policy".
	Cause string
	Err   error
}

func (e *PermissionError) Error() string {
	err := e.Err
	var errno unix.Errno
	if errors.As(err, &errno) {
		err = errno // the cause is known: no guesses at others, such as RLIMIT_MEMLOCK
	}
	return fmt.Sprintf("bpf: %s: %v (%s)", e.Op, err, e.remedy())
}

func (e *PermissionError) Unwrap() error { return e.Err }

func (e *PermissionError) remedy() string {
	if len(e.Missing) > 0 {
		return "missing " + strings.Join(e.Missing, " and ") + ": run as root, or give them to the program with setcap"
	}
	if sandbox.Cause(e.Cause) == sandbox.Unsupported {
		return "the kernel has no bpf system call"
	}
	return sandbox.Cause(e.Cause).Remedy()
}

// newPermissionError is for a refusal of what needs the given capabilities.
func newPermissionError(op string, err error, needs ...sandbox.Privilege) *PermissionError {
	e := &PermissionError{Op: op, Err: err, Missing: sandbox.Missing(needs...)}
	e.Cause = string(sandbox.Look().OfPrivilege(err, len(e.Missing) == 0))
	return e
}
