// SPDX-License-Identifier: Apache-2.0

// Package tally counts the tests of runs of go test -json and prints them as go test
// does: a line for each package, and what failed or was skipped with its output.
package tally

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Tally counts tests and subtests over several runs. The zero value is ready. It
// belongs to one goroutine.
type Tally struct {
	Passed, Failed, Skipped int

	// Verbose prints the output of tests that pass, too, and each test as it ends.
	Verbose bool
	// Out is where the output goes.
	Out io.Writer

	output  map[test]string // of tests under way
	damaged map[string]bool // packages in which a test failed
}

// event is what go test -json prints, as far as it matters here: see
// go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string // "" for what concerns the whole package
	Output  string
	Elapsed float64 // seconds
}

type test struct{ pkg, name string }

// Read counts one run, whose events r has, to its end.
func (t *Tally) Read(r io.Reader) error {
	t.output, t.damaged = map[test]string{}, map[string]bool{}
	for dec := json.NewDecoder(r); ; {
		var e event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		t.add(e)
	}
}

// Summary is the last line of a run: how many tests there were.
func (t *Tally) Summary() string {
	return fmt.Sprintf("%d passed, %d failed, %d skipped", t.Passed, t.Failed, t.Skipped)
}

// OK reports whether tests ran and none failed.
func (t *Tally) OK() bool { return t.Failed == 0 && t.Passed > 0 }

func (t *Tally) add(e event) {
	id := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.Out, e.Output)
	case "output":
		if e.Test != "" {
			t.output[id] += e.Output
		} else if e.Output != "PASS\n" {
			fmt.Fprint(t.Out, e.Output)
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e)
			return
		}
		switch e.Action {
		case "pass":
			t.Passed++
			if t.Verbose {
				fmt.Fprint(t.Out, t.output[id])
			}
		case "fail":
			t.Failed++
			t.damaged[e.Package] = true
			fmt.Fprint(t.Out, t.output[id])
		case "skip":
			t.Skipped++
			fmt.Fprint(t.Out, t.output[id])
		}
		delete(t.output, id)
	}
}

// endPackage shows the tests that have no end because their process died, and counts
// a failure where no test is to blame: the package did not build, or its process died.
func (t *Tally) endPackage(e event) {
	for id, text := range t.output {
		if id.pkg == e.Package {
			fmt.Fprint(t.Out, text)
			delete(t.output, id)
		}
	}
	if e.Action == "fail" && !t.damaged[e.Package] {
		t.Failed++
	}
}
