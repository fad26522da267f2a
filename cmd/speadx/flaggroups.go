// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// helpWidth is how many columns the help takes.
const helpWidth = 80

// flagGroup is a part of a command's flags that the help shows together.
type flagGroup struct {
	title string
	flags *pflag.FlagSet
	note  string // printed below
}

func newFlagGroup(title string) flagGroup {
	fs := pflag.NewFlagSet(title, pflag.ContinueOnError)
	fs.SortFlags = false
	return flagGroup{title: title, flags: fs}
}

// useFlagGroups gives a command its flags, and a help in which they stand in
// groups instead of in the order of the alphabet.
func useFlagGroups(cmd *cobra.Command, groups []flagGroup) {
	for _, g := range groups {
		cmd.Flags().AddFlagSet(g.flags)
	}
	cmd.SetUsageFunc(func(cmd *cobra.Command) error {
		var b strings.Builder
		fmt.Fprintf(&b, "Usage:\n  %s\n\nExamples:\n%s\n", cmd.UseLine(), cmd.Example)
		for _, g := range groups {
			fmt.Fprintf(&b, "\n%s:\n%s%s", g.title, g.flags.FlagUsagesWrapped(helpWidth), g.note)
		}
		_, err := fmt.Fprint(cmd.OutOrStderr(), b.String())
		return err
	})
}
