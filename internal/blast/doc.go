// SPDX-License-Identifier: Apache-2.0

// Package blast loads a receiver for tests: its program makes millions of SPEAD packets a
// second in the kernel, and sends them over a veth pair. It needs Linux 5.18.
//
// A [Generator] is given the frames of a heap as templates ([Frames]). The program copies
// them, and replaces the heap's count and the payload's offset. The payload of a packet is
// the template's. Who has made the frames knows what a receiver must find.
//
// The program is blast.bpf.c. The objects made of it are part of the package. To change
// them: go generate, with clang 14 and llvm-strip.
package blast
