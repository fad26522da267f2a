// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/speadx/speadx/internal/bench"
	"github.com/speadx/speadx/internal/units"
)

const benchPoolLong = `Measure what a buffer for a heap costs: from the pool of speadx (a slot, through all
states of its life), from make (and the garbage collector), from a sync.Pool, and
from mmap. Each is allocated and released (touch none), with a byte of each 4 KiB
page written in between, which is when fresh memory is really made (page), or with
all of it written, as a receiver does (fill).

A ratio is the speed relative to make. --format, --html and --baseline are explained
by 'speadx bench --help'.`

func newBenchPoolCommand() *cobra.Command {
	var f benchFlags
	o := bench.PoolOptions{Rounds: 15, Round: 20 * time.Millisecond}
	var sizes string
	var short bool
	cmd := &cobra.Command{
		Use:   "pool",
		Short: "What a buffer costs, from the pool and from elsewhere",
		Long:  benchPoolLong,
		Example: `  speadx bench pool
  speadx bench pool --sizes 64KiB,4MiB --html pool.html`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if short && !cmd.Flags().Changed("sizes") {
				sizes = "64KiB,1MiB,64MiB"
			}
			if short && !cmd.Flags().Changed("rounds") {
				o.Rounds = 7
			}
			if o.Sizes, err = parseSizes(sizes); err != nil {
				return usageError{err}
			}
			if o.Rounds < 1 {
				return usageError{fmt.Errorf("--rounds %d is not a number from 1", o.Rounds)}
			}
			if o.Round <= 0 {
				return usageError{fmt.Errorf("--round %v is too short", o.Round)}
			}
			return runBench(cmd, &f, func(ctx context.Context, emit func(bench.Result)) error { return bench.Pool(ctx, o, emit) })
		},
	}
	var all []string
	for _, n := range bench.PoolSizes() {
		all = append(all, units.Size(n).String())
	}
	flags := cmd.Flags()
	flags.StringVar(&sizes, "sizes", strings.Join(all, ","), "sizes of the buffer, with commas between them")
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "turns of each contestant")
	flags.DurationVar(&o.Round, "round", o.Round, "least length of a turn")
	flags.BoolVar(&short, "short", false, "take a few seconds: 64KiB, 1MiB and 64MiB, and 7 rounds, where nothing else is asked for")
	f.add(flags)
	return cmd
}

// parseSizes reads sizes with commas between them.
func parseSizes(list string) ([]int, error) {
	var all []int
	for text := range strings.SplitSeq(list, ",") {
		n, err := units.ParseSize(text)
		if err != nil {
			return nil, fmt.Errorf("--sizes: %w", err)
		}
		if n < 1 || n > 1<<40 {
			return nil, fmt.Errorf("--sizes: a buffer of %s cannot be", strings.TrimSpace(text))
		}
		for _, other := range all {
			if other == int(n) {
				return nil, fmt.Errorf("--sizes: %v stands there twice", n)
			}
		}
		all = append(all, int(n))
	}
	return all, nil
}

// noArguments refuses arguments.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no argument, and %q was given", strings.TrimPrefix(cmd.CommandPath(), "speadx "), args[0])}
	}
	return nil
}

const benchReportLong = `Print the results of earlier runs as tables, and make a report of them with --html.
The files are what --format json printed; together they are one run, in which nothing
stands twice, such as each bench in a file of its own.`

func newBenchReportCommand() *cobra.Command {
	var html string
	cmd := &cobra.Command{
		Use:     "report [flags] FILE...",
		Short:   "Tables and charts of results that were saved",
		Long:    benchReportLong,
		Example: `  speadx bench report memory.json veth.json pool.json --html report.html`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("at least one FILE with results is required")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			var results []bench.Result
			for _, name := range args {
				more, err := readResults(name)
				if err != nil {
					return err
				}
				for i := range more {
					for j := range results {
						if more[i].SameAs(&results[j]) {
							return fmt.Errorf("%s: %v stands in an earlier file too", name, &more[i])
						}
					}
				}
				results = append(results, more...)
			}
			report, err := openReport(html)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, report.close()) }()
			return errors.Join(printResults(cmd.OutOrStdout(), results), report.write(results))
		},
	}
	cmd.Flags().StringVar(&html, "html", "", "write a report to this `FILE`")
	return cmd
}
