// SPDX-License-Identifier: Apache-2.0

// Package ops tests the page for people and the report of bench in a browser (make test-ops).
// It makes the picture of the page that is in docs/ (make picture). It is a module of its own,
// so that the library that drives the browser is not among those of the program.
package ops
