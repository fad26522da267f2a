// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/speadx/speadx/internal/bench"
	"github.com/speadx/speadx/internal/units"
)

const benchVethLong = `Measure what can be received without loss from a veth pair, in network namespaces that
vanish with the run: the highest rate, and the CPU time for a GB at a rate that all
contestants take. Packets are made in the kernel (blast), and jumbo ones come from a
kernel's socket (udp). The generator has a processor of its own, on which the kernel
does its part for the receiving end too; where all it could send was received, the
note says so.

With several senders, each of them has a heap under way, and their packets come in
turn; contestants are then those alone that are of interest there.

Contestants are a drain (our AF_XDP ring, with nobody who looks at the packets), which
waits in poll, one that waits as speadx does (nap), and one that copies each packet
besides, the least that anybody does who puts heaps together; speadx in native mode, waiting
or spinning, in generic mode, and on a UDP socket; asavie/xdp's ring with our assembly
of heaps behind it; and spead2_recv, where it is installed, with its defaults,
with the socket buffer that most kernels allow unless told otherwise (stock), and tuned
as its documentation advises. Each round is a search: the rate rises until packets are
lost, and is lowered until none is three times in a row. A ratio is that to the drain.
spead2_bench, where it is installed, has a search and a sender of its own, and one run
of a minute, with jumbo packets.

One more, speadx with as many frames as it takes by default, is disturbed besides: at
0.8 of its highest rate garbage is collected and the statistics are read all the time,
and the consumer stands still for 10 ms ten times a second.

It needs two processors and the privileges to make namespaces and to use AF_XDP: run
it as root. The socket buffers of speadx and spead2_recv are bounded by the sysctl
net.core.rmem_max. --format, --html and --baseline are explained by 'speadx bench
--help'.`

// spead2Recv is spead2's receiver.
const spead2Recv = "spead2_recv"

func newBenchVethCommand() *cobra.Command {
	var f benchFlags
	var o bench.VethOptions
	if err := o.Complete(); err != nil {
		panic(err) // the defaults can be measured anywhere
	}
	size := units.Size(o.Heap)
	jumbo := o.Jumbo
	var short, spead2 bool
	cmd := &cobra.Command{
		Use:   "veth",
		Short: "How much is received without loss from a veth pair",
		Long:  benchVethLong,
		Example: `  sudo speadx bench veth --html veth.html
  sudo speadx bench veth --payload 1024,3072 --jumbo 0 --only 'drain,speadx native'
  sudo speadx bench veth --short --spead2=false`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			flags := cmd.Flags()
			o.Heap = int64(size)
			if o.Jumbo = jumbo; jumbo == 0 { // which would be the default
				o.Jumbo = -1
			}
			switch { // 0 would be the default, too
			case jumbo < 0:
				return usageError{fmt.Errorf("--jumbo %d is not a number of bytes", jumbo)}
			case o.Rounds < 1:
				return usageError{fmt.Errorf("--rounds %d is not a number from 1", o.Rounds)}
			case o.Trial <= 0:
				return usageError{fmt.Errorf("--trial %v is too short", o.Trial)}
			case o.Heap < 1:
				return usageError{errors.New("--heap-size 0 is no measurement")}
			case o.Frames < 1:
				return usageError{fmt.Errorf("--frames %d is not a number from 1", o.Frames)}
			}
			if short {
				shorten := func(flag string, set func()) {
					if !flags.Changed(flag) {
						set()
					}
				}
				shorten("payload", func() { o.Payloads = []int{3072} })
				shorten("rounds", func() { o.Rounds = 3 })
			}
			wanted := slices.ContainsFunc(o.Only, func(name string) bool { return strings.HasPrefix(name, bench.Spead2) })
			if spead2 && (o.Only == nil || wanted) {
				o.Spead2, err = exec.LookPath(spead2Recv)
				if err != nil && (flags.Changed("spead2") || wanted) {
					return fmt.Errorf("--spead2: %w", err)
				}
			}
			// It takes a minute: in a short run, only where it is asked for.
			wanted = slices.Contains(o.Only, bench.Spead2Bench)
			if spead2 && (o.Only == nil && !short || wanted) {
				o.Spead2Bench, err = exec.LookPath(spead2Bench)
				if err != nil && wanted {
					return fmt.Errorf("--spead2: %w", err)
				}
			}
			if err := o.Complete(); err != nil {
				return usageError{err}
			}
			if err := needCapabilities("bench veth"); err != nil {
				return err
			}
			f.only = o.Only
			return runBench(cmd, &f, func(ctx context.Context, emit func(bench.Result)) error { return bench.Receive(ctx, o, emit) })
		},
	}
	flags := cmd.Flags()
	flags.Var(intList(&o.Payloads), "payload", "SPEAD payload of a packet from blast, `BYTES`; may be repeated")
	flags.Var(intList(&o.Senders), "senders", "`N` that send at once, from blast, each with a heap under way; may be repeated")
	flags.IntVar(&jumbo, "jumbo", jumbo, "SPEAD payload of a packet from a kernel's socket, `BYTES` (0: leave these out)")
	flags.VarP(&size, "heap-size", "H", "near which heaps are, whole packets, a `SIZE` such as 1MiB, 1Mi or 1048576")
	flags.IntVar(&o.Rounds, "rounds", o.Rounds, "turns of each contestant, a search each")
	flags.DurationVar(&o.Trial, "trial", o.Trial, "how long to send at each rate")
	flags.IntVar(&o.Frames, "frames", o.Frames, "frames of the UMEM of speadx and of the drains, a power of two")
	flags.Float64Var(&o.Paced, "paced", o.Paced, "`Gb/s` that CPU time is measured at (0: 0.7 of what the slowest takes, but for those far behind)")
	flags.Var(&listFlag[string]{
		values: &o.Only, kind: "names",
		parse: func(text string) (string, error) { return text, nil },
		text:  func(name string) string { return name },
	}, "only", "measure these `CONTESTANTS` alone, of "+strings.Join(bench.VethContestants(), ", "))
	flags.BoolVar(&short, "short", false, "take a few minutes: a payload of 3072 besides the jumbo one, and 3 rounds, where nothing else is asked for")
	flags.BoolVar(&spead2, "spead2", true, "measure "+spead2Recv+" and "+spead2Bench+" too, if they are installed")
	f.add(flags)
	return cmd
}
