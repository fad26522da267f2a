// SPDX-License-Identifier: Apache-2.0

// Package matrix says what speadx does on each kernel with each network card: what the
// guests of hack/vm must find, and what docs/drivers.md tells users.
//
// A [Cell] was run. What package drivers says is known from the drivers' source.
package matrix
