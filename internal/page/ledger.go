// SPDX-License-Identifier: Apache-2.0

package page

import (
	"strings"

	"github.com/speadx/speadx/ledger"
)

// ledgerTable is the object at ledger.json: package ledger as the page needs it.
type ledgerTable struct {
	Stages    []stage   `json:"stages"` // in the order in which a packet passes them
	Fates     []row     `json:"fates"`
	Stream    []row     `json:"stream"`
	Device    []row     `json:"device"`
	Queue     []row     `json:"queue"`
	Causes    []row     `json:"causes"` // of missing bytes: a stage each
	Diagnoses []codeRow `json:"diagnoses"`
}

type stage struct {
	Name    string `json:"name"`
	Meaning string `json:"meaning"`
}

type row struct {
	Name    string `json:"name"`
	Stage   string `json:"stage"`
	Unit    string `json:"unit"`
	Loss    bool   `json:"loss"`
	Meaning string `json:"meaning"`
	Remedy  string `json:"remedy"`
}

type codeRow struct {
	Code     string `json:"code"`
	Stage    string `json:"stage"`
	Severity string `json:"severity"`
	Meaning  string `json:"meaning"`
}

// meanings say what a stage is.
var meanings = [ledger.NumStages]string{
	ledger.Network:  "senders, switches and links",
	ledger.NIC:      "the interface and its driver",
	ledger.Program:  "the XDP program",
	ledger.Socket:   "AF_XDP, UDP or TCP sockets",
	ledger.Parse:    "headers and item pointers",
	ledger.Assembly: "packets become heaps",
	ledger.Pool:     "slots for heaps",
	ledger.Ring:     "finished heaps wait here",
	ledger.Consumer: "takes the heaps",
}

func table(setting func(field string) string) ledgerTable {
	t := ledgerTable{
		Fates:  rows(int(ledger.NumFates), func(i int) *ledger.Row { return ledger.Fate(i).Row() }, setting),
		Stream: rows(int(ledger.NumStreamCounters), func(i int) *ledger.Row { return ledger.StreamCounter(i).Row() }, setting),
		Device: rows(int(ledger.NumDeviceCounters), func(i int) *ledger.Row { return ledger.DeviceCounter(i).Row() }, setting),
		Queue:  rows(int(ledger.NumQueueCounters), func(i int) *ledger.Row { return ledger.QueueCounter(i).Row() }, setting),
		Causes: rows(int(ledger.NumStages), func(i int) *ledger.Row { return ledger.CauseRow(ledger.Stage(i)) }, setting),
	}
	for s := range ledger.NumStages {
		t.Stages = append(t.Stages, stage{Name: s.String(), Meaning: meanings[s]})
	}
	for _, c := range ledger.Codes() {
		t.Diagnoses = append(t.Diagnoses, codeRow{
			Code: string(c.Code), Stage: c.Stage.String(), Severity: strings.ToLower(c.Severity.String()), Meaning: c.Meaning,
		})
	}
	return t
}

func rows(n int, at func(i int) *ledger.Row, setting func(string) string) []row {
	var all []row
	for i := range n {
		r := at(i)
		all = append(all, row{
			Name: r.Name, Stage: r.Stage.String(), Unit: string(r.Unit), Loss: r.Loss,
			Meaning: ledger.Fill(r.Meaning, setting), Remedy: ledger.Fill(r.Remedy, setting),
		})
	}
	return all
}
