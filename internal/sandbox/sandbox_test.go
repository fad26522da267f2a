// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"io/fs"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLook(t *testing.T) {
	files := map[string]string{
		"/proc/thread-self/status":        "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n",
		"/proc/self/uid_map":              "         0       1000          1\n",
		"/sys/kernel/security/lockdown":   "none [integrity] confidentiality\n",
		"/proc/thread-self/net/protocols": "protocol  size sockets\nXDP       1088      0\nUDP 1\n",
	}
	read := func(name string) ([]byte, error) {
		if text, ok := files[name]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
	if got, want := look(read), (Evidence{true, true, "integrity", true, true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	files = map[string]string{
		"/proc/thread-self/status":        "Seccomp:\t0\n",
		"/proc/self/uid_map":              "         0          0 4294967295\n",
		"/sys/kernel/security/lockdown":   "[none] integrity confidentiality\n",
		"/proc/thread-self/net/protocols": "protocol  size\nUDP 1\n",
	}
	if got, want := look(read), (Evidence{XDPKnown: true}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	files = nil
	if got := look(read); got != (Evidence{}) {
		t.Errorf("%+v of nothing", got)
	}
}

func TestCause(t *testing.T) {
	has := Evidence{XDPSockets: true, XDPKnown: true}
	filtered, lacking := has, Evidence{XDPKnown: true, Seccomp: true}
	filtered.Seccomp = true
	inside, locked := filtered, has
	inside.UserNamespace, locked.Lockdown = true, "confidentiality"
	for _, tt := range []struct {
		name    string
		e       Evidence
		err     error
		capable bool
		socket  Cause
		other   Cause
	}{
		{"no AF_XDP", lacking, unix.EAFNOSUPPORT, true, Unsupported, Unknown},
		{"systemd", filtered, unix.EAFNOSUPPORT, true, Seccomp, Unknown},
		{"nothing is known", Evidence{}, unix.EAFNOSUPPORT, true, Unsupported, Unknown},
		{"a filter, and nothing else known", Evidence{Seccomp: true}, unix.EAFNOSUPPORT, true, Seccomp, Unknown},
		{"no capability", filtered, unix.EPERM, false, Capability, Capability},
		{"user namespace", inside, unix.EPERM, true, UserNamespace, UserNamespace},
		{"filter", filtered, unix.EPERM, true, Seccomp, Seccomp},
		{"filter of containers", filtered, unix.ENOSYS, true, Seccomp, Seccomp},
		{"no such call", has, unix.ENOSYS, true, Policy, Unsupported},
		{"lockdown", locked, unix.EPERM, true, Lockdown, Lockdown},
		{"SELinux", has, unix.EACCES, true, Policy, Policy},
		{"something else", filtered, unix.EINVAL, true, Unknown, Unknown},
	} {
		if got := tt.e.OfSocket(tt.err, tt.capable); got != tt.socket {
			t.Errorf("%s: socket refused by %q, want %q", tt.name, got, tt.socket)
		}
		if got := tt.e.OfPrivilege(tt.err, tt.capable); got != tt.other {
			t.Errorf("%s: refused by %q, want %q", tt.name, got, tt.other)
		}
	}
}
