// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/speadx/speadx/internal/bench"
)

func main() {
	out := flag.String("o", ".", "the `directory` of the charts")
	flag.Parse()
	if err := run(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "charts:", err)
		os.Exit(1)
	}
}

// run makes the charts of the results in files.
func run(out string, files []string) error {
	made, err := chartsOf(files)
	if err != nil {
		return err
	}
	for name, svg := range made {
		if err := os.WriteFile(filepath.Join(out, name), svg, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// shown are the sections that documents show. Single trials are for the report.
var shown = []bench.Section{bench.RateSection, bench.MemorySection, bench.CPUSection, bench.ThreadsSection, bench.PoolSection}

// chartsOf returns SVG files by name.
func chartsOf(files []string) (map[string][]byte, error) {
	if len(files) == 0 {
		return nil, errors.New("no file with results is named")
	}
	results := map[string][]bench.Result{} // by machine
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		at := strings.LastIndexByte(name, '-')
		if at < 1 {
			return nil, fmt.Errorf("%s is not called MACHINE-BENCH.json", file)
		}
		more, err := read(file)
		if err != nil {
			return nil, err
		}
		results[name[:at]] = append(results[name[:at]], more...)
	}
	made := map[string][]byte{}
	for machine, all := range results {
		charts := bench.Charts(all)
		for _, section := range shown {
			of := slices.DeleteFunc(slices.Clone(charts), func(c bench.Chart) bool { return c.Section != section })
			if len(of) == 0 {
				continue
			}
			svg, err := draw(of, sources(all, of))
			if err != nil {
				return nil, err
			}
			made[fmt.Sprintf("%s-%s.svg", machine, section)] = svg
		}
	}
	return made, nil
}

func read(file string) ([]bench.Result, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	results, err := bench.ReadResults(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return results, nil
}

// sources says of charts with which machine, when and by which command they were measured.
func sources(results []bench.Result, charts []bench.Chart) (lines []string) {
	benchOf := map[bench.Section]string{
		bench.RateSection: "veth", bench.CPUSection: "veth", bench.MemorySection: "memory", bench.ThreadsSection: "memory", bench.PoolSection: "pool",
	}
	of := slices.DeleteFunc(slices.Clone(results), func(r bench.Result) bool { return r.Bench != benchOf[charts[0].Section] })
	for _, m := range bench.Machines(of) {
		day, _, _ := strings.Cut(m.Time, "T")
		lines = append(lines, fmt.Sprintf("%s, %d CPUs, %s. %s. speadx %s", m.CPU, m.CPUs, m.Kernel, day, m.Version), m.Command)
	}
	return lines
}
