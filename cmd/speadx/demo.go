// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"net/netip"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/vnet"
	"github.com/speadx/speadx/ledger"
)

const demoLong = `Show the whole way of a stream on this machine, with no NIC: in network
namespaces of its own, which vanish with it, it makes a veth pair, sends SPEAD
with jumbo packets on one end, receives it on the other through AF_XDP in native
mode, and verifies every byte.

Exit status: 0 if every packet arrived and every byte was right, else 1. It needs
the privileges to make namespaces and to use AF_XDP: run it as root.`

// The demo's stream.
const (
	demoPort     = 7148
	demoHeap     = 4 << 20
	demoPacket   = 8972
	demoRing     = 16
	demoDuration = 10 * time.Second
	demoRate     = 5 // Gb/s; more works too, where the machine has nothing else to do
)

func newDemoCommand() *cobra.Command {
	duration, rate := demoDuration, float64(demoRate)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Send and receive on a veth pair of its own",
		Long:  demoLong,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("demo takes no argument, and %q was given", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !(rate >= 0) {
				return usageError{fmt.Errorf("--rate %v is not a rate", rate)}
			}
			if duration <= 0 {
				return usageError{fmt.Errorf("--duration %v is too short", duration)}
			}
			ctx, stop := untilSignal(cmd.Context(), true)
			defer stop()
			return runDemo(ctx, duration, rate, cmd.OutOrStdout())
		},
	}
	cmd.Flags().DurationVar(&duration, "duration", duration, "how long to send")
	cmd.Flags().Float64Var(&rate, "rate", rate, "Gb/s to send at (0: as fast as possible)")
	return cmd
}

func runDemo(ctx context.Context, duration time.Duration, rate float64, w io.Writer) (err error) {
	if err := needCapabilities("the demo"); err != nil {
		return err
	}
	net, err := vnet.Make(vnet.Options{})
	if err != nil {
		return fmt.Errorf("making a veth pair: %w", err)
	}
	defer func() { err = errors.Join(err, net.Close()) }()
	dest := netip.AddrPortFrom(net.B.Addr4, demoPort)
	fmt.Fprintf(w, "a veth pair in namespaces of its own: %s sends to %v on %s\n", net.A.Name, dest, net.B.Name)

	var r *speadx.Receiver
	if err := in(&net.B, func() error {
		var err error
		r, err = speadx.Open(context.Background(), speadx.Config{
			Streams:    []speadx.Stream{{Source: dest.String()}},
			Interfaces: []string{net.B.Name},
			Mode:       speadx.ModeNative,
			HeapSize:   demoHeap,
			RingHeaps:  demoRing,
		})
		return err
	}); err != nil {
		return err
	}
	defer r.Close()
	printInfo(w, r.Info(), true)

	var s *send.Sender
	if err := in(&net.A, func() error {
		var err error
		s, err = send.Open(send.Config{
			Destinations: []netip.AddrPort{dest}, HeapSize: demoHeap, MaxPacket: demoPacket, Heaps: -1, Verify: true, Rate: rate * 1e9,
		})
		return err
	}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	fmt.Fprintf(w, "sending to %v for %v\n", s, duration)

	ctx, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	sent := make(chan demoSent, 1)
	go func() {
		res, err := s.Run(ctx)
		if err != nil || res.StopHeaps == 0 {
			r.Stop()
		}
		sent <- demoSent{res, err}
	}()
	f := newRecvFlags()
	f.verify, f.quiet = true, true
	c := &reception{r: r, f: f, out: newOutput(w, w, f, 1), stdout: w, stderr: w, began: time.Now()}
	defer c.live1s(c.stderr, printRates).stop()
	// The stop heap ends reception; should it be lost, the time does.
	defer time.AfterFunc(duration+5*time.Second, r.Stop).Stop()
	failed := c.run()
	res := <-sent
	return errors.Join(failed, res.err, c.judge(w, &res.Result))
}

type demoSent struct {
	send.Result
	err error
}

// judge compares what was sent with what was received and says the result.
func (c *reception) judge(w io.Writer, sent *send.Result) error {
	s := c.r.Stats()
	heaps := s.Heaps()
	complete := heaps[ledger.HeapsComplete]
	ok := s.Packets == sent.Packets && s.Unaccounted == 0 && complete == sent.Heaps && c.got.Verified == sent.Heaps && c.got.Mismatched == 0
	verdict := "OK"
	if !ok {
		verdict = "FAILED"
	}
	fmt.Fprintf(w, "%s: sent %d heaps in %d packets at %.2f Gb/s; received %d complete, verified %d, wrong %d, lost %d packets\n",
		verdict, sent.Heaps, sent.Packets, sent.Gbps(), complete, c.got.Verified, c.got.Mismatched, int64(sent.Packets-s.Packets)+int64(s.Fates.Lost()))
	if !ok {
		return errors.New("the demo lost or damaged something")
	}
	return nil
}

// in runs f in the namespace of one end.
func in(end *vnet.Iface, f func() error) (err error) {
	if e := end.Do(func() { err = f() }); e != nil {
		return e
	}
	return err
}
