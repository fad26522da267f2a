// SPDX-License-Identifier: Apache-2.0

// Package bench measures how fast heaps come together from packets in memory, how
// fast they come off a veth pair, and what the pool of memory costs. Each is measured
// beside its rivals, in one run on one machine.
//
// A run is a list of [Result], one for each contestant under each set of
// conditions. The figures of a virtual machine move by tens of per cent from one
// minute to the next. So only those of one run are compared, as ratios to a
// reference. Contestants take turns, and a ratio is that of neighbours in time.
//
//	measure (memory.go, veth.go, pool.go) ─► []Result ─► table, JSON, HTML
//	                                              ▲
//	                                  an earlier JSON: baseline.go
package bench
