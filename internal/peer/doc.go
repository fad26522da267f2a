// SPDX-License-Identifier: Apache-2.0

// Package peer lets the receivers of a network namespace find each other, without a file,
// a daemon or a privilege.
//
// Each receiver listens on an abstract Unix socket, whose name begins with [prefix]. Such a
// name belongs to a network namespace, as interfaces do, and is gone when its process is.
// So /proc/net/unix lists the receivers. One that is asked says who it is and what it
// receives. It hands its XDP program to a receiver that shares an interface with it: as
// descriptors, which the kernel passes from process to process (SCM_RIGHTS).
//
// To open a program and its maps by their numbers takes CAP_SYS_ADMIN instead. A receiver
// needs that for nothing else, and it may have given up all capabilities by then.
//
// A receiver answers processes of its own user and of root, as the kernel names them
// (SO_PEERCRED), and tells others no more than its process. What an answer says is not
// trusted: a receiver that takes descriptors asks the kernel what they are.
package peer
