// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/testnet"
)

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
		err := testnet.WithCapabilities(t, tt.keep, func() error {
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
