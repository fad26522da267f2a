// SPDX-License-Identifier: Apache-2.0

// Package ledger is the one table of everything that a receiver counts.
//
// Each packet that was there for the receiver ends in exactly one [Fate], so that at rest
//
//	packets = Σ fates + in flight
//
// Beside the fates there are counters of streams, devices and queues. Each fate and each
// counter has one [Row]. Its name is the JSON key and the metric label. It has the [Stage]
// where it is counted, its [Unit], and whether it is a loss. One sentence says what it means,
// and one what to do if it rises. The JSON, the text report, the metrics and the tables in docs/ are made from these
// rows. To add a counter is to add its constant, its row, and the line that increments it.
//
// A [Diagnosis] is a value that says what is wrong, computed from the counters. Its [Code] has
// one row too, with a sentence for people.
//
// Texts name settings by the fields of speadx.Config, in braces: {RingHeaps}. A program that
// calls its settings otherwise passes a function to [Fill].
//
// The package counts nothing itself and imports nothing of the receiver.
package ledger
