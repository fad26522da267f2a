// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files")

func TestTable(t *testing.T) {
	const golden = "testdata/table.txt"
	var b bytes.Buffer
	if err := WriteTable(&b, sample()); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("the table is\n%s\nwant\n%s", got, want)
	}
}

// TestTableGroups: what has the same conditions stands together, whatever came between.
func TestTableGroups(t *testing.T) {
	c, d := Conditions{Packet: 1}, Conditions{Packet: 2}
	var b bytes.Buffer
	if err := WriteTable(&b, []Result{
		{Bench: "memory", Contestant: "a", Conditions: c, Gbps: 1}, {Bench: "pool", Contestant: "p", NsPerOp: 5},
		{Bench: "memory", Contestant: "a", Conditions: d, Gbps: 2}, {Bench: "memory", Contestant: "b\x1b[2J", Conditions: c, Gbps: 3, Ratio: &Ratio{To: "a", Value: 3}},
		{Bench: "memory", Contestant: "b", Conditions: d, Gbps: 4, Ratio: &Ratio{To: "z", Value: 4}},
	}); err != nil {
		t.Fatal(err)
	}
	const want = `bench memory
packet  contestant  Gb/s     ratio
     1  a           1.00
     1  b�[2J       3.00  3.00 x a

     2  a           2.00
     2  b           4.00  4.00 x z

bench pool
contestant  ns/op
p            5.00
`
	if b.String() != want {
		t.Errorf("the table is\n%s\nwant\n%s", b.String(), want)
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 1: "1.00", 9.994: "9.99", 9.996: "10.0", 99.96: "100", 123456.7: "123457", 0.05: "0.0500", -0.5: "-0.500", 1e-15: "0.000000000",
	} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestWriteErrors(t *testing.T) {
	for name, err := range map[string]error{
		"table":      WriteTable(brokenWriter{}, sample()),
		"JSON":       WriteJSON(brokenWriter{}, sample()...),
		"HTML":       WriteHTML(brokenWriter{}, sample()),
		"comparison": WriteComparison(brokenWriter{}, nil),
	} {
		if err == nil || !strings.Contains(err.Error(), os.ErrClosed.Error()) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }
