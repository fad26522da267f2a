// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/pool"
	"github.com/speadx/speadx/xsk"
)

func TestRecvDefaults(t *testing.T) {
	flags := newRecvCommand().Flags()
	for name, want := range map[string]string{
		"interface": "[]", "mode": "auto", "queues": "all", "heap-size": "4MiB", "concurrent-heaps": "4", "substreams": "1",
		"ring-heaps": "4", "consumer-heaps": "2", "pool-min": "16KiB", "hugepages": "auto", "frames": "0", "cpus": "auto",
		"gro": "true", "wait": "poll", "on-full": "block", "repeats": "drop", "max-age": "10s", "carrier-wait": "10s", "joint": "false", "heaps": "0", "duration": "0s",
		"stop-on-stop": "true", "incomplete": "false", "verify": "false", "hash": "false", "quiet": "false", "format": "text", "tcp": "false",
	} {
		f := flags.Lookup(name)
		if f == nil {
			t.Errorf("there is no --%s", name)
		} else if f.DefValue != want {
			t.Errorf("--%s is %s by default, want %s", name, f.DefValue, want)
		}
	}
	for short, long := range map[string]string{"i": "interface", "H": "heap-size", "q": "quiet"} {
		if f := flags.ShorthandLookup(short); f == nil || f.Name != long {
			t.Errorf("-%s is not --%s", short, long)
		}
	}
}

// recvConfig is what a command line of recv comes to.
func recvConfig(t *testing.T, args ...string) (speadx.Config, *recvFlags) {
	t.Helper()
	f := newRecvFlags()
	cmd := newRecvCommand()
	cmd.ResetFlags()
	useFlagGroups(cmd, f.groups())
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	c, err := f.config(cmd.Flags(), cmd.Flags().Args())
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return c, f
}

func TestRecvConfig(t *testing.T) {
	plain := speadx.Config{
		Streams:  []speadx.Stream{{Source: "239.1.2.3:7148"}},
		HeapSize: 4 << 20, Substreams: 1, RingHeaps: 4, ConsumerHeaps: 2, PoolMin: 16 << 10, MaxAge: 10 * time.Second, CarrierWait: 10 * time.Second,
	}
	for _, tt := range []struct {
		args string
		set  func(*speadx.Config)
	}{
		{"", func(*speadx.Config) {}},
		{"-i eth1 --interface eth2", func(c *speadx.Config) { c.Interfaces = []string{"eth1", "eth2"} }},
		{"--mode zerocopy", func(c *speadx.Config) { c.Mode = speadx.ModeZeroCopy }},
		{"--mode native", func(c *speadx.Config) { c.Mode = speadx.ModeNative }},
		{"--mode generic", func(c *speadx.Config) { c.Mode = speadx.ModeGeneric }},
		{"--mode udp", func(c *speadx.Config) { c.Mode = speadx.ModeUDP }},
		{"--queues 0,2-4", func(c *speadx.Config) { c.Queues = []int{0, 2, 3, 4} }},
		{"-H 64MiB", func(c *speadx.Config) { c.HeapSize = 64 << 20 }},
		{"--heap-size=64Mi", func(c *speadx.Config) { c.HeapSize = 64 << 20 }},
		{"-H 67108864", func(c *speadx.Config) { c.HeapSize = 64 << 20 }},
		{"-H 64MB", func(c *speadx.Config) { c.HeapSize = 64e6 }},
		// The library's default depends on the number of queues; who gives it means it.
		{"--concurrent-heaps 4", func(c *speadx.Config) { c.ConcurrentHeaps = 4 }},
		{"--substreams 3", func(c *speadx.Config) { c.Substreams = 3 }},
		{"--ring-heaps 9", func(c *speadx.Config) { c.RingHeaps = 9 }},
		{"--consumer-heaps 1", func(c *speadx.Config) { c.ConsumerHeaps = 1 }},
		{"--pool-min 8Ki", func(c *speadx.Config) { c.PoolMin = 8 << 10 }},
		{"--pool-min 0", func(c *speadx.Config) { c.PoolMin = -1 }},
		{"--hugepages 2M", func(c *speadx.Config) { c.Hugepages = pool.Pages2M }},
		{"--hugepages 1G", func(c *speadx.Config) { c.Hugepages = pool.Pages1G }},
		{"--hugepages thp", func(c *speadx.Config) { c.Hugepages = pool.PagesTHP }},
		{"--hugepages off", func(c *speadx.Config) { c.Hugepages = pool.PagesOff }},
		{"--frames 4096", func(c *speadx.Config) { c.Frames = 4096 }},
		{"--cpus 2,4-5", func(c *speadx.Config) { c.CPUs = []int{2, 4, 5} }},
		{"--gro=false", func(c *speadx.Config) { c.NoGRO = true }},
		{"--wait spin", func(c *speadx.Config) { c.Wait = xsk.WaitSpin }},
		{"--wait busy", func(c *speadx.Config) { c.Wait = xsk.WaitBusy }},
		{"--repeats deliver", func(c *speadx.Config) { c.Repeats = heap.RepeatsDeliver }},
		{"--on-full drop-newest", func(c *speadx.Config) { c.OnFull = heap.DropNewest }},
		{"--on-full drop-oldest", func(c *speadx.Config) { c.OnFull = heap.DropOldest }},
		{"--max-age 1m", func(c *speadx.Config) { c.MaxAge = time.Minute }},
		{"--max-age 0s", func(c *speadx.Config) { c.MaxAge = -1 }},
		{"--carrier-wait 3s", func(c *speadx.Config) { c.CarrierWait = 3 * time.Second }},
		{"--carrier-wait 0s", func(c *speadx.Config) { c.CarrierWait = -1 }},
		{"--stop-on-stop=false", func(c *speadx.Config) { c.IgnoreStop = true }},
		{"--incomplete", func(c *speadx.Config) { c.Incomplete = true }},
		{"[ff15::1]:7148", func(c *speadx.Config) { c.Streams = []speadx.Stream{{Source: "[ff15::1]:7148"}, c.Streams[0]} }},
		{"--joint 239.1.2.4+3:7148", func(c *speadx.Config) {
			c.Streams = []speadx.Stream{{Source: "239.1.2.4+3:7148", Sources: []string{"239.1.2.3:7148"}, Joint: true}}
		}},
		{"tcp://:7148", func(c *speadx.Config) { c.Streams = []speadx.Stream{{Source: "tcp://:7148"}, c.Streams[0]} }},
		{"--affinity 3,5-7", func(c *speadx.Config) { c.CPUs = []int{3, 5, 6, 7} }},
		{"--affinity auto", func(*speadx.Config) {}},
		{"--mem-lower 1000", func(c *speadx.Config) { c.PoolMin = 1000 }},
		{"--mem-upper 32Mi", func(c *speadx.Config) { c.HeapSize = 32 << 20 }},
		{"--buffer 8MiB", func(c *speadx.Config) { c.SocketBuffer = 8 << 20 }},
		{"--packet 9200 --threads 2 --ring --mem-pool --mem-max-free 12 --mem-initial 8", func(*speadx.Config) {}},
		{"--memcpy-nt --ibv --ibv-vector 0 --ibv-max-poll 10", func(*speadx.Config) {}},
	} {
		want := plain
		tt.set(&want)
		got, _ := recvConfig(t, append(strings.Fields(tt.args), "239.1.2.3:7148")...)
		if len(got.Streams) == len(want.Streams) && want.Streams[0].Sources == nil {
			got.Streams[0].Sources = nil
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.args, got, want)
		}
	}
}

// TestRecvTCP: --tcp is of all sources that are no files.
func TestRecvTCP(t *testing.T) {
	file := capturePath("plain-64-24")
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"--tcp 7148 :7149 127.0.0.1:7148 [::1]:7148 tcp://127.0.0.1:7149 " + file, []string{
			"tcp://7148", "tcp://:7149", "tcp://127.0.0.1:7148", "tcp://[::1]:7148", "tcp://127.0.0.1:7149", file,
		}},
		// A port of UDP is another than that of TCP.
		{"7148 tcp://:7148 127.0.0.1:7148 tcp://127.0.0.1:7148", []string{"7148", "tcp://:7148", "127.0.0.1:7148", "tcp://127.0.0.1:7148"}},
		{"--mode native tcp://:7148", []string{"tcp://:7148"}},
		{"--mode zerocopy --tcp 7148", []string{"tcp://7148"}},
	} {
		c, _ := recvConfig(t, strings.Fields(tt.args)...)
		var got []string
		for _, s := range c.Streams {
			got = append(got, s.Source)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: sources %q, want %q", tt.args, got, tt.want)
		}
	}
	if c, _ := recvConfig(t, "--joint", "--tcp", "7148", "7149"); len(c.Streams) != 1 || c.Streams[0].Source != "tcp://7148" || !slices.Equal(c.Streams[0].Sources, []string{"tcp://7149"}) {
		t.Errorf("streams %+v", c.Streams)
	}
}

// oneLine matches what a user reads of an error: a sentence, and of wrong usage
// a second about where to look.
var (
	oneLine   = regexp.MustCompile(`^speadx: [^\n]+\n$`)
	usageLine = regexp.MustCompile(`^speadx: [^\n]+\n'speadx recv --help' shows what there is.\n$`)
)

func TestRecvUsage(t *testing.T) {
	const source = " 239.1.2.3:7148"
	for _, tt := range []struct{ args, want string }{
		{"", "at least one source is required"},
		{"--bogus" + source, "unknown flag: --bogus"},
		{"-z" + source, "unknown shorthand flag: 'z'"},
		{"--heap-size", "flag needs an argument: --heap-size"},

		{"--heap-size 0" + source, "--heap-size 0 is too small (the least is 1)"},
		{"--heap-size -1" + source, "not a whole number of bytes, such as 67108864, 64Mi or 64MiB"},
		{"-H 4M" + source, `size "4M" is ambiguous (4Mi is a power of 1024, 4MB of 1000)`},
		{"-H 1.5GiB" + source, "not a whole number of bytes"},
		{"-H 9999999TiB" + source, "does not fit into 63 bits"},
		{"-H lots" + source, "not a whole number of bytes"},
		{"--pool-min x" + source, "not a whole number of bytes"},
		{"--mem-upper x" + source, "not a whole number of bytes"},
		{"--concurrent-heaps 0" + source, "--concurrent-heaps 0 is too small"},
		{"--concurrent-heaps 9223372036854775807" + source, "--concurrent-heaps 9223372036854775807 is too large (the most is 1048576)"},
		{"--concurrent-heaps 2000000" + source, "--concurrent-heaps 2000000 is too large (the most is 1048576)"},
		{"--stop-after-stops 2000000" + source, "--stop-after-stops 2000000 is too large (the most is 1048576)"},
		{"--stop-after-stops 0" + source, `--stop-after-stops "0" is neither a number of stop heaps nor never`},
		{"-H 1000TiB" + source, "--heap-size 1099511627776000 is too large (the most is 140737488355328)"},
		{"--buffer 4GiB" + source, "--buffer 4294967296 is too large (the most is 2147483647)"},
		{"--substreams 0" + source, "--substreams 0 is too small"},
		{"--substreams 2097152" + source, "--substreams 2097152 is too large"},
		{"--ring-heaps 0" + source, "--ring-heaps 0 is too small"},
		{"--ring-heaps many" + source, "--ring-heaps many is not a whole number"},
		{"--consumer-heaps -2" + source, "--consumer-heaps -2 is too small"},
		{"--frames 0" + source, "--frames 0 is not a power of two from 2 to 16777216"},
		{"--frames 100" + source, "--frames 100 is not a power of two from 2 to 16777216 (the next is 128)"},
		{"--frames 33554432" + source, "--frames 33554432 is not a power of two from"},
		{"--queues x" + source, `--queues: "x" is not a number or a range (a list is like 3,5-7)`},
		{"--queues 3-1" + source, `--queues: "3-1" is not`},
		{"--queues ," + source, `--queues: "" is not a number`},
		{"--queues 0-99999999" + source, `--queues: "0-99999999" is not`},
		{"--cpus x" + source, `--cpus: "x" is not a number or a range`},
		{"--affinity x" + source, `"x" is not a number or a range`},
		{"--mode fast" + source, `--mode "fast" is none of auto, zerocopy, native, generic, udp`},
		{"--wait long" + source, `--wait "long" is none of poll, spin, busy`},
		{"--repeats twice" + source, `"twice" is none of drop, deliver`},
		{"--on-full cry" + source, `"cry" is none of block, drop-newest, drop-oldest`},
		{"--hugepages 4K" + source, `"4K" are not one of auto, 1G, 2M, thp, off`},
		{"--format xml" + source, `--format "xml" is neither text nor json`},
		{"--max-age soon" + source, "--max-age soon is not a time, such as 500ms, 90s or 1h"},
		{"--max-age -1s" + source, "--max-age -1s is too small"},
		{"--duration 5" + source, "--duration 5 is not a time, such as"},
		{"--duration -1s" + source, "--duration -1s is too small"},
		{"--heaps -1" + source, "--heaps -1 is too small"},
		{"--heaps 1e6" + source, "--heaps 1e6 is not a whole number"},
		{"--gro=perhaps" + source, "--gro=perhaps is neither true nor false"},
		{"--stop-on-stop false" + source, "takes its value with =, as in --gro=false"},
		{"--bind eth0" + source, `--bind "eth0" is not an address (--interface takes a name)`},
		{"--bind 10.0.0.1 -i eth0" + source, "--bind is --interface by another name: give one of them"},
		{"--affinity 1 --cpus 1" + source, "--affinity is --cpus by another name"},
		{"--mem-lower 1 --pool-min 1" + source, "--mem-lower is --pool-min by another name"},
		{"--mem-upper 1 -H 1" + source, "--mem-upper is --heap-size by another name"},

		{"nosuch.pcap", `source "nosuch.pcap" has no port number, and is no file either`},
		{"10.0.0.1", `source "10.0.0.1" has no port number, and is no file either`},
		{"239.1.2.3:", "has no port number"},
		{"239.1.2.3:70000", "70000 is not a port (1 to 65535)"},
		{"239.1.2.3:0", "0 is not a port (1 to 65535)"},
		{"0", "0 is not a port"},
		{"telescope:7148", `"telescope" is not an IP address (names are not looked up)`},
		{"239.1.2:7148", `"239.1.2" is not an IP address`},
		{"239.1.2.3+x:7148", `"x" is not a number of further addresses up to 4095`},
		{"239.1.2.3+4096:7148", `"4096" is not a number of further addresses up to 4095`},
		{"255.255.255.254+5:7148", "there are only 2 addresses from the first on"},
		{"ff15::1:7148", "has no port number"},
		{"7148 :7148", `source ":7148": [::]:7148 is part of source "7148" already`},
		{"239.1.2.3+3:7148 --joint 239.1.2.5:7148", `239.1.2.5:7148 is part of source "239.1.2.3+3:7148" already`},
		{"tcp://:7148 tcp://7148", `source "tcp://7148": [::]:7148 is part of source "tcp://:7148" already`},
		{"--tcp 7148 tcp://:7148", `source "tcp://:7148": [::]:7148 is part of source "tcp://7148" already`},
		{"--tcp" + source, `source "tcp://239.1.2.3:7148": 239.1.2.3 is a multicast group, which no connection can be to`},
		{"--tcp 127.0.0.1+3:7148", `source "tcp://127.0.0.1+3:7148" names several addresses, and a connection is to one (a source for each)`},
		{"--tcp nosuch.pcap", `source "nosuch.pcap" has no port number, and is no file either`},
		{"tcp://nosuch", `source "tcp://nosuch" has no port number (one of TCP is like tcp://:7148 or tcp://10.0.0.2:7148)`},
		{"--mode native 7148", `source "7148" names no interface to receive on in mode native (--interface)`},
	} {
		r := program(append([]string{"recv"}, strings.Fields(tt.args)...)...)
		if r.check(t, exitUsage, tt.want); !usageLine.MatchString(r.stderr) || r.stdout != "" {
			t.Errorf("recv %s prints %q and the messages\n%s", tt.args, r.stdout, r.stderr)
		}
	}
}

// TestAllWrongFlags: all that is wrong with a command line is said at once, each flag once.
func TestAllWrongFlags(t *testing.T) {
	args := []string{"--mode", "best", "-H", "0", "--frames", "100", "--ring-heaps", "-3", "--queues", "x", "--concurrent-heaps", "2000000", "--format", "xml", ":0"}
	f := newRecvFlags()
	cmd := newRecvCommand()
	cmd.ResetFlags()
	useFlagGroups(cmd, f.groups())
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	_, err := f.config(cmd.Flags(), cmd.Flags().Args())
	var got []string
	var sources int
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		var value *flagValueError
		switch {
		case errors.As(err, &value):
			got = append(got, value.flag)
		case errors.As(err, new(*sourceError)):
			sources++
		default:
			t.Errorf("an error that names neither a flag nor a source: %v", err)
		}
	}
	slices.Sort(got)
	if want := []string{"concurrent-heaps", "format", "frames", "heap-size", "mode", "queues", "ring-heaps"}; !slices.Equal(got, want) || sources != 1 {
		t.Errorf("errors of %q and of %d sources, want %q and 1", got, sources, want)
	}
}

// TestRecvFails: what is wrong with the machine or with a file is no wrong usage.
func TestRecvFails(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	capture := captureBytes(t, "plain-64-48")
	for _, tt := range []struct {
		name  string
		args  []string
		wants []string
	}{
		{"interface", []string{"-i", "nosuch0", "7148"}, []string{`no interface "nosuch0" (there are: `, "lo"}},
		{"queue", []string{"-i", "lo", "--queues", "7", "7148"}, []string{"interface lo has no queue 7: it has 1, numbered from 0", "ethtool -l lo"}},
		{"address", []string{"--bind", "203.0.113.9", "7148"}, []string{"--bind: ", "no interface has the address 203.0.113.9", "ip -br addr"}},
		{"processor", []string{"--cpus", "65535", "--mode", "udp", freePort(t)}, []string{"processor 65535 is not one this process may run on"}},
		{"heap size", []string{"-H", "4TiB", "--mode", "udp", freePort(t)}, []string{"not enough memory", "available (smaller heaps"}},
		{"much memory", []string{"--ring-heaps", "30000", "-H", "64MiB", "--mode", "udp", freePort(t)}, []string{"(smaller heaps, or fewer of them live, in the ring or held, need less)"}},
		{"many heaps", []string{"--ring-heaps", "1000000", "--mode", "udp", freePort(t)}, []string{"needs 1000021 slots of the pool, and can have 65534: 18 concurrent heaps × 1 substreams + 1000000 ring heaps"}},
		{"empty capture", []string{file("empty.pcap", nil)}, []string{"empty.pcap is empty"}},
		{"foreign capture", []string{file("foreign.pcap", []byte("It is not a capture at all, is it?"))}, []string{"foreign.pcap is neither a pcap nor a pcapng file"}},
		{"capture cut in its header", []string{file("short.pcap", capture[:20])}, []string{"short.pcap ends inside its header"}},
		{"directory", []string{dir}, []string{"is neither a file nor a pipe"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := program(append([]string{"recv", "-q"}, tt.args...)...)
			if r.check(t, exitError, tt.wants...); !oneLine.MatchString(r.stderr) {
				t.Errorf("the messages are no line of their own:\n%s", r.stderr)
			}
		})
	}
	t.Run("capture cut in a packet", func(t *testing.T) {
		// The 40 packets before it are received, and accounted for.
		at := len(fileHeader(capture))
		for range 40 {
			_, size := record(capture[at:])
			at += size
		}
		r := program("recv", "-q", "--format", "json", file("cut.pcap", capture[:at+100]))
		r.check(t, exitError, "cut.pcap: record 41: the file ends inside it (it was cut off, or is still being written)")
		if s := lastSummary(t, r.stdout); s.CompleteHeaps != 1 || s.Packets != 40 {
			t.Errorf("%d heaps of %d packets, want 1 of 40", s.CompleteHeaps, s.Packets)
		}
	})
}

func TestRecvPortTaken(t *testing.T) {
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	r := program("recv", "-q", "--mode", "udp", port)
	if r.check(t, exitError, "port "+port+" is taken by this process"); !oneLine.MatchString(r.stderr) {
		t.Errorf("messages %q", r.stderr)
	}
}

// freePort is a UDP port that nobody has.
func freePort(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenUDP("udp", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// freeTCPPort is a TCP port that nobody listens on.
func freeTCPPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestSpead2Notes(t *testing.T) {
	names := make([]string, 0, len(notNeeded))
	for name := range notNeeded {
		names = append(names, name)
	}
	slices.Sort(names)
	want := []string{"ibv", "ibv-max-poll", "ibv-vector", "mem-initial", "mem-max-free", "mem-pool", "memcpy-nt", "packet", "ring", "threads"}
	if !slices.Equal(names, want) {
		t.Errorf("not needed are %q, want %q", names, want)
	}
	values := map[string]string{"ibv-max-poll": "=10", "ibv-vector": "=0", "mem-initial": "=8", "mem-max-free": "=12", "packet": "=9200", "threads": "=2"}
	for _, name := range names {
		r := program("recv", "-q", "--"+name+values[name], capturePath("plain-64-24"))
		r.check(t, 0)
		if want := "--" + name + " is not needed: " + notNeeded[name] + "\n"; r.stderr != want {
			t.Errorf("--%s: messages %q, want %q", name, r.stderr, want)
		}
	}
	// The help names them all, and shows those that are another's.
	help := program("recv", "--help").stdout
	for _, name := range append(names, "bind", "affinity", "mem-lower", "mem-upper", "buffer") {
		if !regexp.MustCompile(`--` + name + `\b`).MatchString(help) {
			t.Errorf("the help does not mention --%s", name)
		}
	}
}

// TestWithoutEffect: a flag that does nothing is not passed over in silence.
func TestWithoutEffect(t *testing.T) {
	r := program("recv", "-q", "-i", "eth9", "--mode=native", "--queues=0", "--frames=64", "--wait=spin", "--gro=false", "--buffer=1MiB", "--hash",
		capturePath("plain-64-24"))
	r.check(t, 0)
	want := `--interface, --mode: without effect, as all packets come from files
--queues, --frames, --wait: without effect, as nothing comes over AF_XDP
--gro, --buffer: without effect, as nothing comes over UDP sockets
--hash: without effect, as hashes are part of --format json
`
	if r.stderr != want {
		t.Errorf("messages:\n%swant:\n%s", r.stderr, want)
	}
	r = program("recv", "-q", "-i", "eth9", "--mode=native", "--queues=0", "--gro=false", "--buffer=64KiB", "--duration=1ms", "--tcp", "127.0.0.1:"+freeTCPPort(t))
	r.check(t, 0)
	want = `--interface, --mode: without effect, as all packets come over TCP, or from files
--queues: without effect, as nothing comes over AF_XDP
--gro: without effect, as nothing comes over UDP sockets
speadx: nothing was received: no heap came
`
	if r.stderr != want {
		t.Errorf("messages:\n%swant:\n%s", r.stderr, want)
	}
}
