// Testrun runs the tests and says how many there were. Its arguments are those
// of go test; a -- begins another run, with arguments of its own:
//
//	testrun -p=1 ./... -- -tags=stepping ./heap ./pool
//
// It prints a line for each package, what failed or was skipped with its output,
// and at the end, over all runs, how many tests and subtests there were:
//
//	421 passed, 0 failed, 0 skipped
//
// A package that does not build, or dies outside of its tests, is one that
// failed. The exit status is 1 if anything failed, or if there was no test.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

func main() {
	var t tally
	var args []string
	for _, a := range append(os.Args[1:], "--") {
		if a != "--" {
			args = append(args, a)
			continue
		}
		failed := t.failed
		if err := t.run(args); err != nil && t.failed == failed {
			fmt.Fprintf(os.Stderr, "testrun: go test %s: %v\n", strings.Join(args, " "), err)
			t.failed++
		}
		args = nil
	}
	fmt.Printf("%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	if t.failed > 0 || t.passed == 0 {
		os.Exit(1)
	}
}

// event is what go test -json prints, as far as it matters here: see
// go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string // "" for what concerns the whole package
	Output  string
}

type test struct{ pkg, name string }

type tally struct {
	passed, failed, skipped int

	output  map[test]string // of tests under way
	damaged map[string]bool // packages in which a test failed
}

func (t *tally) run(args []string) error {
	t.output, t.damaged = map[test]string{}, map[string]bool{}
	cmd := exec.Command("go", append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	for dec := json.NewDecoder(stdout); ; {
		var e event
		if err := dec.Decode(&e); errors.Is(err, io.EOF) {
			return cmd.Wait()
		} else if err != nil {
			return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
		}
		t.add(e)
	}
}

func (t *tally) add(e event) {
	id := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		fmt.Print(e.Output)
	case "output":
		if e.Test != "" {
			t.output[id] += e.Output
		} else if e.Output != "PASS\n" {
			fmt.Print(e.Output)
		}
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.endPackage(e)
			return
		}
		switch e.Action {
		case "pass":
			t.passed++
		case "fail":
			t.failed++
			t.damaged[e.Package] = true
			fmt.Print(t.output[id])
		case "skip":
			t.skipped++
			fmt.Print(t.output[id])
		}
		delete(t.output, id)
	}
}

// endPackage shows the tests that have no end because their process died, and
// counts a failure of which no test is to blame.
func (t *tally) endPackage(e event) {
	for id, text := range t.output {
		if id.pkg == e.Package {
			fmt.Print(text)
			delete(t.output, id)
		}
	}
	if e.Action == "fail" && !t.damaged[e.Package] {
		t.failed++
	}
}
