// SPDX-License-Identifier: Apache-2.0

// Package pattern makes and checks the payload that a sender and a receiver
// can both compute, so that a test sees every byte that went wrong. It is
// spead2's: what speadx sends with --verify, spead2_recv --verify checks, and
// the other way about.
//
// The pattern is one endless sequence of 32-bit words, big-endian: the
// minimal standard generator (C++'s minstd_rand) from its default seed,
//
//	x(0) = 48271, x(n+1) = 48271·x(n) mod 2^31-1
//
// A position is a number of bytes from its beginning. As the word n is
// 48271^(n+1), any position is reached in a few dozen multiplications, and
// several words can be computed at a time.
//
// # Which part of it a heap holds
//
// spead2_send cuts the sequence into its data heaps one after the other,
// whatever their destinations: the heap with the count c, from 1, of n items
// of m bytes each holds the n·m bytes from n·m·(c-1), item after item in
// sending order; [Position] computes this. The items of the pattern are
// those with an id of at least [FirstID]. The descriptors in the first heap of
// each destination, and the stop heaps, hold nothing of it and leave no gap.
//
// spead2_recv takes the number of all items of a heap for n, descriptors
// included. That makes no difference in heap 1, but it reports a mismatch in
// the first heap of a second destination that is none; this package does not.
//
// What is sent as an immediate item, because it is a single word and the
// sender turns small items into immediates, has its word in the value's last 4
// bytes. A count that has wrapped (SPEAD-64-8 after 255 heaps) no longer tells
// the position.
package pattern
