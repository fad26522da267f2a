// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Code names a kind of diagnosis. It is an interface: JSON, logs and alerts use it.
type Code string

// Diagnosis says what is wrong, and what would help. It is computed from counters, and holds
// values, not prose. Fields that do not apply are zero; -1 is no queue.
type Diagnosis struct {
	Code   Code
	Stream string // name of the stream; "" if it is not of one
	Device string // name of the network interface
	Queue  int    // receive queue of the device, or -1
	Source string // address of a sender, or name of a source
	Other  string // what else matters: another interface, a link type, a file

	Count    uint64        // how many, in the unit of the code's row
	Of       uint64        // of how many, in the same unit; 0 is unknown
	Bytes    int64         // a size in bytes
	Duration time.Duration // a time span
	First    time.Time     // when it was first seen
	Last     time.Time     // when it was last seen

	Setting   string // field of speadx.Config whose change helps; "" if none does
	Value     int64  // what the setting is
	Suggested int64  // what it should be

	Fate     string        // name of a fate
	Interval time.Duration // between two heaps
	Blocked  time.Duration // for which threads waited
	Every    uint64        // each so many-th
	Modulo   uint64        // of Heap
	Gaps     [2]Gap        // the first and the largest

	Cause   Reason   // of NothingArrived
	Silence *Silence // of NothingArrived; else nil

	NumSenders int // that were heard

	Heap    uint64            // a heap's count
	Senders [2]netip.AddrPort // who sent it
	Err     error             // what failed
}

// Gap is a number of heaps missing one behind the other.
type Gap struct {
	Heap  uint64    // number of the first of them
	Heaps uint64    // how many
	At    time.Time // about when they should have come
}

// CodeRow describes one code.
type CodeRow struct {
	Code  Code
	Stage Stage
	Unit  Unit // of Count and Of
	// Severity is slog.LevelWarn for a loss or a fault, slog.LevelInfo for what one should know.
	Severity slog.Level
	// Sentence says it to people, with values in braces: {count}, {stream}, {setting}.
	Sentence string
	// Remedy says what to do, likewise; "" if nothing needs doing.
	Remedy string
	// Meaning is for the documents: when the diagnosis is made.
	Meaning string
}

// Codes describes every code, in the order of the stages.
func Codes() []CodeRow { return codes }

// Row describes the code. An unknown code has an empty row.
func (c Code) Row() CodeRow {
	for i := range codes {
		if codes[i].Code == c {
			return codes[i]
		}
	}
	return CodeRow{Code: c, Severity: slog.LevelWarn}
}

// Sentence is the diagnosis for people: what was seen, and what to do. The names of settings
// are given by name; nil is for Config.Field.
func (d *Diagnosis) Sentence(name func(setting string) string) string {
	row := d.Code.Row()
	text := row.Sentence
	if row.Remedy != "" {
		text += " " + row.Remedy
	}
	if text == "" {
		text = string(d.Code)
	}
	return Fill(text, func(key string) string {
		if v, ok := d.value(key, name); ok {
			return v
		}
		if name == nil {
			return "Config." + key
		}
		return name(key)
	})
}

// value is what a key in braces stands for; names of settings begin with a capital letter and
// are none.
func (d *Diagnosis) value(key string, name func(string) string) (string, bool) {
	switch key {
	case "stream":
		return d.Stream, true
	case "device":
		return d.Device, true
	case "queue":
		return strconv.Itoa(d.Queue), true
	case "queues":
		if d.Queue < 0 {
			return "some queue", true
		}
		return "queue " + strconv.Itoa(d.Queue), true
	case "source":
		if d.Source == "" {
			return "a sender that was not heard", true
		}
		return d.Source, true
	case "other":
		return d.Other, true
	case "fate":
		return d.Fate, true
	case "interval":
		return rounded(d.Interval).String(), true
	case "blocked":
		return rounded(d.Blocked).String(), true
	case "every":
		return strconv.FormatUint(d.Every, 10), true
	case "modulo":
		return strconv.FormatUint(d.Modulo, 10), true
	case "gap":
		return strconv.FormatUint(d.Gaps[0].Heap, 10), true
	case "gap_heaps":
		return strconv.FormatUint(d.Gaps[0].Heaps, 10), true
	case "gap_time":
		return d.Gaps[0].At.UTC().Format("15:04:05.0"), true
	case "largest":
		return strconv.FormatUint(d.Gaps[1].Heap, 10), true
	case "largest_heaps":
		return strconv.FormatUint(d.Gaps[1].Heaps, 10), true
	case "largest_time":
		return d.Gaps[1].At.UTC().Format("15:04:05.0"), true
	case "where":
		return d.silence().Where.String(), true
	case "seen":
		return d.silence().Seen.String(), true
	case "cause":
		return Fill(reasons[d.Cause], name), true
	case "count":
		return strconv.FormatUint(d.Count, 10), true
	case "of":
		return strconv.FormatUint(d.Of, 10), true
	case "share":
		return Percent(d.Count, d.Of), true
	case "bytes":
		return strconv.FormatInt(d.Bytes, 10), true
	case "duration":
		return rounded(d.Duration).String(), true
	case "first":
		return d.First.UTC().Format("15:04:05.000"), true
	case "last":
		return d.Last.UTC().Format("15:04:05.000"), true
	case "setting":
		return Fill("{"+d.Setting+"}", name), true
	case "value":
		return strconv.FormatInt(d.Value, 10), true
	case "suggested":
		return strconv.FormatInt(d.Suggested, 10), true
	case "heap":
		return strconv.FormatUint(d.Heap, 10), true
	case "senders":
		return strconv.Itoa(d.NumSenders), true
	case "sender":
		return d.Senders[0].String(), true
	case "sender2":
		return d.Senders[1].String(), true
	case "err":
		return fmt.Sprint(d.Err), true
	}
	return "", false
}

// Percent is n of all in percent, with as many digits as say something: "0.4 %".
func Percent(n, all uint64) string {
	if all == 0 {
		return "0 %"
	}
	return strconv.FormatFloat(100*float64(n)/float64(all), 'g', 3, 64) + " %"
}

// rounded leaves a time span three digits or so.
func rounded(d time.Duration) time.Duration {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= 10*unit {
			return d.Round(unit / 10)
		}
	}
	return d
}

// Attrs are the values that are there, for a log record. Their keys are those of the JSON.
func (d *Diagnosis) Attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("code", string(d.Code))}
	for _, a := range []slog.Attr{
		slog.String("stream", d.Stream), slog.String("device", d.Device), slog.String("source", d.Source),
		slog.String("other", d.Other),
	} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	if d.Queue >= 0 && d.Device != "" {
		attrs = append(attrs, slog.Int("queue", d.Queue))
	}
	if d.Count > 0 {
		attrs = append(attrs, slog.Uint64("count", d.Count))
	}
	if d.Of > 0 {
		attrs = append(attrs, slog.Uint64("of", d.Of))
	}
	if d.Bytes > 0 {
		attrs = append(attrs, slog.Int64("bytes", d.Bytes))
	}
	if d.Duration > 0 {
		attrs = append(attrs, slog.Float64("seconds", d.Duration.Seconds()))
	}
	if d.Interval > 0 {
		attrs = append(attrs, slog.Float64("interval_seconds", d.Interval.Seconds()))
	}
	if d.Blocked > 0 {
		attrs = append(attrs, slog.Float64("blocked_seconds", d.Blocked.Seconds()))
	}
	if d.Fate != "" {
		attrs = append(attrs, slog.String("fate", d.Fate))
	}
	if d.NumSenders > 0 {
		attrs = append(attrs, slog.Int("senders", d.NumSenders))
	}
	if d.Every > 0 {
		attrs = append(attrs, slog.Uint64("every", d.Every))
	}
	if d.Modulo > 0 {
		attrs = append(attrs, slog.Uint64("heap", d.Heap), slog.Uint64("modulo", d.Modulo))
	}
	for i, name := range []string{"first_gap", "largest_gap"} {
		if g := d.Gaps[i]; g.Heaps > 0 {
			attrs = append(attrs, slog.Uint64(name+"_heap", g.Heap), slog.Uint64(name+"_heaps", g.Heaps), slog.Time(name+"_time", g.At))
		}
	}
	if !d.First.IsZero() {
		attrs = append(attrs, slog.Time("first", d.First))
	}
	if !d.Last.IsZero() {
		attrs = append(attrs, slog.Time("last", d.Last))
	}
	if d.Setting != "" {
		attrs = append(attrs, slog.String("setting", d.Setting), slog.Int64("value", d.Value), slog.Int64("suggested", d.Suggested))
	}
	if d.Cause != "" {
		attrs = append(attrs, slog.String("cause", string(d.Cause)), slog.Any("where", d.silence().Where), slog.Any("seen", d.silence().Seen))
	}
	if d.Senders[0].IsValid() {
		attrs = append(attrs, slog.Uint64("heap", d.Heap), slog.String("sender", d.Senders[0].String()), slog.String("sender2", d.Senders[1].String()))
	}
	if d.Err != nil {
		attrs = append(attrs, slog.String("err", d.Err.Error()))
	}
	return attrs
}

// LogValue implements [slog.LogValuer]: a group of Attrs. With an empty key it is inlined.
func (d Diagnosis) LogValue() slog.Value { return slog.GroupValue(d.Attrs()...) }

// MarshalJSON gives an object of the values that are there, with the severity and the sentence.
func (d *Diagnosis) MarshalJSON() ([]byte, error) { return d.JSON(nil) }

// JSON is MarshalJSON with the names of settings that the program uses in the sentence.
func (d *Diagnosis) JSON(name func(setting string) string) ([]byte, error) {
	row := d.Code.Row()
	var b strings.Builder
	b.WriteByte('{')
	put := func(key string, v any) error {
		text, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%q:%s", key, text)
		return nil
	}
	for _, a := range d.Attrs() {
		v := a.Value.Any()
		if a.Value.Kind() == slog.KindTime {
			v = float64(a.Value.Time().UnixMicro()) / 1e6
		}
		if err := put(a.Key, v); err != nil {
			return nil, err
		}
	}
	for _, p := range [][2]string{
		{"stage", row.Stage.String()}, {"severity", strings.ToLower(row.Severity.String())}, {"sentence", d.Sentence(name)},
	} {
		if err := put(p[0], p[1]); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return []byte(b.String()), nil
}
