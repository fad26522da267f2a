// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package bench

// askSystem knows no other system than Linux.
func (*Machine) askSystem() {}
