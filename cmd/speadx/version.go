// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// linked is the version that the maker of a package gives: -ldflags '-X main.linked=1.2.3'.
var linked string

// version is the program's, wherever it is shown.
var version = thisBuild().Version

// build says what the program was made of.
type build struct {
	Version  string `json:"version"`            // such as v0.1.0, or (devel) where nobody knows
	Revision string `json:"revision,omitempty"` // the commit
	Time     string `json:"time,omitempty"`     // of the commit, RFC 3339
	Modified bool   `json:"modified,omitempty"` // files differed from the commit
	Go       string `json:"go"`
	System   string `json:"system"` // such as linux/amd64
}

// thisBuild asks what the Go linker wrote down.
func thisBuild() build {
	info, _ := debug.ReadBuildInfo()
	return buildOf(info, linked)
}

func buildOf(info *debug.BuildInfo, linked string) build {
	b := build{Version: "(devel)", Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	if info != nil {
		if info.Main.Version != "" {
			b.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.time":
				b.Time = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	if linked != "" {
		b.Version = linked
	}
	return b
}

func (b build) print(w io.Writer, format string) error {
	if format == "json" {
		return json.NewEncoder(w).Encode(b)
	}
	text := "speadx version " + b.Version + "\n"
	if b.Revision != "" {
		text += "commit " + b.Revision
		if b.Time != "" {
			text += " of " + b.Time
		}
		if b.Modified {
			text += ", and files that differ from it"
		}
		text += "\n"
	}
	_, err := fmt.Fprintf(w, "%s%s %s\n", text, b.Go, b.System)
	return err
}

func newVersionCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print what this program was built from",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "text" && format != "json" {
				return usageError{wrongFlag("format", " %q is neither text nor json", format)}
			}
			return thisBuild().print(cmd.OutOrStdout(), format)
		},
	}
	cmd.Flags().StringVar(&format, "format", "text", "print as `FORMAT`: text or json")
	return cmd
}
