// SPDX-License-Identifier: Apache-2.0

package testnet

import (
	"errors"
	"os"
	"testing"

	"github.com/speadx/speadx/internal/vnet"
)

// Options describe the wire: see [vnet.Options].
type Options = vnet.Options

// Iface is one end of the wire: see [vnet.Iface].
type Iface = vnet.Iface

// Net is a test's wire. A and B are its ends; only B's interface is visible
// where the test runs. A kernel socket that shall send over the wire is opened
// inside n.A.Do.
type Net struct {
	*vnet.Net
	tb testing.TB
}

// New makes a wire that is taken away at the end of the test, and puts the
// calling goroutine, which has to be the test's own, into the namespace of B
// until then. Subtests and other goroutines are outside: see [Net.Do].
func New(tb testing.TB, o Options) *Net {
	tb.Helper()
	inner, err := vnet.Make(o)
	NeedPrivilege(tb, err)
	tb.Cleanup(func() {
		if err := inner.Close(); err != nil {
			tb.Error(err)
		}
	})
	leave, err := inner.B.Enter()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(leave)
	return &Net{Net: inner, tb: tb}
}

// Do runs f on the calling goroutine inside the namespace of B; for that of A
// use n.A.Do. Goroutines that f starts are not inside.
func (n *Net) Do(f func()) {
	n.tb.Helper()
	if err := n.Net.Do(f); err != nil {
		n.tb.Fatal(err)
	}
}

// Go runs f on a new goroutine inside the namespace of B; for that of A use
// n.A.Go.
func (n *Net) Go(f func()) {
	n.tb.Helper()
	if err := n.Net.Go(f); err != nil {
		n.tb.Fatal(err)
	}
}

// Inject sends raw Ethernet frames out of A. All of them arrive at B; it does not
// wait until anything there has handled them.
func (n *Net) Inject(tb testing.TB, frames [][]byte) {
	tb.Helper()
	if err := n.Net.Inject(frames); err != nil {
		tb.Fatal(err)
	}
}

// NeedPrivilege ends the test if err is not nil: skipped where err is a lack of
// permission and nobody promised privileges, else failed.
func NeedPrivilege(tb testing.TB, err error) {
	tb.Helper()
	if errors.Is(err, os.ErrPermission) && os.Getenv("SPEADX_PRIVILEGED") == "" {
		tb.Skipf("needs privileges: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
}
