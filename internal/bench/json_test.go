// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestJSONRoundTrip(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, sample()...); err != nil {
		t.Fatal(err)
	}
	lines := strings.TrimSuffix(b.String(), "\n")
	if n := strings.Count(lines, "\n") + 1; n != len(sample()) {
		t.Errorf("%d lines for %d results", n, len(sample()))
	}
	for name, text := range map[string]string{
		"lines": b.String(), "no end of line": lines, "CRLF": strings.ReplaceAll(b.String(), "\n", "\r\n"),
		"array": "[" + strings.ReplaceAll(lines, "\n", ",\n") + "]\n",
	} {
		got, err := ReadResults(strings.NewReader(text))
		if err != nil || !reflect.DeepEqual(got, sample()) {
			t.Errorf("%s: read %+v, %v", name, got, err)
		}
	}
}

func TestJSONKeys(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSON(&b, Result{Bench: "memory", Contestant: "a<b", Conditions: Conditions{Packet: 1472}, Gbps: 1.5, Mpps: 0.25}); err != nil {
		t.Fatal(err)
	}
	const want = `{"bench":"memory","contestant":"a<b","packet":1472,"gbps":1.5,"mpps":0.25}` + "\n"
	if b.String() != want {
		t.Errorf("JSON is %s, want %s", &b, want)
	}
	if err := WriteJSON(&b, Result{Bench: "memory", Contestant: "x", Gbps: math.NaN()}); err == nil || !strings.Contains(err.Error(), "x in bench memory") {
		t.Errorf("NaN: error %v", err)
	}
}

func TestReadResultsRefused(t *testing.T) {
	const good = `{"bench":"pool","contestant":"make"}`
	with := func(keys string) string { return good + "\n" + `{"bench":"pool","contestant":"x",` + keys + "}" }
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "there are no results in it"},
		{"space", " \n\n", "there are no results in it"},
		{"empty array", "[]", "there are no results in it"},
		{"no JSON", good + "\nbench pool", "line 2: no JSON: invalid character 'b'"},
		{"no JSON within", good + "\n{\n\"bench\":x}", "line 3: no JSON: invalid character 'x'"},
		{"cut off", good + "\n{\"bench\":", "line 2: it ends in the middle"},
		{"array cut off", "[" + good, "line 1: it ends in the middle"},
		{"two arrays", "[" + good + "]\n[" + good + "]", "line 2: something follows the array"},
		{"lines after an array", "[" + good + "]\n\n" + good, "line 3: something follows the array"},
		{"no object", good + "\n17", "line 2: 17 is no object"},
		{"null", "null", "line 1: null is no object"},
		{"array in array", "[[" + good + "]]", "line 1: [{"},
		{"of recv", `{"type":"summary","gbps":1}`, `line 1: key "bench": "" is missing, or empty`},
		{"no contestant", `{"bench":"pool"}`, `line 1: key "contestant": "" is missing`},
		{"twice", good + "\n\n" + good, "has a result already, on line 1"},
		{"twice, with a terminal's codes", strings.Repeat(`{"bench":"pool","contestant":"\u001b]0;x\u0007"}`+"\n", 2), "line 2: pool �]0;x� has a result already, on line 1"},
		{"twice, with a line's codes", strings.Repeat(`{"bench":"pool","contestant":"x\r\u009b2K\u202e","generator":"\u001b[A","touch":"\b"}`+"\n", 2), "line 2: pool x��2K� �[A touch � has a result already, on line 1"},
		{"no JSON, with a terminal's codes", "\x1b[A", `line 1: no JSON: invalid character '\x1b'`},
		{"text for a number, under a terminal's codes", with(`"\u001b[A":1,"gbps":"\u001b[A"`), `line 2: key "gbps": a string is not`},
		{"no time, with a terminal's codes", with(`"machine":{"time":"\u001b[A"}`), `key "machine.time": "\x1b[A" is no time`},
		{"long, with a terminal's codes", with(`"note":"` + strings.Repeat(`\u001b`, maxText+1) + `"`), `key "note": "\x1b\x1b`},
		{"no object, with a terminal's codes", "\"\x7f\"", `line 1: "�" is no object`},
		{"text for a number", with(`"gbps":"fast"`), `line 2: key "gbps": a string is not what it takes (float64)`},
		{"NaN", with(`"gbps":NaN`), "line 2: no JSON"},
		{"overflow", with(`"gbps":1e999`), `line 2: key "gbps": a number 1e999 is not`},
		{"negative", with(`"mpps":-1`), `line 2: key "mpps": -1 is negative`},
		{"absurd", with(`"ns_per_op":1e13`), `line 2: key "ns_per_op": 1e+13 is beyond all that can be`},
		{"fraction", with(`"trials":1.5`), `key "trials": a number 1.5 is not`},
		{"negative heap", with(`"heap":-5`), `key "heap": -5 is negative`},
		{"interval", with(`"gbps":2,"gbps_low":3,"gbps_high":4`), `key "gbps_low": 3 is above the median of 2`},
		{"interval's end", with(`"gbps":2,"gbps_low":1,"gbps_high":1.5`), `key "gbps_high": 1.5 is below the median of 2`},
		{"ratio to nobody", with(`"ratio":{"value":2}`), `key "ratio.to": "" is missing`},
		{"ratio", with(`"ratio":{"to":"x","value":-2}`), `key "ratio.value": -2 is negative`},
		{"allocs", with(`"allocs":18446744073709551615`), `key "allocs": 18446744073709551615 is beyond`},
		{"curve", with(`"veth":{"curve":[{},{"trials":1,"lossy":2}]}`), `key "veth.curve[1].lossy": 2 is more than the 1 trials`},
		{"lost", with(`"veth":{"curve":[{"sent":1,"lost":2}]}`), `key "veth.curve[0].lost": 2 is more than the 1 that were sent`},
		{"curve's type", with(`"veth":{"curve":[{"sent":true}]}`), `key "veth.curve.sent": a bool`},
		{"machine", with(`"machine":{"cpus":-2}`), `key "machine.cpus": -2 is negative`},
		{"time", with(`"machine":{"time":"now"}`), `key "machine.time": "now" is no time`},
		{"long", with(`"note":"` + strings.Repeat("x", maxText+1) + `"`), `key "note": "xxxxxxxxxxxxxxxxxxxx"… is longer than 4096 bytes`},
		{"deep", strings.Repeat("[", 20000), "line 1: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadResults(strings.NewReader(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("read %d results, error %v; want %q", len(got), err, tt.want)
			}
			if text := err.Error(); clean(text) != text {
				t.Errorf("error %q would move a terminal's cursor", text)
			}
		})
	}
}

// TestReadResultsMany: of each of many results it is kept where it began, in bytes, and
// lines are counted only for an error. A number of the line for each would take as many
// looks at the whole.
func TestReadResultsMany(t *testing.T) {
	const n = 100000
	var b strings.Builder
	begins := make([]int, n)
	for i := range n {
		begins[i] = b.Len()
		fmt.Fprintf(&b, "{\"bench\":\"pool\",\"contestant\":\"x\",\"heap\":%d}\n", i+1)
	}
	rd := newReader([]byte(b.String()))
	results, err := rd.all()
	if err != nil || len(results) != n {
		t.Fatalf("read %d results, %v", len(results), err)
	}
	for i := range results {
		if at := rd.seen[results[i].name()]; at != begins[i] {
			t.Fatalf("result %d began at byte %d, want %d", i, at, begins[i])
		}
	}
	if rd.counted != 0 {
		t.Errorf("looked for lines in %d bytes, and there was no error", rd.counted)
	}

	b.WriteString(`{"bench":"pool","contestant":"x","heap":70000}`)
	rd = newReader([]byte(b.String()))
	_, err = rd.all()
	if want := fmt.Sprintf("line %d: pool x heap 70000 has a result already, on line 70000", n+1); err == nil || err.Error() != want {
		t.Errorf("error %v, want %q", err, want)
	}
	if rd.counted > 2*b.Len() {
		t.Errorf("looked for lines in %d of %d bytes", rd.counted, b.Len())
	}
}

func TestReadResultsUnknownKeys(t *testing.T) {
	got, err := ReadResults(strings.NewReader(`{"bench":"pool","contestant":"x","colour":[1,{"a":null}],"gbps":2}`))
	if err != nil || len(got) != 1 || got[0].Gbps != 2 {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestReadResultsTooLong(t *testing.T) {
	if _, err := ReadResults(bytes.NewReader(make([]byte, maxInput+1))); err == nil || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("error %v", err)
	}
}

// FuzzReadResults: nothing makes the reader panic, and what it takes can be written,
// read again, tabulated, compared with itself and plotted.
func FuzzReadResults(f *testing.F) {
	var b bytes.Buffer
	if err := WriteJSON(&b, sample()...); err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		f.Add([]byte(line))
	}
	f.Add([]byte(`[{"bench":"pool","contestant":"x","heap":1,"ns_per_op":1e-300},{"bench":"","contestant":null}]`))
	f.Add([]byte(`{"bench":"veth","contestant":"x","veth":{"curve":[{"offered_gbps":1e12,"trials":1}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		results, err := ReadResults(bytes.NewReader(data))
		if err != nil {
			if len(err.Error()) > 500 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		var b bytes.Buffer
		if err := WriteJSON(&b, results...); err != nil {
			t.Fatal(err)
		}
		again, err := ReadResults(&b)
		if err != nil || len(again) != len(results) {
			t.Fatalf("what was read is not read again: %v", err)
		}
		if err := WriteTable(&b, results); err != nil {
			t.Fatal(err)
		}
		if all, err := Compare(results, again, rule); err == nil && Regressions(all) > 0 {
			t.Errorf("slower than itself: %+v", all)
		}
		if err := WriteHTML(&b, results); err != nil {
			t.Fatal(err)
		}
	})
}
