package bpf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
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

type capability struct {
	name string
	bit  uint
}

// include/uapi/linux/capability.h
var (
	capNetAdmin = capability{"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}
	capBPF      = capability{"CAP_BPF", unix.CAP_BPF}
	capPerfmon  = capability{"CAP_PERFMON", unix.CAP_PERFMON}
)

// newPermissionError is for a refusal of what needs the given capabilities.
func newPermissionError(op string, err error, needs ...capability) *PermissionError {
	e := &PermissionError{Op: op, Err: err}
	if status, err := os.ReadFile("/proc/thread-self/status"); err == nil {
		e.Missing = missing(status, needs)
	}
	e.Cause = string(sandbox.Look().OfPrivilege(err, len(e.Missing) == 0))
	return e
}

// missing lists which capabilities are not effective, by a /proc/PID/status.
func missing(status []byte, needs []capability) []string {
	effective, ok := effectiveCapabilities(status)
	if !ok {
		return nil
	}
	has := func(bit uint) bool { return effective&(1<<bit) != 0 }
	var names []string
	for _, c := range needs {
		// CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON. It does not include
		// CAP_NET_ADMIN, which old kernels demand for a map of sockets.
		if !has(c.bit) && (c == capNetAdmin || !has(unix.CAP_SYS_ADMIN)) {
			names = append(names, c.name)
		}
	}
	return names
}

func effectiveCapabilities(status []byte) (set uint64, ok bool) {
	for line := range bytes.Lines(status) {
		if hex, found := bytes.CutPrefix(line, []byte("CapEff:")); found {
			set, err := strconv.ParseUint(string(bytes.TrimSpace(hex)), 16, 64)
			return set, err == nil
		}
	}
	return 0, false
}
