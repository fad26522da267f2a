// SPDX-License-Identifier: Apache-2.0

// Charts draws the charts of docs/performance.md as SVG from results of `speadx bench`:
//
//	go run . -o ../../docs/bench ../../docs/bench/*.json
//
// A file is called MACHINE-BENCH.json and holds what --format json printed. All files of
// one machine make its charts, MACHINE-rates.svg and so on. `make bench-docs` does this.
//
// The charts are those of the HTML report: package bench says what is in them. This is a
// module of its own, so that the program does not depend on the library that draws them.
package main
