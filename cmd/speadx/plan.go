// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/pages"
	"github.com/speadx/speadx/internal/sizing"
	"github.com/speadx/speadx/internal/units"
)

const planLong = `Work out what a receiver needs for given streams: slots, huge pages, packet
buffers, rings, queues, processors, and how long its start takes. Each number has
its reason, and most say what is lost with less.

The rate is that of heap payload, of all streams together. The stall is the longest
time for which the consumer takes no heap. The command that is printed receives the
sources that are given, or such as in the examples: put yours there. Nothing is
opened or changed. docs/tuning.md explains the rules.`

// planFlags are the flags of plan.
type planFlags struct {
	heapSize    units.Size
	packet      int
	rate        float64
	streams     int
	inFlight    int
	stall       time.Duration
	consumer    time.Duration
	threadStall time.Duration
	queues      int
	iface       string
	format      string
}

func (f *planFlags) groups() []flagGroup {
	what := newFlagGroup("The streams")
	fs := what.flags
	fs.VarP(&f.heapSize, "heap-size", "H", "payload of a heap, a `SIZE` such as 64MiB")
	fs.IntVar(&f.packet, "packet", 0, "largest packet in `BYTES` of UDP payload, headers of SPEAD included, as of send --packet")
	fs.Float64Var(&f.rate, "rate", 0, "payload of all streams together in `Gb/s`")
	fs.IntVar(&f.streams, "streams", 1, "`N` streams share the rate equally (default the number of sources, or 1)")
	fs.IntVar(&f.inFlight, "in-flight", sizing.DefaultInFlight, "`N` heaps of a stream are sent at the same time")

	delays := newFlagGroup("How late its parts may be")
	fs = delays.flags
	fs.DurationVar(&f.stall, "stall", sizing.DefaultStall, "the consumer takes no heap for `TIME` at most")
	fs.DurationVar(&f.consumer, "consumer", 0, "the consumer holds each heap for `TIME`")
	fs.DurationVar(&f.threadStall, "thread-stall", sizing.DefaultThreadStall, "a receiving thread does not run for `TIME` at most")

	machine := newFlagGroup("The machine")
	fs = machine.flags
	fs.IntVar(&f.queues, "queues", 0, "the NIC has `N` receive queues for the streams (0: as many as the rate needs)")
	fs.StringVarP(&f.iface, "interface", "i", "", "receive on the interface `NAME`")

	out := newFlagGroup("Output")
	fs = out.flags
	fs.StringVar(&f.format, "format", "text", "print in `FORMAT` text, json, command (that of recv) or unit (of systemd)")
	fs.BoolP("help", "h", false, "print this help")
	return []flagGroup{what, delays, machine, out}
}

func newPlanCommand() *cobra.Command {
	f := &planFlags{}
	cmd := &cobra.Command{
		Use:   "plan [flags] [SOURCE...]",
		Short: "Work out what a receiver needs",
		Long:  planLong,
		Example: `  speadx plan -H 4MiB --packet 8972 --rate 20
  speadx plan -H 1MiB --packet 1472 --rate 8 --stall 500ms --format command 239.1.2.3:7148 239.1.2.4:7148`,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := f.plan(cmd.Flags(), args)
			if err != nil {
				return usageError{err}
			}
			return p.print(cmd.OutOrStdout(), f.format)
		},
	}
	useFlagGroups(cmd, f.groups())
	return cmd
}

// receiverPlan is a plan and the command that applies it.
type receiverPlan struct {
	*sizing.Plan
	iface   string
	sources []string
	command []string // of recv, without the program's name
	cpus    []int    // near the interface
	notes   []planNote
}

// planFields are the flags of what a scenario can be wrong in.
var planFields = map[string]string{
	"HeapSize": "heap-size", "Packet": "packet", "Rate": "rate", "Streams": "streams", "InFlight": "in-flight", "Stall": "stall",
	"Consumer": "consumer", "ThreadStall": "thread-stall", "Queues": "queues",
}

// plan works everything out, and checks that recv takes the command.
func (f *planFlags) plan(fs *pflag.FlagSet, sources []string) (*receiverPlan, error) {
	for _, name := range []string{"heap-size", "packet", "rate"} {
		if !fs.Changed(name) {
			return nil, fmt.Errorf("--%s is required: --heap-size, --packet and --rate say what comes", name)
		}
	}
	switch f.format {
	case "text", "json", "command", "unit":
	default:
		return nil, fmt.Errorf("--format %q is none of text, json, command, unit", f.format)
	}
	streams := f.streams
	if n := len(sources); n > 0 && !fs.Changed("streams") {
		streams = n
	} else if n > 0 && n != streams {
		return nil, fmt.Errorf("--streams %d: there are %d sources, and each is a stream of its own", streams, n)
	}
	p := &receiverPlan{iface: f.iface, sources: sources}
	machine := p.lookAround()
	sp, err := sizing.Compute(sizing.Scenario{
		HeapSize: int64(f.heapSize), Packet: f.packet, Rate: f.rate * 1e9, Streams: streams, InFlight: f.inFlight,
		Stall: f.stall, Consumer: f.consumer, ThreadStall: f.threadStall, Queues: f.queues,
		SmallHeap: speadx.DefaultPoolMin, Machine: machine,
	})
	var wrong *sizing.Error
	if errors.As(err, &wrong) && planFields[wrong.Field] != "" {
		return nil, fmt.Errorf("--%s %v %s", planFields[wrong.Field], wrong.Value, wrong.Reason)
	}
	if err != nil {
		return nil, err
	}
	p.Plan = sp
	if len(sources) == 0 {
		p.exampleSources(streams)
	}
	p.command = p.recvCommand()
	if _, err := parseRecv(p.command[1:]); err != nil {
		return nil, err
	}
	return p, nil
}

// lookAround reads what this machine has. It need not be the one that is planned for, so
// what cannot be found out is left open.
func (p *receiverPlan) lookAround() (m sizing.Machine) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err == nil {
		m.Memory = int64(min(uint64(info.Totalram)*uint64(info.Unit), math.MaxInt64))
	}
	if all, err := netif.CPUs(-1); err == nil {
		m.CPUs, p.cpus = len(all), all
	}
	if p.iface == "" {
		return m
	}
	facts, err := netif.Lookup(p.iface)
	if err != nil {
		p.notes = append(p.notes, planNote{"no_interface", fmt.Sprintf("this machine has no interface %s, so the plan does not know its processors", p.iface)})
		return m
	}
	if near, err := netif.CPUs(facts.Node); err == nil && len(near) > 0 {
		p.cpus = near
	}
	return m
}

// examplePort is the first of the ports of sources that nobody has named.
const examplePort = 7148

func (p *receiverPlan) exampleSources(streams int) {
	group := netip.AddrFrom4([4]byte{239, 1, 2, 3})
	for i := range streams {
		p.sources = append(p.sources, netip.AddrPortFrom(group, uint16(examplePort+i)).String())
	}
	p.notes = append(p.notes, planNote{"example_sources", "the sources of the command are examples: put yours there"})
}

// recvCommand is the command line that applies the plan.
func (p *receiverPlan) recvCommand() []string {
	args := []string{"recv", "--heap-size", units.Size(p.Scenario.HeapSize).String()}
	for i := range p.Lines {
		if l := &p.Lines[i]; l.Setting != "" {
			args = append(args, flagname.Flag(l.Setting), strconv.FormatInt(int64(l.Value), 10))
		}
	}
	if p.iface != "" {
		args = append(args, "--interface", p.iface)
	}
	return append(append(args, "--"), p.sources...)
}

// parseRecv reads arguments as recv does.
func parseRecv(args []string) (speadx.Config, error) {
	f := newRecvFlags()
	fs := pflag.NewFlagSet("recv", pflag.ContinueOnError)
	for _, g := range f.groups() {
		fs.AddFlagSet(g.flags)
	}
	if err := fs.Parse(args); err != nil {
		return speadx.Config{}, flagError(fs, err)
	}
	return f.config(fs, fs.Args())
}

func (p *receiverPlan) print(w io.Writer, format string) error {
	switch format {
	case "json":
		return p.printJSON(w)
	case "command":
		_, err := fmt.Fprintln(w, "speadx "+shellJoin(p.command))
		return err
	case "unit":
		return p.printUnit(w)
	default:
		return p.printText(w)
	}
}

// command of a line, for this interface.
func (p *receiverPlan) shell(l *sizing.Line) string {
	if p.iface == "" {
		return l.Command
	}
	return strings.ReplaceAll(l.Command, "IFACE", p.iface)
}

// number writes a value of a plan.
func number(l *sizing.Line) string {
	switch {
	case l.Unit == "bytes":
		return pages.Human(int(l.Value))
	case l.Value == math.Trunc(l.Value) && l.Value < 1e15:
		unit := l.Unit
		if word, rest, _ := strings.Cut(unit, " "); l.Value == 1 { // 1 page of 2 MiB
			unit = strings.TrimSpace(strings.TrimSuffix(word, "s") + " " + rest)
		}
		return strconv.FormatFloat(l.Value, 'f', 0, 64) + " " + unit
	case l.Value >= 1e4:
		return strconv.FormatFloat(l.Value, 'f', 0, 64) + " " + l.Unit
	default:
		return strconv.FormatFloat(l.Value, 'g', 4, 64) + " " + l.Unit
	}
}

func (p *receiverPlan) printText(w io.Writer) error {
	var b strings.Builder
	for i := range p.Lines {
		l := &p.Lines[i]
		fmt.Fprintf(&b, "%s: %s", strings.ReplaceAll(l.Name, "_", " "), number(l))
		switch {
		case l.Setting != "":
			fmt.Fprintf(&b, "   %s %.0f", flagname.Flag(l.Setting), l.Value)
		case l.Command != "":
			fmt.Fprintf(&b, "   %s", p.shell(l))
		}
		fmt.Fprintf(&b, "\n    %s\n", l.Reason)
		if l.Fate != "" {
			fmt.Fprintf(&b, "    with less, packets are lost here: %s (%s)\n", l.Stage, l.Fate)
		}
	}
	for _, v := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", v.Text)
	}
	for _, n := range p.notes {
		fmt.Fprintf(&b, "note: %s\n", n.Text)
	}
	fmt.Fprintf(&b, "\nspeadx %s\n", shellJoin(p.command))
	_, err := io.WriteString(w, b.String())
	return err
}

// planNote says what a plan leaves open.
type planNote struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// jsonPlan is the plan as docs/json.md explains it.
type jsonPlan struct {
	HeapSize    int64            `json:"heap_size"`
	Packet      int              `json:"packet"`
	Gbps        float64          `json:"gbps"`
	Streams     int              `json:"streams"`
	InFlight    int              `json:"in_flight"`
	Stall       float64          `json:"stall_seconds"`
	Consumer    float64          `json:"consumer_seconds"`
	ThreadStall float64          `json:"thread_stall_seconds"`
	Lines       []jsonPlanLine   `json:"lines"`
	Warnings    []sizing.Warning `json:"warnings"`
	Notes       []planNote       `json:"notes"`
	Command     []string         `json:"command"`
}

type jsonPlanLine struct {
	sizing.Line
	Flag    string `json:"flag,omitempty"`
	Command string `json:"command,omitempty"`
}

func (p *receiverPlan) printJSON(w io.Writer) error {
	s := &p.Scenario
	j := jsonPlan{
		HeapSize: s.HeapSize, Packet: s.Packet, Gbps: s.Rate / 1e9, Streams: s.Streams, InFlight: s.InFlight,
		Stall: s.Stall.Seconds(), Consumer: s.Consumer.Seconds(), ThreadStall: s.ThreadStall.Seconds(),
		Warnings: p.Warnings, Notes: append([]planNote{}, p.notes...), Command: append([]string{"speadx"}, p.command...),
	}
	for i := range p.Lines {
		l := jsonPlanLine{Line: p.Lines[i], Command: p.shell(&p.Lines[i])}
		if l.Setting != "" {
			l.Flag = flagname.Flag(l.Setting)
		}
		j.Lines = append(j.Lines, l)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(j)
}

// unitTemplate is the service. Package service of systemd reads it: systemd.service(5),
// systemd.exec(5).
var unitTemplate = template.Must(template.New("unit").Parse(`# Made by: speadx plan. Check it with: systemd-analyze verify speadx.service
{{range .Comments}}# {{.}}
{{end}}[Unit]
Description=SPEAD receiver
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart={{.Exec}}
Restart=on-failure
RestartSec=2
WatchdogSec=10
# The pool is touched first, which takes about {{printf "%.1f" .Start}} s, and then recv waits for the link.
TimeoutStartSec={{.Timeout}}
LimitMEMLOCK={{.Locked}}
{{if .CPUs}}CPUAffinity={{.CPUs}}
{{end}}DynamicUser=yes
AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN CAP_BPF CAP_IPC_LOCK CAP_SYS_NICE
CapabilityBoundingSet=CAP_NET_RAW CAP_NET_ADMIN CAP_BPF CAP_IPC_LOCK CAP_SYS_NICE
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
`))

// program is where the unit has the program.
const programPath = "/usr/bin/speadx"

func (p *receiverPlan) printUnit(w io.Writer) error {
	args := append([]string{programPath, "recv", "--quiet"}, p.command[1:]...)
	for i, a := range args {
		args[i] = systemdQuote(a)
	}
	data := struct {
		Comments []string
		Exec     string
		Start    float64
		Timeout  int
		Locked   int64
		CPUs     string
	}{Exec: strings.Join(args, " "), Locked: p.Value(sizing.LockedBytes)}
	for i := range p.Lines {
		l := &p.Lines[i]
		if l.Command != "" {
			data.Comments = append(data.Comments, "Before it starts, as root: "+p.shell(l))
		}
		if l.Name == sizing.StartSeconds {
			data.Start = l.Value
		}
	}
	for _, v := range p.Warnings {
		data.Comments = append(data.Comments, "Warning: "+v.Text)
	}
	for _, n := range p.notes {
		data.Comments = append(data.Comments, "Note: "+n.Text)
	}
	const margin = 30 // seconds: a cold machine is slower, and queues take time to open
	data.Timeout = int(math.Ceil(3*data.Start+speadx.DefaultCarrierWait.Seconds())) + margin
	data.CPUs = cpuList(p.cpus[:min(len(p.cpus), int(p.Value(sizing.Cores)))])
	return unitTemplate.Execute(w, data)
}

// cpuList writes processors as systemd and taskset read them.
func cpuList(cpus []int) string {
	var out []string
	for i := 0; i < len(cpus); {
		j := i + 1
		for j < len(cpus) && cpus[j] == cpus[j-1]+1 {
			j++
		}
		text := strconv.Itoa(cpus[i])
		if j > i+1 {
			text += "-" + strconv.Itoa(cpus[j-1])
		}
		out = append(out, text)
		i = j
	}
	return strings.Join(out, ",")
}

// plain are the characters that neither a shell nor systemd sees anything in.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+,./:@"

// shellJoin writes a command for a shell.
func shellJoin(args []string) string {
	out := make([]string, len(args))
	for i, a := range args {
		if out[i] = a; a == "" || strings.Trim(a, plain) != "" {
			out[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}

// systemdQuote writes an argument of ExecStart: see systemd.service(5), command lines.
func systemdQuote(a string) string {
	if a != "" && strings.Trim(a, plain) == "" {
		return a
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(a) {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '%' || c == '$': // specifiers and variables
			b.WriteByte(c)
			b.WriteByte(c)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
