// SPDX-License-Identifier: Apache-2.0

// Package doctor looks at a machine and says what keeps it from receiving well, what
// each finding costs, and the command that mends it. It reads and reports. It changes no
// setting, attaches no program and binds no AF_XDP socket.
//
//	kernel, /proc, /sys ──Read──► Facts ──Check──► Report
//	packets of a source ─Listen─►
//
// [Facts] are plain data. A [Fact] that could not be read holds the reason instead, and
// the checks that need it say "unknown" with that reason. The checks are functions of the
// facts alone, so a test writes down the facts of a machine that it does not have.
//
// [Checks] is the table of checks. docs/doctor.md is generated from it.
//
// [Listen] joins the groups of the sources for a few seconds and looks at their packets
// through packet sockets with a filter. It takes no packet from anybody. The memberships
// are what it has that others can notice; they end with it.
package doctor
