// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/doctor"
)

const doctorLong = `Look at the machine, and say what keeps it from receiving well.

It reads and reports. It changes nothing and attaches no program. Each line says
ok, warn, fail or unknown and what was read. With warn and fail it also says what
that costs and the command that mends it. docs/doctor.md explains each check.

With --interface it looks at these interfaces and at the devices below them. With
a SOURCE it looks at the interface that the route to the source leads to. With
neither it looks at all interfaces that are up.

With a SOURCE, an address and port as recv takes it, it listens for some seconds:
who sends, on which queue, whether it is SPEAD, and how large the heaps are. It
joins the group of the source for that time. Then it prints the recv command.

Run it as the user that will receive.

Exit status: 0, 1 if a check fails, 2 for wrong usage.`

// errUnfit is the end of a run in which a check failed.
var errUnfit = errors.New("a check failed")

// longestListen bounds --duration.
const longestListen = time.Hour

type doctorFlags struct {
	interfaces []string
	duration   time.Duration
	format     string
}

func newDoctorCommand() *cobra.Command {
	f := &doctorFlags{}
	cmd := &cobra.Command{
		Use:   "doctor [flags] [SOURCE...]",
		Short: "Say what keeps this machine from receiving well",
		Long:  doctorLong,
		Example: `  speadx doctor -i eth1
  speadx doctor -i eth1 239.1.2.3:7148
  speadx doctor --format json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.Flags().Changed("interface") && len(f.interfaces) == 0 {
				return usageError{errors.New("--interface is empty")}
			}
			sources, err := f.sources(args)
			if err != nil {
				return usageError{err}
			}
			return f.run(cmd, sources)
		},
	}
	g := newFlagGroup("Flags")
	g.flags.StringSliceVarP(&f.interfaces, "interface", "i", nil, "look at the interface `NAME`, a VLAN or bond too; may be repeated")
	g.flags.DurationVar(&f.duration, "duration", 3*time.Second, "listen to the sources for `TIME`")
	g.flags.StringVar(&f.format, "format", "text", "print in `FORMAT` text or json")
	g.flags.BoolP("help", "h", false, "print this help")
	useFlagGroups(cmd, []flagGroup{g})
	return cmd
}

// sources checks the command line.
func (f *doctorFlags) sources(args []string) (sources []doctor.Source, err error) {
	if f.format != "text" && f.format != "json" {
		return nil, fmt.Errorf("--format %q is neither text nor json", f.format)
	}
	if f.duration <= 0 || f.duration > longestListen {
		return nil, fmt.Errorf("--duration %v is not between 0s and %v", f.duration, longestListen)
	}
	for _, text := range args {
		src, err := speadx.ParseSource(text)
		switch {
		case err != nil:
			return nil, err
		case src.File != "":
			return nil, fmt.Errorf("source %q is a file: doctor listens to addresses and ports", text)
		case src.TCP:
			return nil, fmt.Errorf("source %q is of TCP: doctor listens to UDP packets", text)
		case len(f.interfaces) == 0 && src.Endpoints[0].Addr().IsUnspecified():
			return nil, fmt.Errorf("source %q names no interface to listen on (--interface)", text)
		}
		sources = append(sources, doctor.Source{Name: text, Endpoints: src.Endpoints})
	}
	return sources, nil
}

func (f *doctorFlags) run(cmd *cobra.Command, sources []doctor.Source) error {
	ctx, stop := untilSignal(cmd.Context(), true)
	defer stop()
	// What is read is that of one thread: its capabilities and its network namespace.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	facts, err := doctor.Examine(ctx, f.interfaces, sources, f.duration)
	if err != nil {
		return err
	}
	report := doctor.Diagnose(facts)
	if f.format == "json" {
		e := json.NewEncoder(cmd.OutOrStdout())
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false) // commands contain > and &
		err = e.Encode(report)
	} else {
		err = report.WriteText(cmd.OutOrStdout())
	}
	if err == nil && report.Counts.Fail > 0 {
		err = fmt.Errorf("%w: %s", errUnfit, report.Counts)
	}
	return err
}
