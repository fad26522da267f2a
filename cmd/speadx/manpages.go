// SPDX-License-Identifier: Apache-2.0

//go:build manpages

package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

// main writes a manual page of each command into a directory, instead of being the
// program: so the program needs no library for it. SOURCE_DATE_EPOCH is the date of the
// pages.
func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: speadx-manpages DIRECTORY")
		os.Exit(exitUsage)
	}
	root := newRootCommand()
	prepare(root)
	header := doc.GenManHeader{Source: "speadx " + version, Manual: "speadx"}
	if err := doc.GenManTree(root, &header, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "speadx-manpages:", err)
		os.Exit(exitError)
	}
}

// prepare makes Markdown of the texts of a command and those below it.
func prepare(cmd *cobra.Command) {
	cmd.DisableAutoGenTag = true
	cmd.Long = markdown(cmd.Long)
	cmd.Flags().VisitAll(func(f *pflag.Flag) { f.Usage = escape.Replace(f.Usage) })
	for _, c := range cmd.Commands() {
		prepare(c)
	}
}

// escape keeps from being mark-up what is text. Backquotes stay: they name the value of
// a flag.
var escape = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `_`, `\_`, `<`, `\<`, `[`, `\[`, `#`, `\#`)

// markdown keeps lines that are indented as they are, and lets the others flow.
func markdown(text string) string {
	var b strings.Builder
	block := false
	for line := range strings.Lines(text) {
		if indented := strings.HasPrefix(line, "  "); indented != block {
			if block = indented; block {
				b.WriteString("\n```\n")
			} else {
				b.WriteString("```\n")
			}
		}
		if !block {
			line = escape.Replace(line)
		}
		b.WriteString(line)
	}
	if block {
		b.WriteString("\n```\n")
	}
	return b.String()
}
