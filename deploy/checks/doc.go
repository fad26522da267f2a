// SPDX-License-Identifier: Apache-2.0

// Package checks has the tests of the files in deploy/. Each file is run, or decoded with
// the types of the program that will read it. The package is a module of its own, because
// these types need many other modules.
package checks
