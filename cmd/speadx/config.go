// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/speadx/speadx/internal/settings"
)

const configLong = `Show the settings with which recv would run, and where each comes from.

The flags and sources are those of recv. A line has the name of the setting, its
value, and its origin: default, FILE:LINE, the environment variable, or flag.
--format json prints the same as JSON. It is the format of this output alone: the
format that recv would use stands in the list.

Exit status: 0, 1 for an error, 2 if recv would refuse a setting.`

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the settings of recv, and where they come from",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigPrintCommand())
	return cmd
}

func newConfigPrintCommand() *cobra.Command {
	f := newRecvFlags()
	cmd := &cobra.Command{
		Use:   "print [flags of recv] [SOURCE...]",
		Short: "Show the effective settings of recv, and where they come from",
		Long:  configLong,
		Example: `  speadx config print --config obs.yaml
  SPEADX_HEAP_SIZE=64MiB speadx config print --format json`,
	}
	useFlagGroups(cmd, f.groups())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		fs := cmd.Flags()
		format := f.format
		if format != "text" && format != "json" {
			return usageError{wrongFlag("format", " %q is neither text nor json", format)}
		}
		// What recv would print is another matter.
		own := fs.Lookup("format")
		f.format, own.Changed = own.DefValue, false
		if err := f.resolve(fs, args); err != nil {
			return asUsage(err)
		}
		for _, note := range f.operate.resolved.Notes {
			fmt.Fprintln(cmd.ErrOrStderr(), "warning: "+note)
		}
		list := effective(fs, f.operate.resolved)
		print := printSettings
		if format == "json" {
			print = printSettingsJSON
		}
		if err := print(cmd.OutOrStdout(), list); err != nil {
			return err
		}
		if sources := f.operate.resolved.Sources; len(sources) > 0 {
			if _, err := f.config(fs, slices.Clone(sources)); err != nil {
				return asUsage(located(err, f.operate.resolved.Origins))
			}
		}
		return nil
	}
	return cmd
}

// setting is one line of config print.
type setting struct {
	Key    string          `json:"key"`
	Value  any             `json:"value"` // a string, or a list of them
	Origin settings.Origin `json:"origin"`
}

// automatic are the flags whose default depends on the machine.
var automatic = []string{"buffer", "concurrent-heaps", "frames"}

// effective are the sources and all flags, but for those that only spead2_recv has and
// that were not given.
func effective(fs *pflag.FlagSet, r *settings.Resolved) []setting {
	list := []setting{{settings.SourcesKey, append([]string{}, r.Sources...), r.Origins[settings.SourcesKey]}}
	fs.VisitAll(func(f *pflag.Flag) {
		origin := r.Origins[f.Name]
		idle := origin.Kind == settings.Default
		if f.Name == "help" || idle && (f.Hidden || sameAs[f.Name] != "") {
			return
		}
		s := setting{f.Name, f.Value.String(), origin}
		if idle && slices.Contains(automatic, f.Name) {
			s.Value = "automatic"
		}
		if several, ok := f.Value.(pflag.SliceValue); ok {
			s.Value = append([]string{}, several.GetSlice()...)
		}
		list = append(list, s)
	})
	return list
}

func printSettings(w io.Writer, list []setting) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range list {
		text := ""
		switch v := s.Value.(type) {
		case []string:
			text = strings.Join(v, ", ")
		default:
			text = fmt.Sprint(v)
		}
		if text == "" {
			text = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", s.Key, text, s.Origin)
	}
	return t.Flush()
}

func printSettingsJSON(w io.Writer, list []setting) error {
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	return out.Encode(list)
}
