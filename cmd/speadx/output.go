// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"time"

	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/report"
	"github.com/speadx/speadx/spead"
)

// output is a format in which heaps and totals are printed. Each call writes
// at once, so that who reads a pipe sees a heap when it has come.
type output interface {
	heap(h *heap.Heap, at time.Duration) error
	summary(w io.Writer, r *report.Report) error
}

func newOutput(stdout, stderr io.Writer, f *recvFlags, streams int) output {
	d := decoder{bySource: f.bySource, stderr: stderr}
	if f.pyspead {
		d.compat = spead.CompatPySPEAD
	}
	if f.format == "json" {
		return &jsonOutput{w: stdout, decoder: d, hash: f.hash, values: f.values, quiet: f.quiet}
	}
	return &textOutput{w: stdout, decoder: d, descriptors: f.descriptors, values: f.values, quiet: f.quiet, several: streams > 1}
}
