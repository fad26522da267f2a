// SPDX-License-Identifier: Apache-2.0

// Package privilege gives up what a process may do beyond what it still needs.
//
// A receiver needs capabilities to open: for the XDP program, its sockets and its memory.
// After that it works on descriptors that are open. The kernel asks for no capability
// again, but for what [ForControl] and [ForClosing] list.
//
// Capabilities are a thread's own. All threads of the process change here, also those that
// are locked to a goroutine, and those that the Go runtime starts later inherit the change.
package privilege
