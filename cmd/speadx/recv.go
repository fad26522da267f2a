// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/heap"
	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/internal/pattern"
	"github.com/speadx/speadx/internal/report"
)

const recvLong = `Receive SPEAD heaps from the network or from capture files.

A SOURCE is one of
  239.1.2.3:7148     address, of a multicast group or of this machine, and port
  239.1.2.3+7:7148   this address and the 7 that follow it, all one stream
  [ff15::1]:7148     the same of IPv6
  :7148 or 7148      a port of any address
  tcp://:7148        a TCP port, for one connection; or tcp://10.0.0.2:7148
  239.1.2.3          a group, on the field's default port 7148
  capture.pcap       a capture file, pcap or pcapng, plain, gzip or zstd
  -                  a capture on standard input
  239.1.2.3:7148@capture.pcap    what was sent there, of a capture file; with
                     vlan7/ before it, of that VLAN

Each source is a stream of its own, with its own numbering of heaps. So is each
destination in a capture file. With --joint all of them are one stream, and
capture files are merged by time.

Without --interface packets are received where the address is, or where the route
to the group leads; for a bare port UDP sockets are used. What comes over TCP
also ends with its connection.

What that was resolved to is printed first, on standard error. Reception ends
with the stop heap of each stream, or on Ctrl-C, with the totals and the ledger:
what became of every packet. docs/json.md explains --format json.

Exit status: 0, 1 for an error or a failed verification, 2 for wrong usage,
3 if --strict or --expect-heaps finds something amiss.`

func newRecvCommand() *cobra.Command {
	f := newRecvFlags()
	cmd := &cobra.Command{
		Use:   "recv [flags] SOURCE...",
		Short: "Receive SPEAD heaps",
		Long:  recvLong,
		Example: `  speadx recv -H 64MiB -i eth1 239.1.2.3:7148
  speadx recv --format json --hash stream.pcap`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := f.configured(cmd, args)
			if err != nil {
				return err
			}
			show := newProgress(f, cmd.ErrOrStderr())
			for _, note := range f.spead2.notes(cmd.Flags()) {
				fmt.Fprintln(show.stderr, note)
			}
			cfg.Progress, cfg.Logger = show.opening(), slog.New(show.handler())
			return runRecv(cmd.Context(), cfg, f, show, cmd.OutOrStdout())
		},
	}
	useFlagGroups(cmd, f.groups())
	return cmd
}

// consumerNice is the priority of the consumer's thread, between that of the
// receiving threads (-20) and everybody else's (0).
const consumerNice = -10

// errMismatch is the end of a run in which --verify found wrong bytes.
var errMismatch = errors.New("verification failed")

// errAmiss is the end of a run that --strict or --expect-heaps finds fault with.
var errAmiss = errors.New("the run is not as asked for")

// runRecv receives and prints, until the streams end or a signal comes.
func runRecv(ctx context.Context, cfg speadx.Config, f *recvFlags, show *progress, stdout io.Writer) error {
	stderr := show.stderr
	stdout = &steadyWriter{w: stdout}
	ctx, stop := untilSignal(ctx, f.operate.configFile == "") // else SIGHUP reads the file again
	defer stop()

	hangups := f.operate.hangups()
	socket, err := f.operate.listen()
	if err != nil {
		return err
	}
	defer socket.Close() // again, unless opening failed
	if err := confine(); err != nil {
		return err
	}
	mon, err := f.operate.monitor.start(stderr, f.quiet)
	if err != nil {
		return err
	}
	defer mon.stop()
	r, err := speadx.Open(ctx, cfg)
	show.opened()
	if err != nil {
		return explain(err)
	}
	defer r.Close()
	defer context.AfterFunc(ctx, r.Stop)()
	// A receiving thread that wakes up needs one of Go's processors at once, however
	// busy the consumer is. More of them than that do harm: while garbage is collected,
	// each that is idle has a thread that helps, and the receiving thread comes after
	// all of these when it was stopped for the collector.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), r.Info().Threads+2))
	in := r.Info()
	defer startOperator(r, f, cfg.Logger, socket, hangups).stop()
	defer hastenConsumer()()
	if err := f.operate.dropPrivileges(stderr, len(in.Devices) > 0); err != nil {
		return err
	}
	if f.quiet {
		printNotes(stderr, in)
	} else {
		printInfo(stderr, in, f.hugepages == "auto")
	}
	for _, note := range f.withoutEffect(&in) {
		fmt.Fprintln(stderr, note)
	}
	defer startService(ctx, r, stderr).stop()
	if f.duration > 0 {
		defer time.AfterFunc(f.duration, r.Stop).Stop()
	}
	rec := &reception{r: r, f: f, out: newOutput(stdout, stderr, f, len(in.Streams)), stdout: stdout, stderr: stderr, began: time.Now()}
	if err := mon.attach(r, rec.report); err != nil {
		return err
	}
	defer show.live(rec).stop()
	return rec.run()
}

// reception is one run of recv, from the first heap to the totals.
type reception struct {
	r      *speadx.Receiver
	f      *recvFlags
	out    output
	stdout io.Writer
	stderr io.Writer
	began  time.Time
	live   *liveLine

	got   received
	mu    sync.Mutex
	shown report.Delivered // got, as others may read it
	items [][]byte         // of the heap being verified
	words []byte           // of its immediate items
}

// received is what was handed over to us, and when.
type received struct {
	report.Delivered
	first time.Time // when the first packet of the first heap came
}

// count adds a heap.
func (g *received) count(h *heap.Heap, began time.Time) {
	now := time.Now()
	if g.Heaps++; g.Heaps == 1 {
		g.first = since(h.ReceiveTime(), began, now)
	}
	if !h.Complete() {
		g.Incomplete++
	}
	g.Bytes += uint64(h.Received())
	g.Flow = now.Sub(g.first)
}

// since is when a heap was received, with the monotonic reading of now. The receiver
// gives the time of day, and the clock may be set while heaps come. The result is
// began where received is not in the run: it is then the time of a capture file.
func since(received, began, now time.Time) time.Time {
	at := now.Add(received.Sub(now))
	if at.Before(began) || at.After(now) {
		return began
	}
	return at
}

func (c *reception) run() error {
	defer hastenConsumer()()

	// Signals end the receiver, not the wait for its last heaps.
	var failed error
	for h, err := range c.r.Heaps(context.Background()) {
		if err != nil {
			failed = err
			break
		}
		c.got.count(h, c.began)
		c.verify(h)
		c.show()
		failed = c.out.heap(h, time.Since(c.began))
		h.Release()
		if failed != nil || c.f.heaps > 0 && c.got.Heaps >= uint64(c.f.heaps) {
			break
		}
	}
	c.got.Elapsed = time.Since(c.began)
	c.show()
	failed = errors.Join(failed, c.r.Close())
	c.live.stop()
	if err := writeTotals(c.stdout, c.stderr, func(w io.Writer) error { return c.out.summary(w, c.report()) }); failed == nil {
		failed = err
	}
	if failed == nil && c.got.Mismatched > 0 {
		failed = fmt.Errorf("%w: %d of %d heaps are not what send --verify sends", errMismatch, c.got.Mismatched, c.got.Verified)
	}
	if v := c.report().Verdict(); failed == nil && !v.OK() {
		if c.f.strict || v.Expected != nil {
			return fmt.Errorf("%w: %s", errAmiss, v.Sentence)
		}
		fmt.Fprintf(c.stderr, "speadx: %s\n", v.Sentence)
	}
	return failed
}

// show lets others see what was taken so far.
func (c *reception) show() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown = c.got.Delivered
}

// report reads the counters. It may be called from any goroutine.
func (c *reception) report() *report.Report {
	c.mu.Lock()
	delivered := c.shown
	c.mu.Unlock()
	delivered.Verify = c.f.verify
	if delivered.Elapsed == 0 { // it goes on
		delivered.Elapsed = time.Since(c.began)
	}
	return &report.Report{
		Stats: c.r.Stats(), Delivered: delivered, Diagnoses: c.r.Diagnoses(), Threads: c.r.Threads(), Groups: c.r.Groups(),
		Times: c.r.Times(), Devices: c.r.Info().Devices, Expected: c.f.expectHeaps.n, Time: time.Now(), Setting: flagname.Name,
	}
}

// verify checks a complete heap against the pattern that send --verify fills
// heaps with.
func (c *reception) verify(h *heap.Heap) {
	if !c.f.verify || !h.Complete() {
		return
	}
	c.items, c.words = c.items[:0], c.words[:0]
	for _, it := range h.Items() {
		switch {
		case it.ID < pattern.FirstID:
		case it.Immediate: // a sender may have made one of an item of one word
			n := len(c.words)
			c.words = append(c.words, byte(it.Value>>24), byte(it.Value>>16), byte(it.Value>>8), byte(it.Value))
			c.items = append(c.items, c.words[n:n+4:n+4])
		default:
			c.items = append(c.items, it.Data)
		}
	}
	c.got.Verified++
	if err := pattern.CheckHeap(h.Cnt(), c.items); err != nil {
		const most = 10 // messages
		if c.got.Mismatched++; c.got.Mismatched <= most {
			fmt.Fprintf(c.stderr, "stream %s: %v\n", h.Stream(), err)
		}
		if c.got.Mismatched == most {
			fmt.Fprintln(c.stderr, "what else differs is only counted")
		}
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
