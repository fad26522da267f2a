// SPDX-License-Identifier: Apache-2.0

// Package guest has the tests that run in the guests of hack/vm: on kernels and network
// cards that the machine at hand does not have. They are built with the tag vmguest.
package guest
