// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/speadx/speadx/internal/send"
	"github.com/speadx/speadx/internal/units"
	"github.com/speadx/speadx/spead"
)

const sendLong = `Send SPEAD heaps for tests and measurements, as spead2_send does, to one or more
destinations in turn: over UDP, or over TCP to destinations that are all
tcp://HOST:PORT. The items of a heap have the ids 0x1000, 0x1001, … and equal
sizes. The first heap of each destination also describes them, the last one is
a stop heap. With --dtype their elements count from the number of the item
to 99 and then from 0, again and again; else they are zeros.

UDP has no flow control: a receiver that is slower than the sender loses
packets. Give it a --rate. TCP makes the sender wait instead.

--drop, --reorder and --duplicate injure the stream on purpose, each packet with
the given probability and the same packets for the same --seed. The stop heaps
are spared. What was done stands in the summary.

--engine blast loads a receiver at the other end of a veth pair with millions of
packets a second, which are made in the kernel. That end takes them only with an XDP
program on it, as recv attaches one, or with GRO. They leave from the last CPU that
the program may use (taskset). All have the same payload, are at most some 3300
bytes long, and repeat the pointers of all items. Faults are injected into every
n-th packet, 1/n being the given probability within 5 % (others are refused, such as
0.7, and above 0.5 to reorder). What the veth does not take is counted as refused.

--format json prints one object at the end, with these keys:
  type            "summary"
  heaps           data heaps sent
  damaged_heaps   of these, those of which some packets were dropped
  missing_heaps   of these, those of which all packets were dropped
  cut_heaps       heaps in flight that were broken off by a signal or an error
  stop_heaps      stop heaps sent
  packets         packets sent, repetitions and stop heaps included
  refused         packets that the veth did not take, none of these (engine blast)
  bytes           their UDP or TCP payload
  dropped, duplicated, reordered
                  faults injected, in packets
  seconds, gbps   time and rate of that payload`

// tcpPrefix is what sources and destinations begin with that are of TCP.
const tcpPrefix = "tcp://"

// sendFlags are the flags that are not fields of the configuration as they are.
type sendFlags struct {
	heapSize    units.Size
	rate        float64 // Gb/s
	addrBits    uint8
	bind        string
	engine      string
	dtype       string
	shape       string
	pyspead     bool
	gso         bool
	descriptors bool
	quiet       bool
	format      string
}

func newSendCommand() *cobra.Command {
	var c send.Config
	f := sendFlags{heapSize: 4 << 20}
	cmd := &cobra.Command{
		Use:   "send [flags] [tcp://]HOST:PORT...",
		Short: "Send SPEAD heaps, for tests",
		Long:  sendLong,
		Example: `  speadx send --rate 4 --verify 10.0.0.2:7148
  speadx send -H 64MiB --packet 8972 --heaps 100 --interface eth1 239.1.2.3:7148
  speadx send --heaps 100 tcp://10.0.0.2:7148`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("at least one destination HOST:PORT is required")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := untilSignal(cmd.Context(), true)
			defer stop()
			if err := f.apply(ctx, &c, cmd.Flags(), args); err != nil {
				return usageError{err}
			}
			return runSend(ctx, c, &f, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.VarP(&f.heapSize, "heap-size", "H", "payload of a heap, such as 64MiB, 64Mi or 67108864")
	flags.Int64Var(&c.Heaps, "heaps", -1, "data heaps to send over all destinations (-1: until Ctrl-C)")
	flags.IntVar(&c.Items, "items", 1, "items that share the payload of a heap")
	flags.StringVar(&f.dtype, "dtype", "", "numpy `TYPE` of the items' elements, such as \"<f4\" or \"[('n', '<u2'), ('x', '<f4')]\" (default \">u4\")")
	flags.StringVar(&f.shape, "shape", "", "`SHAPE` of each item, such as 64,2, or () for a single element; the size of a heap follows (default one dimension, as long as --heap-size makes it)")
	flags.BoolVar(&c.RepeatPointers, "repeat-pointers", false, "put the pointers of all items into each packet")
	flags.BoolVar(&f.pyspead, "pyspead", false, "describe the items as PySPEAD up to 0.5.2 does")
	flags.IntVar(&c.MaxPacket, "packet", spead.DefaultMaxPacket, "largest packet in bytes of UDP or TCP payload")
	flags.Float64Var(&f.rate, "rate", 0, "Gb/s of such payload over all destinations (0: as fast as possible)")
	flags.Uint8Var(&f.addrBits, "addr-bits", uint8(spead.Flavour48), "heap address bits: 48 for SPEAD-64-48")
	flags.IntVar(&c.TTL, "ttl", 0, "hops that packets may take (0: 1 for multicast, the system's for unicast)")
	flags.StringVar(&f.bind, "bind", "", "source address")
	flags.StringVarP(&c.Interface, "interface", "i", "", "interface to send on (default that of the route)")
	flags.BoolVar(&c.Verify, "verify", false, "fill heaps with a pattern that recv --verify and spead2_recv --verify check")
	flags.StringVar(&f.engine, "engine", send.UDP.String(), "udp, afxdp to send by AF_XDP, or blast to make packets in the kernel (both privileged); not for tcp://")
	flags.IntVar(&c.InFlight, "in-flight", 1, "heaps whose packets are sent in turn, at most 256 (engine blast)")
	flags.BoolVar(&f.gso, "gso", true, "let the kernel cut large messages into packets, where it can (engine udp)")
	flags.BoolVar(&f.descriptors, "descriptors", true, "describe the items in the first heap of each destination")
	flags.BoolVar(&c.NoStop, "no-stop", false, "do not send stop heaps")
	flags.Float64Var(&c.Faults.Drop, "drop", 0, "fraction of packets to leave out")
	flags.Float64Var(&c.Faults.Reorder, "reorder", 0, "fraction of packets to send up to 8 packets late")
	flags.Float64Var(&c.Faults.Duplicate, "duplicate", 0, "fraction of packets to send twice")
	flags.Uint64Var(&c.Faults.Seed, "seed", 0, "which packets suffer these faults")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "print only the last line")
	flags.StringVar(&f.format, "format", "text", "of the summary: text or json")
	return cmd
}

// apply checks the flags and completes the configuration.
func (f *sendFlags) apply(ctx context.Context, c *send.Config, fs *pflag.FlagSet, args []string) (err error) {
	c.HeapSize = int64(f.heapSize)
	c.DType = f.dtype
	if f.dtype != "" {
		if _, err := spead.ParseDType(f.dtype); err != nil {
			return fmt.Errorf("--dtype: %s", message(err))
		}
	}
	if fs.Changed("shape") {
		if fs.Changed("heap-size") {
			return errors.New("--heap-size and --shape say both how large a heap is: give one of them")
		}
		if c.Shape, err = parseShape(f.shape); err != nil {
			return err
		}
	}
	if f.pyspead {
		c.Compat = spead.CompatPySPEAD
	}
	c.Rate = f.rate * 1e9
	c.NoGSO = !f.gso
	c.NoDescriptors = !f.descriptors
	c.Flavour = spead.Flavour(f.addrBits)
	if !c.Flavour.Valid() {
		return fmt.Errorf("--addr-bits %d is not 8, 16, … or 56", f.addrBits)
	}
	if f.format != "text" && f.format != "json" {
		return fmt.Errorf("--format %q is neither text nor json", f.format)
	}
	if c.Heaps < -1 {
		return fmt.Errorf("--heaps %d is neither a number of heaps nor -1", c.Heaps)
	}
	if !(f.rate >= 0) {
		return fmt.Errorf("--rate %v is not a rate", f.rate)
	}
	if c.Engine, err = send.ParseEngine(f.engine); err != nil {
		return fmt.Errorf("--engine: %w", err)
	}
	if f.bind != "" {
		if c.Bind, err = netip.ParseAddr(f.bind); err != nil {
			return fmt.Errorf("--bind: %w", err)
		}
	}
	if strings.HasPrefix(args[0], tcpPrefix) {
		if fs.Changed("engine") {
			return fmt.Errorf("--engine %s sends UDP, and destination %q is of TCP", f.engine, args[0])
		}
		c.Engine = send.TCP
	}
	for _, a := range args {
		if strings.HasPrefix(a, tcpPrefix) != (c.Engine == send.TCP) {
			return fmt.Errorf("destinations %q and %q are not both of TCP (%s goes before all of them, or none)", args[0], a, tcpPrefix)
		}
		d, err := resolveDestination(ctx, a, c.Bind)
		if err != nil {
			return err
		}
		c.Destinations = append(c.Destinations, d)
	}
	return c.Check()
}

// parseShape reads a shape: sizes with commas between them, in parentheses or not.
func parseShape(s string) ([]int64, error) {
	shape := []int64{}
	inner, ok := strings.CutPrefix(s, "(")
	if ok {
		if inner, ok = strings.CutSuffix(inner, ")"); !ok {
			return nil, fmt.Errorf("--shape %q has no closing parenthesis", s)
		}
	}
	inner = strings.TrimSuffix(strings.TrimSpace(inner), ",")
	if inner == "" {
		return shape, nil
	}
	for _, part := range strings.Split(inner, ",") {
		n, err := strconv.ParseInt(strings.TrimSpace(part), 10, 64)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("--shape %q: %q is not a size from 1", s, part)
		}
		shape = append(shape, n)
	}
	return shape, nil
}

// resolveDestination reads HOST:PORT, with tcp:// before it or not. Of several
// addresses of a host it takes the first, or the first of the family of bind if that
// is valid.
func resolveDestination(ctx context.Context, text string, bind netip.Addr) (netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(strings.TrimPrefix(text, tcpPrefix))
	if err != nil || host == "" {
		return netip.AddrPort{}, fmt.Errorf("destination %q is not HOST:PORT ([…]:PORT for an IPv6 address)", text)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return netip.AddrPort{}, fmt.Errorf("destination %q: port %q is not a number from 1 to 65535", text, portText)
	}
	network := "ip"
	if bind.IsValid() {
		network = "ip6"
		if bind.Unmap().Is4() {
			network = "ip4"
		}
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("destination %q: %w", text, err)
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(port)), nil
}

// runSend sends and prints.
func runSend(ctx context.Context, c send.Config, f *sendFlags, stdout, stderr io.Writer) (err error) {
	s, err := send.Open(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if !f.quiet {
		if s.HeapSize() != c.HeapSize && c.Shape == nil {
			fmt.Fprintf(stderr, "heap size %d is not a multiple of %d items of whole elements: sending %d\n", c.HeapSize, c.Items, s.HeapSize())
		}
		fmt.Fprintf(stderr, "sending to %v\n", s)
	}
	r, err := s.Run(ctx)
	if f.format == "json" {
		return errors.Join(err, writeTotals(stdout, stderr, func(w io.Writer) error { return printSendJSON(w, &r) }))
	}
	err = errors.Join(err, writeTotals(stdout, stderr, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "Sent %d bytes in %.6g seconds, %.6g Gb/s\n", r.Bytes, r.Elapsed.Seconds(), r.Gbps())
		return err
	}))
	if !f.quiet {
		fmt.Fprintf(stderr, "%d packets, %d heaps, %d stop heaps\n", r.Packets, r.Heaps, r.StopHeaps)
		if c.Engine == send.Blast {
			fmt.Fprintf(stderr, "%d packets refused by the interface\n", r.Refused)
		}
		if c.Faults != (send.Faults{Seed: c.Faults.Seed}) {
			fmt.Fprintf(stderr, "injected faults: %d packets dropped, %d duplicated, %d reordered; %d heaps damaged, %d missing\n",
				r.Dropped, r.Duplicated, r.Reordered, r.DamagedHeaps, r.MissingHeaps)
		}
	}
	return err
}

// sendSummary is what --format json prints. The names are an interface.
type sendSummary struct {
	Type         string  `json:"type"`
	Heaps        uint64  `json:"heaps"`
	DamagedHeaps uint64  `json:"damaged_heaps"`
	MissingHeaps uint64  `json:"missing_heaps"`
	CutHeaps     uint64  `json:"cut_heaps"`
	StopHeaps    uint64  `json:"stop_heaps"`
	Packets      uint64  `json:"packets"`
	Refused      uint64  `json:"refused"`
	Bytes        uint64  `json:"bytes"`
	Dropped      uint64  `json:"dropped"`
	Duplicated   uint64  `json:"duplicated"`
	Reordered    uint64  `json:"reordered"`
	Seconds      float64 `json:"seconds"`
	Gbps         float64 `json:"gbps"`
}

func printSendJSON(w io.Writer, r *send.Result) error {
	return json.NewEncoder(w).Encode(sendSummary{
		Type:         "summary",
		Heaps:        r.Heaps,
		DamagedHeaps: r.DamagedHeaps,
		MissingHeaps: r.MissingHeaps,
		CutHeaps:     r.CutHeaps,
		StopHeaps:    r.StopHeaps,
		Packets:      r.Packets,
		Refused:      r.Refused,
		Bytes:        r.Bytes,
		Dropped:      r.Dropped,
		Duplicated:   r.Duplicated,
		Reordered:    r.Reordered,
		Seconds:      r.Elapsed.Seconds(),
		Gbps:         math.Round(r.Gbps()*1e6) / 1e6,
	})
}
