// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package cache

import "testing"

// guarded is memory of n bytes, with nothing special behind it here.
func guarded(_ *testing.T, n int) []byte { return make([]byte, n) }
