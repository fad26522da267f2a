// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/speadx/speadx/internal/bench"
)

const benchLong = `Measure on this machine, each thing beside its rivals in one run: contestants take
turns, and a ratio is that of neighbours in time. Of several trials the median is
told, and the interval in which it lies with 95 % confidence.

Figures of two machines, or of two hours of a virtual one, are not to be compared
as they are; --baseline FILE, of what --format json printed, compares ratios, and
rates and times only where CPU, number of CPUs and kernel are the same. The exit status
is 1 if a ratio of speadx is less, beyond its interval and --tolerance, if speadx
allocates memory which it did not, or if a figure of it is gone, though others were
measured under the same conditions. All else is shown, and decides nothing: what rivals
do, what was measured once, and rates and times that differ by less than 35 %, which
decide with --absolute.

--html FILE writes a report with charts. --format json prints one object a line for
each result; docs/json.md says what its keys mean.`

func newBenchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure on this machine, beside rivals",
		Long:  benchLong,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{unknownCommand(cmd, args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBenchMemoryCommand(), newBenchVethCommand(), newBenchPoolCommand(), newBenchReportCommand())
	return cmd
}

// benchFlags are those of each command that measures.
type benchFlags struct {
	format    string
	html      string
	baseline  string
	tolerance float64 // per cent
	absolute  bool
	only      []string // contestants that were asked for; nil: all
}

func (f *benchFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.format, "format", "text", "of the results: text or json")
	flags.StringVar(&f.html, "html", "", "write a report to this `FILE`")
	flags.StringVar(&f.baseline, "baseline", "", "compare with the results in this `FILE`, from --format json")
	flags.Float64Var(&f.tolerance, "tolerance", 100*bench.Tolerance, "how many per cent may be lost to the baseline")
	flags.BoolVar(&f.absolute, "absolute", false, "let rates and times fail --baseline too: for machines whose speed does not change from run to run")
}

// runBench does what all commands that measure have in common: it collects what
// measure emits and prints it, writes the report, and compares with the baseline.
// What cannot be read or written is found before anything is measured. A signal ends
// the measurement; what there is by then is printed all the same.
//
// emit is for one goroutine at a time. It completes [bench.Result.Machine], of which
// a bench may set Pages.
func runBench(cmd *cobra.Command, f *benchFlags, measure func(ctx context.Context, emit func(bench.Result)) error) (err error) {
	if f.format != "text" && f.format != "json" {
		return usageError{fmt.Errorf("--format %q is neither text nor json", f.format)}
	}
	if !(f.tolerance >= 0 && f.tolerance < 100) {
		return usageError{fmt.Errorf("--tolerance %v is not a percentage below 100", f.tolerance)}
	}
	if f.absolute && f.baseline == "" {
		return usageError{errors.New("--absolute says how to compare, and needs --baseline")}
	}
	var baseline []bench.Result
	if f.baseline != "" {
		if baseline, err = readResults(f.baseline); err != nil {
			return fmt.Errorf("--baseline: %w", err)
		}
		if f.only != nil {
			baseline = resultsOf(baseline, f.only)
		}
	}
	report, err := openReport(f.html)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, report.close()) }()
	ctx, stop := untilSignal(cmd.Context(), true)
	defer stop()

	stdout, stderr := cmd.OutOrStdout(), cmd.ErrOrStderr()
	machine := bench.ThisMachine(version, commandLine(cmd))
	progress := benchProgress{w: stderr, on: isTerminal(stderr)}
	var results []bench.Result
	var failed error // to print
	err = measure(ctx, func(r bench.Result) {
		m := machine
		if r.Machine != nil {
			m.Pages = r.Machine.Pages
		}
		r.Machine = &m
		results = append(results, r)
		progress.show(&r)
		if f.format == "json" && failed == nil {
			failed = bench.WriteJSON(stdout, r)
		}
	})
	progress.clear()
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = errors.New("it was interrupted")
	}
	if f.format == "text" && len(results) > 0 {
		failed = printResults(stdout, results)
	}
	if len(results) > 0 {
		failed = errors.Join(failed, report.write(results))
	}
	if err = errors.Join(err, failed); err != nil || f.baseline == "" {
		return err
	}
	if f.format == "json" {
		stdout = stderr // where all is text
	}
	return compare(stdout, baseline, results, bench.Rule{Tolerance: f.tolerance / 100, Absolute: f.absolute})
}

// compare prints how results differ from the baseline. It is an error if something of
// ours is slower, or gone.
func compare(w io.Writer, baseline, results []bench.Result, rule bench.Rule) error {
	comparisons, err := bench.Compare(baseline, results, rule)
	if err != nil {
		return fmt.Errorf("--baseline: %w", err)
	}
	fmt.Fprintln(w)
	if err := bench.WriteComparison(w, comparisons); err != nil {
		return err
	}
	if n := bench.Regressions(comparisons); n > 0 {
		return fmt.Errorf("%d %s slower than in the baseline, or gone", n, plural(n, "measure"))
	}
	return nil
}

// printResults prints the machines and the tables.
func printResults(w io.Writer, results []bench.Result) error {
	for _, m := range bench.Machines(results) {
		fmt.Fprintf(w, "%v\n", &m)
	}
	fmt.Fprintln(w)
	return bench.WriteTable(w, results)
}

// commandLine is the command with the flags that were given.
func commandLine(cmd *cobra.Command) string {
	words := []string{cmd.CommandPath()}
	cmd.Flags().Visit(func(f *pflag.Flag) { words = append(words, "--"+f.Name+"="+f.Value.String()) })
	return strings.Join(words, " ")
}

func readResults(name string) ([]bench.Result, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	results, err := bench.ReadResults(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return results, nil
}

// resultsOf leaves only what is of these contestants alone, so that nobody misses what
// was not asked for. Their ratios go if those to whom they are were not.
func resultsOf(results []bench.Result, contestants []string) (left []bench.Result) {
	for _, r := range results {
		if !slices.Contains(contestants, r.Contestant) {
			continue
		}
		if r.Ratio != nil && !slices.Contains(contestants, r.Ratio.To) {
			r.Ratio = nil
		}
		left = append(left, r)
	}
	return left
}

// reportFile is where the report goes; nil: there is none. What was in the file stays
// until the report is there.
type reportFile struct {
	f       *os.File
	created bool
	written bool
}

// openReport opens the file named, if it has a name.
func openReport(name string) (*reportFile, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	created := err == nil
	if errors.Is(err, os.ErrExist) {
		f, err = os.OpenFile(name, os.O_WRONLY, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("--html: %w", err)
	}
	return &reportFile{f: f, created: created}, nil
}

func (r *reportFile) write(results []bench.Result) error {
	if r == nil {
		return nil
	}
	r.written = true
	if info, err := r.f.Stat(); err == nil && info.Mode().IsRegular() {
		if err := r.f.Truncate(0); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
	}
	if err := bench.WriteHTML(r.f, results); err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	return nil
}

// close closes the file, and takes it away again if it is new and nothing came.
func (r *reportFile) close() error {
	if r == nil {
		return nil
	}
	err := r.f.Close()
	if r.created && !r.written {
		err = errors.Join(err, os.Remove(r.f.Name()))
	}
	return err
}

// benchProgress is a line on a terminal that says what was measured last.
type benchProgress struct {
	w  io.Writer
	on bool
	n  int
}

func (p *benchProgress) show(r *bench.Result) {
	if p.n++; p.on {
		fmt.Fprintf(p.w, "\r\x1b[K%d %s, the last of %s: %v", p.n, plural(p.n, "result"), r.Contestant, r.Conditions)
	}
}

func (p *benchProgress) clear() {
	if p.on && p.n > 0 {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
