// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/speadx/speadx/internal/bench"
	"github.com/speadx/speadx/internal/units"
)

const benchMemoryLong = `Measure how fast heaps come together from packets that lie in memory: decoding,
placing, completing, handing over and releasing, with no network. Beside it plain
copy of the same payloads, and spead2_bench with the same sizes, where it is
installed: it measures one thread, takes no turns, and needs some 12 s each time.

Several threads take heaps in turn, or pieces of each heap (same heap). The packets
take more memory than caches have. Rates are of payload, also that of spead2_bench.

The exit status is 1 if speadx allocates memory while packets flow. --format, --html
and --baseline are explained by 'speadx bench --help'.`

// spead2Bench is spead2's own measurement.
const spead2Bench = "spead2_bench"

func newBenchMemoryCommand() *cobra.Command {
	var f benchFlags
	var o bench.MemoryOptions
	if err := o.Complete(); err != nil {
		panic(err) // the defaults can be measured anywhere
	}
	size := units.Size(o.Bytes)
	var short, spead2 bool
	cmd := &cobra.Command{
		Use:   "memory",
		Short: "How fast heaps come together from packets in memory",
		Long:  benchMemoryLong,
		Example: `  speadx bench memory
  speadx bench memory --packet 8972 -H 1MiB,64MiB --threads 1,2 --html memory.html
  speadx bench memory --short --spead2=false`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			flags := cmd.Flags()
			o.Bytes = int64(size)
			if o.Rounds < 1 { // 0 would be the default
				return usageError{fmt.Errorf("--rounds %d is not a number from 1", o.Rounds)}
			}
			if o.Bytes < 1 {
				return usageError{errors.New("--bytes 0 is no measurement")}
			}
			if short {
				shorten := func(flag string, set func()) {
					if !flags.Changed(flag) {
						set()
					}
				}
				shorten("heap-size", func() { o.Heaps = []int64{1 << 20} })
				shorten("threads", func() { o.Threads = []int{1} })
				shorten("bytes", func() { o.Bytes = 128 << 20 })
				shorten("rounds", func() { o.Rounds = 3 })
			}
			if err := o.Complete(); err != nil {
				return usageError{err}
			}
			if spead2 {
				o.Spead2, err = exec.LookPath(spead2Bench)
				if err != nil && flags.Changed("spead2") {
					return fmt.Errorf("--spead2: %w", err)
				}
			}
			return runBench(cmd, &f, func(ctx context.Context, emit func(bench.Result)) error {
				j := allocationJudge{o: &o}
				err := bench.Memory(ctx, o, func(r bench.Result) {
					j.see(&r)
					emit(r)
				})
				return errors.Join(err, j.verdict())
			})
		},
	}
	flags := cmd.Flags()
	flags.Var(intList(&o.Packets), "packet", "UDP payload of a full packet, `BYTES`; may be repeated")
	flags.VarP(&listFlag[int64]{
		values: &o.Heaps, kind: "sizes",
		parse: func(text string) (int64, error) {
			n, err := units.ParseSize(text)
			return int64(n), err
		},
		text: func(n int64) string { return units.Size(n).String() },
	}, "heap-size", "H", "payload of a heap, a `SIZE` such as 64MiB, 64Mi or 67108864; may be repeated")
	flags.Var(intList(&o.Threads), "threads", "how many threads feed, `N`; may be repeated")
	flags.Var(&size, "bytes", "how much memory the heaps' payloads take, a `SIZE`")
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "turns of each contestant")
	flags.BoolVar(&short, "short", false, "take a few seconds: heaps of 1 MiB, 1 thread, 128 MiB and 3 rounds, where nothing else is asked for")
	flags.BoolVar(&spead2, "spead2", true, "measure "+spead2Bench+" too, if it is installed")
	f.add(flags)
	return cmd
}

func intList(values *[]int) *listFlag[int] {
	return &listFlag[int]{
		values: values, kind: "numbers", text: strconv.Itoa,
		parse: func(text string) (int, error) {
			n, err := strconv.Atoi(text)
			if err != nil {
				return 0, fmt.Errorf("%q is not a whole number, or too large", text)
			}
			return n, nil
		},
	}
}

// allocationJudge collects the results under which memory was allocated for packets.
type allocationJudge struct {
	o   *bench.MemoryOptions
	bad []string
}

func (j *allocationJudge) see(r *bench.Result) {
	if r.Contestant == "speadx" && r.Allocates() {
		j.bad = append(j.bad, fmt.Sprintf("%d times in %d heaps with %v", *r.Allocs, j.o.Bytes/r.Heap, r.Conditions))
	}
}

func (j *allocationJudge) verdict() error {
	if j.bad == nil {
		return nil
	}
	return fmt.Errorf("speadx allocated memory while packets flowed: %s", strings.Join(j.bad, "; "))
}
