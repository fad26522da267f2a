package bpf

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/speadx/speadx/internal/testnet"
	"golang.org/x/sys/unix"
)

func TestMissing(t *testing.T) {
	both := []capability{capBPF, capNetAdmin}
	for _, tt := range []struct {
		status string
		want   []string
	}{
		{"Name:\tx\nCapPrm:\t000001ffffffffff\nCapEff:\t0000000000000000\n", []string{"CAP_BPF", "CAP_NET_ADMIN"}},
		{"CapEff:\t0000000000001000\n", []string{"CAP_BPF"}},
		{"CapEff:\t0000008000000000\n", []string{"CAP_NET_ADMIN"}},
		{"CapEff:\t0000008000001000\n", nil},
		{"CapEff:\t0000000000200000\n", []string{"CAP_NET_ADMIN"}}, // CAP_SYS_ADMIN
		{"CapEff:\t0000000000201000\n", nil},                       // and CAP_NET_ADMIN
		{"CapEff:\tnonsense\n", nil},
		{"", nil},
	} {
		if got := missing([]byte(tt.status), both); !slices.Equal(got, tt.want) {
			t.Errorf("%q: missing %q, want %q", tt.status, got, tt.want)
		}
	}
}

// Without a capability the error names it, and no other. With those that the README
// names the program loads, on every kernel: hack/vm runs this test on old ones, whose
// verifier refuses more.
func TestLoadWithoutPrivilege(t *testing.T) {
	load(t, SteerConfig{Queues: 1}).Close()
	for _, tt := range []struct {
		keep  []uint
		frags bool
		want  []string
	}{
		{nil, true, []string{"CAP_BPF", "CAP_NET_ADMIN"}},
		{[]uint{unix.CAP_NET_ADMIN}, true, []string{"CAP_BPF"}},
		{[]uint{unix.CAP_BPF}, true, []string{"CAP_NET_ADMIN"}},
		{[]uint{unix.CAP_BPF, unix.CAP_NET_ADMIN}, true, nil},
		{[]uint{unix.CAP_BPF, unix.CAP_NET_ADMIN}, false, nil},
		{[]uint{unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN}, true, nil},
	} {
		err := withCapabilities(t, tt.keep, func() error {
			s, err := LoadSteer(SteerConfig{Queues: 1, MaxEndpoints: 1, Frags: tt.frags})
			if err == nil {
				err = s.Close()
			}
			return err
		})
		if tt.want == nil {
			if err != nil {
				t.Errorf("with capabilities %v: %v", tt.keep, err)
			}
			continue
		}
		var permission *PermissionError
		if !errors.As(err, &permission) || !errors.Is(err, os.ErrPermission) || !slices.Equal(permission.Missing, tt.want) {
			t.Errorf("with capabilities %v: %v, want missing %q", tt.keep, err, tt.want)
			continue
		}
		if text := err.Error(); !strings.Contains(text, "missing "+strings.Join(tt.want, " and ")+":") || strings.Contains(text, "MEMLOCK") {
			t.Errorf("%q does not say what is missing", err)
		}
	}
}

func TestPermissionRemedy(t *testing.T) {
	for _, tt := range []struct {
		err  PermissionError
		want string
	}{
		{PermissionError{Op: "load", Err: unix.EPERM, Missing: []string{"CAP_BPF"}}, "missing CAP_BPF: run as root"},
		{PermissionError{Op: "load", Err: unix.EPERM, Cause: "user-namespace"}, "user namespace"},
		{PermissionError{Op: "load", Err: fmt.Errorf("%w (MEMLOCK may be too low)", unix.EPERM), Cause: "policy"}, "bpf: load: operation not permitted (all capabilities are there"},
	} {
		if got := tt.err.Error(); !strings.Contains(got, tt.want) || !strings.Contains(got, "bpf: load: ") {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// withCapabilities runs f on a thread that has no other effective capabilities.
func withCapabilities(t *testing.T, keep []uint, f func() error) error {
	t.Helper()
	result := make(chan error)
	var setErr error
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if setErr = setCapabilities(keep); setErr != nil {
			result <- nil
			return
		}
		result <- f()
	}()
	err := <-result
	testnet.NeedPrivilege(t, setErr)
	return err
}

// setCapabilities leaves the calling thread no other effective capabilities.
func setCapabilities(keep []uint) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return err
	}
	data[0].Effective, data[1].Effective = 0, 0
	for _, c := range keep {
		data[c/32].Effective |= 1 << (c % 32)
	}
	return unix.Capset(&header, &data[0])
}
