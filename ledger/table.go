// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"fmt"
	"strings"
)

// Tables are the tables of the documents, in Markdown, by name. The names of settings are
// given by name; nil is for Config.Field.
func Tables(name func(setting string) string) map[string]string {
	cell := func(text string) string { return strings.ReplaceAll(Fill(text, name), "|", "\\|") }
	counters := func(n int, row func(i int) *Row) string {
		var b strings.Builder
		b.WriteString("| key | unit | stage | loss | meaning | what to do if it rises |\n|---|---|---|---|---|---|\n")
		for i := range n {
			r := row(i)
			loss := ""
			if r.Loss {
				loss = "loss"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", r.Name, r.Unit, r.Stage, loss, cell(r.Meaning), cell(r.Remedy))
		}
		return b.String()
	}
	var diagnoses strings.Builder
	diagnoses.WriteString("| code | stage | severity | when | what to do |\n|---|---|---|---|---|\n")
	for _, c := range codes {
		d := Diagnosis{Code: c.Code, Queue: -1}
		remedy := Fill(c.Remedy, func(key string) string {
			if _, is := d.value(key, name); is {
				return "‹" + key + "›"
			}
			if name == nil {
				return "Config." + key
			}
			return name(key)
		})
		fmt.Fprintf(&diagnoses, "| `%s` | %s | %s | %s | %s |\n", c.Code, c.Stage, strings.ToLower(c.Severity.String()), cell(c.Meaning), strings.ReplaceAll(remedy, "|", "\\|"))
	}
	var findings strings.Builder
	findings.WriteString("| finding | what it says | what to do |\n|---|---|---|\n")
	for _, c := range codes {
		fill := func(text string) string {
			return strings.ReplaceAll(Fill(text, func(key string) string {
				if _, is := (&Diagnosis{}).value(key, name); is {
					return "‹" + key + "›"
				}
				if name == nil {
					return "Config." + key
				}
				return name(key)
			}), "|", "\\|")
		}
		fmt.Fprintf(&findings, "| `%s` | %s | %s |\n", c.Code, fill(c.Sentence), fill(c.Remedy))
	}
	return map[string]string{
		"findings":  findings.String(),
		"fates":     counters(int(NumFates), func(i int) *Row { return Fate(i).Row() }),
		"stream":    counters(int(NumStreamCounters), func(i int) *Row { return StreamCounter(i).Row() }),
		"device":    counters(int(NumDeviceCounters), func(i int) *Row { return DeviceCounter(i).Row() }),
		"queue":     counters(int(NumQueueCounters), func(i int) *Row { return QueueCounter(i).Row() }),
		"causes":    counters(int(NumStages), func(i int) *Row { return CauseRow(Stage(i)) }),
		"diagnoses": diagnoses.String(),
	}
}
