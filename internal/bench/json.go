// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"time"
	"unicode/utf8"
)

// WriteJSON writes each result as one JSON object on a line of its own.
func WriteJSON(w io.Writer, results ...Result) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i := range results {
		if err := enc.Encode(&results[i]); err != nil {
			r := &results[i]
			return fmt.Errorf("result of %s in bench %s: %w", clean(r.Contestant), clean(r.Bench), err)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Bounds of what is taken for a result. They are far from all that can be measured:
// what is beyond them comes from elsewhere.
const (
	maxInput  = 64 << 20 // bytes
	maxFigure = 1e12
	maxCount  = 1 << 50
	maxText   = 4096 // bytes
)

// ReadResults reads what [WriteJSON] wrote, or the same objects as a JSON array. Keys
// it does not know are passed over. An error names the line, and the key and its value
// where it is one that cannot be.
func ReadResults(r io.Reader) ([]Result, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxInput {
		return nil, fmt.Errorf("more than %d MiB cannot be results", maxInput>>20)
	}
	return newReader(data).all()
}

// name is what makes a result another one than the others of its run.
type name struct {
	bench, contestant string
	Conditions
}

func (r *Result) name() name { return name{r.Bench, r.Contestant, r.Conditions} }

// SameAs reports whether r and o are results of the same thing, under the same conditions.
func (r *Result) SameAs(o *Result) bool { return r.name() == o.name() }

// String returns what r is the result of: bench, contestant and conditions.
func (r *Result) String() string { return r.name().String() }

type reader struct {
	data []byte
	dec  *json.Decoder
	seen map[name]int // where each began, bytes

	// counted is how many bytes were looked through for lines. That is done for errors
	// alone: for each result, it would take a time that goes with the square of the input.
	counted int
}

func newReader(data []byte) *reader {
	return &reader{data: data, dec: json.NewDecoder(bytes.NewReader(data)), seen: map[name]int{}}
}

func (rd *reader) all() ([]Result, error) {
	start := rd.next()
	array := start < len(rd.data) && rd.data[start] == '['
	if array {
		if _, err := rd.dec.Token(); err != nil {
			return nil, rd.at(start, err)
		}
	}
	var results []Result
	for rd.dec.More() {
		start := rd.next()
		r, err := rd.one(start)
		if err != nil {
			return nil, err
		}
		results = append(results, *r)
	}
	start = rd.next()
	// The end of the array, or of the input.
	if _, err := rd.dec.Token(); array && err == nil {
		start = rd.next()
		_, err = rd.dec.Token()
		if err == nil {
			err = errors.New("something follows the array")
		}
		if !errors.Is(err, io.EOF) {
			return nil, rd.at(start, err)
		}
	} else if array || !errors.Is(err, io.EOF) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, rd.at(start, err)
	}
	if len(results) == 0 {
		return nil, errors.New("there are no results in it")
	}
	return results, nil
}

// next returns where the next value begins, past space and a comma.
func (rd *reader) next() int {
	off := int(rd.dec.InputOffset())
	for off < len(rd.data) && bytes.IndexByte([]byte(" \t\r\n,"), rd.data[off]) >= 0 {
		off++
	}
	return off
}

// line returns the number of the line that offset is in.
func (rd *reader) line(offset int) int {
	before := rd.data[:min(offset, len(rd.data))]
	rd.counted += len(before)
	return 1 + bytes.Count(before, []byte{'\n'})
}

// at says where err is: in what begins at start.
func (rd *reader) at(start int, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("line %d: it ends in the middle", rd.line(len(rd.data)))
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		// A decoder's offsets are not those of its input: look once more.
		var raw json.RawMessage
		if again := json.Unmarshal(rd.data[start:], &raw); errors.As(again, &syntax) {
			start += max(int(syntax.Offset)-1, 0)
		}
		return fmt.Errorf("line %d: no JSON: %w", rd.line(start), err)
	}
	return fmt.Errorf("line %d: %w", rd.line(start), err)
}

// one reads the result that begins at start.
func (rd *reader) one(start int) (*Result, error) {
	var raw json.RawMessage
	if err := rd.dec.Decode(&raw); err != nil {
		return nil, rd.at(start, err)
	}
	if raw[0] != '{' {
		return nil, rd.at(start, fmt.Errorf("%s is no object", excerpt(raw)))
	}
	var r Result
	if err := json.Unmarshal(raw, &r); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return nil, rd.at(start+int(wrong.Offset)-1, fmt.Errorf("key %q: a %s is not what it takes (%v)", wrong.Field, wrong.Value, wrong.Type))
		}
		return nil, rd.at(start, err)
	}
	if err := r.check(); err != nil {
		return nil, rd.at(start, err)
	}
	if first, ok := rd.seen[r.name()]; ok {
		return nil, rd.at(start, fmt.Errorf("%v has a result already, on line %d", &r, rd.line(first)))
	}
	rd.seen[r.name()] = start
	return &r, nil
}

func excerpt(raw []byte) string {
	const most = 40
	if len(raw) <= most {
		return clean(string(raw))
	}
	n := most
	for n > 0 && !utf8.RuneStart(raw[n]) {
		n--
	}
	return clean(string(raw[:n])) + "…"
}

// checker keeps the first thing that is wrong.
type checker struct{ err error }

func (c *checker) fail(key string, value any, why string) {
	if c.err == nil {
		c.err = fmt.Errorf("key %q: %v %s", key, value, why)
	}
}

func (c *checker) text(key, s string, needed bool) {
	switch {
	case needed && s == "":
		c.fail(key, `""`, "is missing, or empty")
	case len(s) > maxText:
		c.fail(key, fmt.Sprintf("%q…", s[:20]), fmt.Sprintf("is longer than %d bytes", maxText))
	}
}

func (c *checker) figure(key string, v float64) {
	switch {
	case math.IsNaN(v):
		c.fail(key, v, "is not a number")
	case v < 0:
		c.fail(key, v, "is negative")
	case v > maxFigure:
		c.fail(key, v, "is beyond all that can be")
	}
}

func (c *checker) count(key string, n int64) {
	switch {
	case n < 0:
		c.fail(key, n, "is negative")
	case n > maxCount:
		c.fail(key, n, "is beyond all that can be")
	}
}

func (c *checker) unsigned(key string, n uint64) {
	if n > maxCount {
		c.fail(key, n, "is beyond all that can be")
	}
}

// interval checks a figure and its interval, if it has one.
func (c *checker) interval(key string, v float64, lowKey string, low float64, highKey string, high float64) {
	c.figure(key, v)
	c.figure(lowKey, low)
	c.figure(highKey, high)
	if low == 0 && high == 0 {
		return
	}
	if low > v {
		c.fail(lowKey, low, fmt.Sprintf("is above the median of %v", v))
	}
	if high < v {
		c.fail(highKey, high, fmt.Sprintf("is below the median of %v", v))
	}
}

// check says what in r cannot be.
func (r *Result) check() error {
	var c checker
	c.text("bench", r.Bench, true)
	c.text("contestant", r.Contestant, true)
	c.text("generator", r.Generator, false)
	c.text("touch", r.Touch, false)
	c.text("note", r.Note, false)
	c.count("senders", int64(r.Senders))
	c.count("packet", int64(r.Packet))
	c.count("heap", r.Heap)
	c.count("threads", int64(r.Threads))
	c.count("trials", int64(r.Trials))
	c.interval("gbps", r.Gbps, "gbps_low", r.GbpsLow, "gbps_high", r.GbpsHigh)
	c.figure("mpps", r.Mpps)
	c.interval("ns_per_op", r.NsPerOp, "ns_per_op_low", r.NsLow, "ns_per_op_high", r.NsHigh)
	c.figure("gain", r.Gain)
	if r.Allocs != nil {
		c.unsigned("allocs", *r.Allocs)
	}
	if t := r.Ratio; t != nil {
		c.text("ratio.to", t.To, true)
		c.interval("ratio.value", t.Value, "ratio.low", t.Low, "ratio.high", t.High)
	}
	if t := r.GainRatio; t != nil {
		c.text("gain_ratio.to", t.To, true)
		c.interval("gain_ratio.value", t.Value, "gain_ratio.low", t.Low, "gain_ratio.high", t.High)
	}
	if r.Veth != nil {
		r.Veth.check(&c)
	}
	if r.Machine != nil {
		r.Machine.check(&c)
	}
	return c.err
}

func (v *Veth) check(c *checker) {
	c.figure("veth.paced_gbps", v.PacedGbps)
	c.figure("veth.machine_cpu_s_per_gb", math.Max(v.MachineCPUPerGB, 0)) // a difference: noise may make it negative
	c.figure("veth.process_cpu_s_per_gb", v.ProcessCPUPerGB)
	c.unsigned("veth.paced_lost", v.PacedLost)
	c.count("veth.ring_peak", int64(v.RingPeak))
	c.count("veth.ring_size", int64(v.RingSize))
	if d := v.Disturbed; d != nil {
		c.figure("veth.disturbed.gbps", d.Gbps)
		c.figure("veth.disturbed.seconds", d.Seconds)
		c.unsigned("veth.disturbed.sent", d.Sent)
		c.unsigned("veth.disturbed.lost", d.Lost)
		c.unsigned("veth.disturbed.collections", d.Collections)
		c.unsigned("veth.disturbed.readings", d.Readings)
		c.unsigned("veth.disturbed.stalls", d.Stalls)
		if d.Lost > d.Sent {
			c.fail("veth.disturbed.lost", d.Lost, fmt.Sprintf("is more than the %d that were sent", d.Sent))
		}
	}
	for i := range v.Curve {
		p := &v.Curve[i]
		key := func(s string) string { return fmt.Sprintf("veth.curve[%d].%s", i, s) }
		c.figure(key("offered_gbps"), p.OfferedGbps)
		c.count(key("trials"), int64(p.Trials))
		c.count(key("lossy"), int64(p.Lossy))
		c.count(key("ring_peak"), int64(p.RingPeak))
		c.unsigned(key("sent"), p.Sent)
		c.unsigned(key("refused"), p.Refused)
		c.unsigned(key("lost"), p.Lost)
		if p.Lossy > p.Trials {
			c.fail(key("lossy"), p.Lossy, fmt.Sprintf("is more than the %d trials", p.Trials))
		}
		if p.Lost > p.Sent {
			c.fail(key("lost"), p.Lost, fmt.Sprintf("is more than the %d that were sent", p.Sent))
		}
	}
}

func (m *Machine) check(c *checker) {
	for _, t := range []struct{ key, text string }{
		{"cpu", m.CPU}, {"kernel", m.Kernel}, {"arch", m.Arch}, {"go", m.Go}, {"pages", m.Pages}, {"version", m.Version}, {"command", m.Command},
	} {
		c.text("machine."+t.key, t.text, false)
	}
	c.count("machine.cpus", int64(m.CPUs))
	c.unsigned("machine.memory", m.Memory)
	c.unsigned("machine.l3", m.L3)
	if _, err := time.Parse(time.RFC3339, m.Time); err != nil && m.Time != "" {
		c.fail("machine.time", fmt.Sprintf("%.30q", m.Time), "is no time as in RFC 3339")
	}
}
