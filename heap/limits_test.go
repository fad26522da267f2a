// SPDX-License-Identifier: Apache-2.0

package heap

import (
	"testing"

	"github.com/speadx/speadx/pool"
)

// TestUnknownPolicy: a policy that there is not is refused, and has a text.
func TestUnknownPolicy(t *testing.T) {
	share := newRig(t, pool.ShareConfig{}, Config{}).cfg.Share
	for p := Block; p <= DropOldest+1; p++ {
		a, err := New(Config{Share: share, OnFull: p})
		if (err == nil) != (p <= DropOldest) {
			t.Errorf("%v: %v", p, err)
		}
		if a != nil {
			a.Close()
		}
	}
	if got := Policy(9).String(); got != "policy 9" {
		t.Error(got)
	}
}
