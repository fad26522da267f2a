// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

func main() {
	out := flag.String("o", "cast.svg", "write the picture to `file`")
	columns := flag.Int("columns", 120, "columns of the terminal")
	rows := flag.Int("rows", 24, "rows of the terminal")
	prompt := flag.String("prompt", "", "command to show in the first line, if not the one that runs")
	flag.Parse()
	if err := run(*out, *columns, *rows, *prompt, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "cast:", err)
		os.Exit(1)
	}
}

func run(out string, columns, rows int, prompt string, args []string) error {
	if len(args) == 0 {
		return errors.New("no command is given")
	}
	if columns < 20 || columns > 400 || rows < 2 || rows > 200 {
		return fmt.Errorf("a terminal of %d columns and %d rows: give 20 to 400 columns and 2 to 200 rows", columns, rows)
	}
	if prompt == "" {
		prompt = strings.Join(args, " ")
	}
	chunks, err := record(exec.Command(args[0], args[1:]...), columns, rows)
	if err != nil {
		return err
	}
	lines, err := split(chunks, columns)
	if err != nil {
		return err
	}
	lines = append([]line{{text: "# " + prompt}}, lines...)
	var b bytes.Buffer
	draw(&b, shorten(lines), columns, rows)
	return os.WriteFile(out, b.Bytes(), 0o644)
}
