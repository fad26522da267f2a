// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// spead2BenchHeader is what spead2_bench's packets have before the payload, but for the
// first of a heap: the SPEAD header and four item pointers, bytes.
const spead2BenchHeader = 40

// spead2BenchLimit is how long spead2_bench may take: it needs a minute.
const spead2BenchLimit = 3 * time.Minute

// spead2Rate is what it says in the end.
var spead2Rate = regexp.MustCompile(`Sustainable rate: ([0-9.]+) Gbps`)

// spead2Bench runs spead2_bench from one end of a wire to the other. It has a sender and
// a search of its own, takes no turns, and counts SPEAD's headers, which are taken off.
func spead2Bench(ctx context.Context, program string, l load) (r Result, err error) {
	r = Result{
		Bench: "veth", Contestant: Spead2Bench,
		Conditions: Conditions{Generator: l.generator, Senders: l.senders, Packet: l.payload, Heap: l.heap},
	}
	w, err := newWire(l)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, w.close()) }()

	var agent, master *process
	err = w.in(func() (err error) {
		if agent, err = startProcess(receiverCPU(), program, "agent", strconv.Itoa(wirePort)); err != nil {
			return err
		}
		if err := agent.awaitSocket(wirePort, "tcp", "tcp6"); err != nil {
			return agent.fail(err)
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	defer agent.kill()
	if e := w.net.A.Do(func() {
		master, err = startProcess(generatorCPU(), program, "master", w.dest.String(),
			"--packet", strconv.Itoa(l.payload+spead2BenchHeader), "--heap-size", strconv.FormatInt(l.heap, 10))
	}); e != nil || err != nil {
		return r, errors.Join(e, err)
	}
	defer master.kill()
	select {
	case <-master.exited:
	case <-ctx.Done():
		return r, ctx.Err()
	case <-time.After(spead2BenchLimit):
		return r, master.fail(fmt.Errorf("it took more than %v", spead2BenchLimit))
	}
	if master.failed != nil {
		return r, master.fail(master.failed)
	}
	m := spead2Rate.FindSubmatch(master.out.Bytes())
	if m == nil {
		return r, fmt.Errorf("%s master said no rate: %.200q", program, master.out.String())
	}
	gbps, err := strconv.ParseFloat(string(m[1]), 64)
	r.Gbps = gbps * float64(l.payload) / float64(l.payload+spead2BenchHeader)
	r.Mpps = r.Gbps / l.gbps(1) / 1e6
	r.Trials = 1
	r.Note = "one run, with a sender and a search of its own"
	return r, err
}
