// SPDX-License-Identifier: Apache-2.0

package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/speadx/speadx/ledger"
)

// recent is how many seconds a loss counts as happening now.
const recent = 10

// View is what is shown: the last answer, with the one before for rates, and one of some
// seconds ago for recent losses. A nil one is not known.
type View struct {
	Host   string
	Now    *Snapshot
	Before *Snapshot
	Past   *Snapshot
	Silent float64 // seconds since the last packet came
	Err    error   // why there is no newer answer
	Age    float64 // seconds since the last answer
}

// style is how text looks on a terminal, as parameters of the escape sequence SGR.
type style string

const (
	plain  style = ""
	bold   style = "1"
	dim    style = "2"
	good   style = "1;32"
	notice style = "1;33"
	bad    style = "1;31"
)

// line is one line of the screen, in pieces.
type line []piece

type piece struct {
	style style
	text  string
}

// render cuts the line to a width, 0 for any.
func (l line) render(b *strings.Builder, most int, colour bool) {
	left := most
	for _, p := range l {
		text := p.text
		if most > 0 {
			if text = cut(text, left); text == "" {
				continue
			}
			left -= textWidth(text)
		}
		if colour && p.style != plain {
			fmt.Fprintf(b, "\x1b[%sm%s\x1b[0m", p.style, text)
		} else {
			b.WriteString(text)
		}
	}
}

// Render is the view as lines. At most height lines come, 0 for any, none wider than width,
// 0 for any.
func (v *View) Render(width, height int, colour bool) []string {
	var out []string
	for _, l := range v.lines(width, height) {
		var b strings.Builder
		l.render(&b, width, colour)
		out = append(out, strings.TrimRight(b.String(), " "))
	}
	return out
}

func (v *View) lines(width, height int) []line {
	gap := []line{nil}
	if height > 0 && height < roomy {
		gap = nil
	}
	lines := slices.Concat([]line{v.head(), v.verdict()}, gap, []line{v.rates()}, gap, v.path())
	sections := [][]line{v.diagnoses(width), v.streams(), v.queues(), v.threads()}
	if height > 0 {
		shareOut(sections, height-len(lines), len(gap))
	}
	for _, s := range sections {
		if len(s) > 0 {
			lines = slices.Concat(lines, gap, s)
		}
	}
	if height > 0 && len(lines) > height {
		lines = lines[:height]
	}
	return lines
}

// roomy is the height from which on there are lines between the sections.
const roomy = 30

// shareOut cuts sections so that they fit together, with gap lines before each. Each has its
// lines in turn, so that a long one does not push out the others; the rest of a section is
// counted in its last line.
func shareOut(sections [][]line, room, gap int) {
	need := make([]int, len(sections))
	given := make([]int, len(sections))
	for i, s := range sections {
		if len(s) > 0 {
			need[i] = len(s) + gap
		}
	}
	for progress := true; progress && room > 0; {
		progress = false
		for i := range sections {
			if given[i] < need[i] && room > 0 {
				given[i]++
				room--
				progress = true
			}
		}
	}
	for i, s := range sections {
		lines := given[i] - gap
		switch {
		case given[i] == need[i]:
		case lines < 2: // a title alone says nothing
			sections[i] = nil
		default:
			left := len(s) - (lines - 1)
			sections[i] = append(slices.Clip(s[:lines-1]), line{{dim, fmt.Sprintf("  … and %d more lines", left)}})
		}
	}
}

func (v *View) head() line {
	s := v.Now
	l := line{{bold, "speadx "}, {plain, clean(v.Host)}}
	add := func(text string) { l = append(l, piece{dim, "  " + text}) }
	add("receiving for " + span(s.Seconds))
	add(plural(uint64(len(s.Streams)), "stream"))
	for i, d := range s.Devices {
		if i == 4 {
			add(fmt.Sprintf("and %d more interfaces", len(s.Devices)-i))
			break
		}
		add(clean(d.Name) + " " + clean(d.Mode))
	}
	add(clock(s.Time) + " UTC")
	return l
}

// rose is the increase since the past reading.
func (v *View) rose(of func(*Snapshot) uint64) uint64 {
	if v.Past == nil {
		return 0
	}
	return minus(of(v.Now), of(v.Past))
}

// rate is the increase in a second since the reading before.
func (v *View) rate(now, before uint64) float64 {
	if v.Before == nil || v.Now.Time <= v.Before.Time {
		return 0
	}
	return float64(minus(now, before)) / (v.Now.Time - v.Before.Time)
}

// before is a number of the reading before, or the number of now.
func (v *View) before(of func(*Snapshot) uint64) uint64 {
	if v.Before == nil {
		return of(v.Now)
	}
	return of(v.Before)
}

func lostPackets(s *Snapshot) uint64 { return s.LostPackets }
func packets(s *Snapshot) uint64     { return s.Packets }
func badHeaps(s *Snapshot) uint64    { return s.IncompleteHeaps + s.MissingHeaps }

// warnings is how many diagnoses ask for somebody to act.
func (s *Snapshot) warnings() (n int) {
	for _, d := range s.Diagnoses {
		if d.Severity != "info" {
			n++
		}
	}
	return n
}

func isOrAre(n int, what string) string {
	if n == 1 {
		return "is 1 " + what
	}
	return fmt.Sprintf("are %d %ss", n, what)
}

// verdict is the state in a line.
func (v *View) verdict() line {
	s := v.Now
	if v.Err != nil {
		return line{{bad, "✕ The receiver does not answer. "}, {plain, "All figures are " + span(v.Age) + " old. " + clean(v.Err.Error())}}
	}
	ended := len(s.Threads) > 0 && !slices.ContainsFunc(s.Threads, func(t Thread) bool { return t.State != "ended" })
	lostNow, heapsNow := v.rose(lostPackets), v.rose(badHeaps)
	switch {
	case ended:
		return line{{notice, "■ Reception has ended. "}, {plain, totals(s)}}
	case s.Packets == 0:
		return line{{notice, "◌ No packet has come yet."}, {plain, s.notJoined()}}
	case v.Silent >= 3:
		return line{{notice, "◌ No packets for " + span(v.Silent) + ". "}, {plain, totals(s) + s.notJoined()}}
	case lostNow > 0:
		return line{{bad, "✕ Losing packets: " + percent(lostNow, v.rose(packets)) + " "}, {plain, "in the last seconds." + v.where()}}
	case heapsNow > 0:
		return line{{bad, "✕ Heaps are not whole: " + grouped(heapsNow) + " "}, {plain, "in the last seconds. No packet was lost here: they were lost before this machine, or not sent."}}
	case len(s.silent()) > 0:
		return line{{notice, fmt.Sprintf("◌ No packets on %d of %s. ", len(s.silent()), plural(uint64(len(s.Streams)), "stream"))}, {plain, silentText(s)}}
	case s.LostPackets+badHeaps(s) > 0:
		return line{{notice, "! No loss now, but earlier. "}, {plain, totals(s)}}
	}
	if n := s.warnings(); n > 0 {
		return line{{notice, "! No packet was lost, and there " + isOrAre(n, "warning") + ". "}, {plain, "Heaps may lack all the same."}}
	}
	return line{{good, "✓ No loss. "}, {plain, "Every packet that came was delivered, or is on its way."}}
}

// where says at which stages packets were lost in the last seconds.
func (v *View) where() string {
	var parts []string
	for stage := range ledger.NumStages {
		if n := v.rose(func(s *Snapshot) uint64 { return lostAt(s.Fates, stage) }); n > 0 {
			parts = append(parts, fmt.Sprintf("%v %s", stage, grouped(n)))
		}
	}
	if parts == nil {
		return ""
	}
	return " Lost at: " + strings.Join(parts, ", ") + "."
}

// silentText names the first silent streams.
func silentText(s *Snapshot) string {
	const named = 3
	var names []string
	list := s.silent()
	for _, st := range list[:min(named, len(list))] {
		names = append(names, clean(st.Name)+" ("+span(*st.Silent)+")")
	}
	text := "Silent: " + strings.Join(names, ", ")
	if more := len(list) - len(names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text + ". " + totals(s)
}

func totals(s *Snapshot) string {
	text := "In all no packet lost here"
	if s.LostPackets > 0 {
		text = "In all " + plural(s.LostPackets, "packet") + " lost (" + percent(s.LostPackets, s.Packets) + ")"
	}
	if s.IncompleteHeaps > 0 {
		text += ", " + plural(s.IncompleteHeaps, "incomplete heap")
	}
	if s.MissingHeaps > 0 {
		text += ", " + plural(s.MissingHeaps, "missing heap")
	}
	return text + "."
}

func (v *View) rates() line {
	s := v.Now
	lostRate := v.rate(s.LostPackets, v.before(lostPackets))
	l := line{}
	add := func(st style, number, unit string) { l = append(l, piece{st, number}, piece{dim, " " + unit + "   "}) }
	add(bold, digits(v.rate(s.PayloadBytes, v.before(func(s *Snapshot) uint64 { return s.PayloadBytes }))*8/1e9), "Gb/s")
	add(bold, short(v.rate(s.Packets, v.before(packets))), "packets/s")
	add(bold, short(v.rate(s.Heaps, v.before(func(s *Snapshot) uint64 { return s.Heaps }))), "heaps/s")
	st := bold
	if lostRate > 0 {
		st = bad
	}
	add(st, short(lostRate), "packets/s lost")
	return l
}

// path are the stages, with the packets past each of them and those lost there.
func (v *View) path() []line {
	s := v.Now
	lines := []line{{{dim, fmt.Sprintf("%-10s %18s %10s %16s  %s", "stage", "packets past", "per s", "lost", "of these")}}}
	now, before := s.through(), s.through()
	if v.Before != nil {
		before = v.Before.through()
	}
	for stage := range ledger.NumStages {
		if stage == ledger.Network {
			lines = append(lines, v.network())
			continue
		}
		if (stage == ledger.NIC || stage == ledger.Program) && len(s.Devices) == 0 {
			lines = append(lines, line{{dim, fmt.Sprintf("%-10v %18s", stage, "not used")}})
			continue
		}
		n := lostAt(s.Fates, stage)
		st := plain
		switch {
		case v.rose(func(s *Snapshot) uint64 { return lostAt(s.Fates, stage) }) > 0:
			st = bad
		case n > 0:
			st = notice
		}
		lines = append(lines, line{
			{bold, fmt.Sprintf("%-10v", stage)}, {plain, fmt.Sprintf(" %18s %10s ", grouped(now[stage]), short(v.rate(now[stage], before[stage])))},
			{st, fmt.Sprintf("%16s", grouped(n))}, {dim, "  " + fatesAt(s, stage)},
		})
	}
	return lines
}

// network is the stage without a counter here: what it lost is what no other did.
func (v *View) network() line {
	name := ledger.Network.String()
	missing := func(s *Snapshot) uint64 { return s.Missing[name] }
	text, st := "nothing missing", plain
	if n := missing(v.Now); n > 0 {
		if text, st = short(float64(n))+"B missing", notice; v.rose(missing) > 0 {
			st = bad
		}
	}
	return line{{bold, fmt.Sprintf("%-10s", name)}, {plain, strings.Repeat(" ", 31)}, {st, fmt.Sprintf("%16s", text)}}
}

// fatesAt names the fates of a stage but for the usual one, with their counts.
func fatesAt(s *Snapshot, stage ledger.Stage) string {
	var parts []string
	for f := range ledger.NumFates {
		if row := f.Row(); row.Stage == stage && f != ledger.Delivered && s.Fates[row.Name] > 0 {
			parts = append(parts, row.Name+" "+grouped(s.Fates[row.Name]))
		}
	}
	if n := s.Missing[stage.String()]; n > 0 {
		parts = append(parts, short(float64(n))+"B missing")
	}
	return strings.Join(parts, ", ")
}

// maxDiagnoses are the lines that diagnoses take at most.
const maxDiagnoses = 12

func (v *View) diagnoses(width int) []line {
	var lines []line
	for _, d := range v.Now.Diagnoses {
		st := notice
		switch d.Severity {
		case "info":
			st = bold
		case "error":
			st = bad
		}
		text := clean(d.Sentence)
		if d.Last > 0 {
			text += " (last " + clock(d.Last) + ")"
		}
		for i, part := range wrap(text, width-2) {
			l := line{{plain, "  " + part}}
			if i == 0 {
				l = line{{st, clean(d.Code) + " "}}
				lines = append(lines, l)
				l = line{{plain, "  " + part}}
			}
			lines = append(lines, l)
		}
	}
	if width > 0 && len(lines) > maxDiagnoses {
		lines = append(lines[:maxDiagnoses-1], line{{dim, "  …"}})
	}
	return lines
}

// ranked are rows of a table, those that lose now first, then those that have lost.
type ranked struct {
	rank int
	line line
}

func table(head string, rows []ranked) []line {
	if len(rows) == 0 {
		return nil
	}
	slices.SortStableFunc(rows, func(a, b ranked) int { return cmp.Compare(b.rank, a.rank) })
	lines := []line{{{dim, head}}}
	for _, r := range rows {
		lines = append(lines, r.line)
	}
	return lines
}

// rankOf is 2 for what loses now, 1 for what has lost, else 0, with its style.
func rankOf(now, total uint64) (int, style) {
	switch {
	case now > 0:
		return 2, bad
	case total > 0:
		return 1, notice
	}
	return 0, plain
}

// nameWidth is the width of a name in the tables.
const nameWidth = 22

func named(s string) string {
	s = cut(clean(s), nameWidth)
	return s + strings.Repeat(" ", nameWidth-textWidth(s))
}

// byKey finds parts of a reading by their name.
func byKey[P any, K comparable](list []P, key func(*P) K) map[K]*P {
	m := make(map[K]*P, len(list))
	for i := range list {
		m[key(&list[i])] = &list[i]
	}
	return m
}

func streamsOf(s *Snapshot) map[string]*Stream {
	if s == nil {
		return nil
	}
	return byKey(s.Streams, func(st *Stream) string { return st.Name })
}

func (s *Stream) trouble() uint64 { return lost(s.Fates) + s.IncompleteHeaps + s.MissingHeaps }

func (v *View) streams() []line {
	var rows []ranked
	beforeAll, pastAll := streamsOf(v.Before), streamsOf(v.Past)
	for i := range v.Now.Streams {
		s := &v.Now.Streams[i]
		before := s
		if b := beforeAll[s.Name]; b != nil {
			before = b
		}
		var now uint64
		if past := pastAll[s.Name]; past != nil {
			now = minus(s.trouble(), past.trouble())
		}
		rank, st := rankOf(now, s.trouble())
		rates := plain
		if s.isSilent() {
			rank, rates = max(rank, 1), notice
		}
		p := &s.Pool
		rows = append(rows, ranked{rank, line{
			{bold, named(s.Name)},
			{rates, fmt.Sprintf(" %7s %8s ", digits(v.rate(s.PayloadBytes, before.PayloadBytes)*8/1e9), short(v.rate(s.Heaps, before.Heaps)))},
			{st, fmt.Sprintf("%9s %12s", grouped(s.IncompleteHeaps+s.MissingHeaps), grouped(lost(s.Fates)))},
			{plain, fmt.Sprintf(" %9s %9s %9s %8d", slots(p.NowRing, p.HighRing, p.Ring), slots(p.NowLive, p.HighLive, p.Live), slots(p.NowHeld, p.HighHeld, p.Held), s.Senders)},
		}})
	}
	return table(fmt.Sprintf("%-*s %7s %8s %9s %12s %9s %9s %9s %8s", nameWidth, "stream", "Gb/s", "heaps/s", "bad heaps", "lost packets",
		"ring", "live", "held", "senders"), rows)
}

// slots are those in use, the most so far, and those there are.
func slots(now, high, of int) string { return fmt.Sprintf("%d<%d/%d", now, high, of) }

type queueKey struct {
	device string
	queue  uint64
}

func queuesOf(s *Snapshot) map[queueKey]Queue {
	m := map[queueKey]Queue{}
	if s != nil {
		for i := range s.Devices {
			for _, q := range s.Devices[i].Queues {
				m[queueKey{s.Devices[i].Name, q["queue"]}] = q
			}
		}
	}
	return m
}

func (v *View) queues() []line {
	var rows []ranked
	var all uint64
	beforeAll, pastAll := queuesOf(v.Before), queuesOf(v.Past)
	increase := func(d *Device, q Queue) uint64 {
		if b := beforeAll[queueKey{d.Name, q["queue"]}]; b != nil {
			return minus(q["matched"], b["matched"])
		}
		return 0
	}
	for i := range v.Now.Devices {
		for _, q := range v.Now.Devices[i].Queues {
			all += increase(&v.Now.Devices[i], q)
		}
	}
	for i := range v.Now.Devices {
		d := &v.Now.Devices[i]
		for _, q := range d.Queues {
			var now uint64
			if past := pastAll[queueKey{d.Name, q["queue"]}]; past != nil {
				now = minus(q.dropped(), past.dropped())
			}
			rank, st := rankOf(now, q.dropped())
			n := increase(d, q)
			rows = append(rows, ranked{rank, line{
				{bold, named(fmt.Sprintf("%s %d", d.Name, q["queue"]))},
				{plain, fmt.Sprintf(" %8s %10s %6s %13s ", cut(clean(d.Mode), 8), short(v.rate(n, 0)), percent(n, all), fmt.Sprintf("%d/%d", q["ring_high"], q["ring_size"]))},
				{st, fmt.Sprintf("%14s", grouped(q.dropped()))},
			}})
		}
	}
	return table(fmt.Sprintf("%-*s %8s %10s %6s %13s %14s", nameWidth, "queue", "mode", "packets/s", "share", "ring high", "dropped"), rows)
}

func threadsOf(s *Snapshot) map[string]*Thread {
	if s == nil {
		return nil
	}
	return byKey(s.Threads, func(t *Thread) string { return t.Name })
}

func (v *View) threads() []line {
	var rows []ranked
	beforeAll := threadsOf(v.Before)
	for i := range v.Now.Threads {
		t := &v.Now.Threads[i]
		var busy, idle, blocked float64
		if b := beforeAll[t.Name]; b != nil {
			busy, idle, blocked = t.Busy-b.Busy, t.Idle-b.Idle, t.Blocked-b.Blocked
		}
		share := func(d float64) string {
			all := busy + idle + blocked
			if !(all > 0) {
				return "–"
			}
			return fmt.Sprintf("%.0f %%", 100*max(0, d)/all)
		}
		cpu := "any"
		if t.CPU >= 0 {
			cpu = fmt.Sprint(t.CPU)
		}
		state, rank, st := clean(t.State), 0, plain
		if t.State != "ended" && t.State != "blocked" && t.Since > 1 {
			state, rank, st = "no turn for "+span(t.Since), 2, bad
		}
		blockedStyle := plain
		if blocked > 0.01 {
			rank, blockedStyle = 2, bad
		}
		rows = append(rows, ranked{rank, line{
			{bold, named(t.Name)}, {plain, fmt.Sprintf(" %4s %7s %7s ", cpu, share(busy), share(idle))},
			{blockedStyle, fmt.Sprintf("%8s", share(blocked))}, {st, "  " + state},
		}})
	}
	return table(fmt.Sprintf("%-*s %4s %7s %7s %8s  %s", nameWidth, "thread", "cpu", "busy", "idle", "blocked", "state"), rows)
}
