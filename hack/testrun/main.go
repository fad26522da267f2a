// SPDX-License-Identifier: Apache-2.0

// Testrun runs the tests and says how many there were. Its arguments are those
// of go test; a -- begins another run, with arguments of its own:
//
//	testrun -p=1 ./... -- -tags=stepping ./heap ./pool
//
// A run that begins with -C DIRECTORY is of the module there.
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
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/speadx/speadx/hack/internal/tally"
)

func main() {
	t := tally.Tally{Out: os.Stdout}
	var args []string
	for _, a := range append(os.Args[1:], "--") {
		if a != "--" {
			args = append(args, a)
			continue
		}
		failed := t.Failed
		if err := run(&t, args); err != nil && t.Failed == failed {
			fmt.Fprintf(os.Stderr, "testrun: go test %s: %v\n", strings.Join(args, " "), err)
			t.Failed++
		}
		args = nil
	}
	fmt.Println(t.Summary())
	if !t.OK() {
		os.Exit(1)
	}
}

func run(t *tally.Tally, args []string) error {
	line := []string{"test"}
	if len(args) > 1 && args[0] == "-C" { // go wants it first
		line, args = append(line, args[:2]...), args[2:]
	}
	cmd := exec.Command("go", append(append(line, "-json"), args...)...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := t.Read(stdout); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	return cmd.Wait()
}
