// SPDX-License-Identifier: Apache-2.0

// Package bpf steers packets: it loads a small XDP program, puts it on a network
// interface, and tells it which UDP endpoints are ours and which AF_XDP socket
// serves which receive queue.
//
//	             ┌──────────────────── XDP program ───────────────────┐
//	frame ──────►│ UDP to one of our endpoints?                       │
//	on queue q   │   no, or a fragment ─────────────────► XDP_PASS ───┼──► kernel, as ever
//	             │   yes: a socket for q? no ───────────► XDP_PASS ───┼──► kernel, as ever
//	             │                        yes ──────────► redirect ───┼──► that socket
//	             └────────────────────────────────────────────────────┘
//
// A [Steer] is one loaded program with its maps, for one interface: queue numbers
// mean nothing beyond an interface. The order that never loses or hides a packet is
//
//	LoadSteer → AddEndpoint… → Attach → open and bind the sockets → SetSocket…
//	ClearSocket… → read the sockets empty → close them → Close
//
// Until SetSocket and after ClearSocket, matching packets go to the kernel and are
// counted as NoSocket.
//
// # Lifetime
//
// The program stays on the interface as long as its [Link] is open, and no longer
// than the process: it is attached by a bpf_link, which the kernel takes away
// however the process ends. Links, programs and maps are descriptors that the
// garbage collector closes once they are unreachable, so the Steer has to stay
// reachable for as long as it shall work.
//
// Another program on the interface is never displaced: [Steer.Attach] then
// fails with [ErrOtherProgram] and names it.
//
// # Several receivers
//
// Several processes can share one program, each with queues and endpoints of its own
// ([Steer.Claim]). One that has it gives the others its descriptors ([Steer.HandOut],
// [JoinSteer]). The program then stays until the last of them has closed it or is gone.
//
// # The object code
//
// The program is steer.bpf.c. The objects made of it are part of the package, so nothing but Go is needed to build it. To change them: go generate, with clang 14
// and llvm-strip. The result does not depend on the machine's headers or on where
// the checkout lies.
package bpf
