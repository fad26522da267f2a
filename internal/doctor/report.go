// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"slices"
)

// Status is the outcome of a check.
type Status string

// The outcomes.
const (
	OK      Status = "ok"
	Warn    Status = "warn"    // reception works, and is slower or may lose packets
	Fail    Status = "fail"    // packets are not received, or reception does not start
	Unknown Status = "unknown" // what the check needs could not be read
)

// Finding is the outcome of one check, for one interface or source where it has one.
type Finding struct {
	Code      string `json:"code"`
	Status    Status `json:"status"`
	Interface string `json:"interface,omitempty"`
	Source    string `json:"source,omitempty"`
	Read      string `json:"read"`           // what was read; with unknown, why it was not
	Cost      string `json:"cost,omitempty"` // with warn and fail: what it costs
	Fix       string `json:"fix,omitempty"`  // with warn and fail: the command that mends it
}

// Report is what doctor says.
type Report struct {
	Findings []Finding `json:"checks"`
	Sources  []Traffic `json:"sources,omitempty"` // what was seen of each source
	Command  string    `json:"command,omitempty"` // the recv command that would receive the sources
	Counts   Counts    `json:"counts"`
}

// Counts are the numbers of findings by status.
type Counts struct {
	OK      int `json:"ok"`
	Warn    int `json:"warn"`
	Fail    int `json:"fail"`
	Unknown int `json:"unknown"`
}

// String is the last line of the report.
func (c Counts) String() string {
	return fmt.Sprintf("%d ok, %d warn, %d fail, %d unknown", c.OK, c.Warn, c.Fail, c.Unknown)
}

// Find returns the findings with that code.
func (r *Report) Find(code string) (list []Finding) {
	for _, f := range r.Findings {
		if f.Code == code {
			list = append(list, f)
		}
	}
	return list
}

// Codes returns the codes with one of these outcomes, sorted, each once.
func (r *Report) Codes(outcomes ...Status) (codes []string) {
	for _, f := range r.Findings {
		if slices.Contains(outcomes, f.Status) {
			codes = append(codes, f.Code)
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// verdict is a finding before it is known whose it is. The zero verdict says that the
// check does not apply.
type verdict struct {
	status Status
	read   string
	fix    string
	cost   string // "": that of the check
}

func ok(format string, args ...any) verdict {
	return verdict{status: OK, read: fmt.Sprintf(format, args...)}
}

func warn(fix, format string, args ...any) verdict {
	return verdict{status: Warn, fix: fix, read: fmt.Sprintf(format, args...)}
}

func fail(fix, format string, args ...any) verdict {
	return verdict{status: Fail, fix: fix, read: fmt.Sprintf(format, args...)}
}

// unknown says that what could not be read, and why.
func unknown(what string, err error) verdict {
	return verdict{status: Unknown, read: fmt.Sprintf("%s could not be read: %v", what, err)}
}

// costs replaces the cost that the table gives the check.
func (v verdict) costs(cost string) verdict {
	v.cost = cost
	return v
}

// Diagnose runs all checks on the facts.
func Diagnose(f *Facts) *Report {
	r := &Report{Findings: []Finding{}, Sources: f.Traffic}
	for i := range Checks {
		c := &Checks[i]
		switch {
		case c.machine != nil:
			r.add(c, c.machine(f), "", "")
		case c.device != nil:
			for d := range f.Devices {
				r.add(c, c.device(f, &f.Devices[d]), f.Devices[d].Name, "")
			}
		case c.traffic != nil:
			for t := range f.Traffic {
				r.add(c, c.traffic(f, &f.Traffic[t]), f.Traffic[t].Interface, f.Traffic[t].Source)
			}
		}
	}
	r.Command = recvCommand(f)
	return r
}

func (r *Report) add(c *Check, v verdict, device, source string) {
	n := map[Status]*int{OK: &r.Counts.OK, Warn: &r.Counts.Warn, Fail: &r.Counts.Fail, Unknown: &r.Counts.Unknown}[v.status]
	if n == nil {
		return // it does not apply
	}
	*n++
	f := Finding{Code: c.Code, Status: v.status, Interface: device, Source: source, Read: v.read}
	if v.status == Warn || v.status == Fail {
		f.Cost, f.Fix = c.Cost, v.fix
		if v.cost != "" {
			f.Cost = v.cost
		}
	}
	r.Findings = append(r.Findings, f)
}
