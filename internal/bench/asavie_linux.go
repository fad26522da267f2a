// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"errors"
	"sync"
	"time"

	"github.com/asavie/xdp"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/bpf"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/xsk"
)

// asavieFrames are its UMEM. Its ring of free frames is a list that is searched from
// the beginning, so that more of them make it slower.
const asavieFrames = 8192

// asavieQueue is asavie/xdp's ring code as a queue for our source: with our program
// in front of it and our assembler behind, so that what differs is the rings alone.
// It has neither chains of frames nor a way to wake it.
type asavieQueue struct {
	s     *xdp.Socket
	descs []xdp.Desc
}

var asavieOptions sync.Mutex // guards its global variables

func openAsavie(w *wire) (receiver, error) {
	asavieOptions.Lock()
	defer asavieOptions.Unlock()
	old := xdp.DefaultSocketFlags
	xdp.DefaultSocketFlags = unix.XDP_COPY | unix.XDP_USE_NEED_WAKEUP
	defer func() { xdp.DefaultSocketFlags = old }()

	program, err := bpf.LoadSteer(bpf.SteerConfig{Queues: 1, Frags: true, MaxEndpoints: 1})
	if err != nil {
		return nil, err
	}
	undo := func(err error) (receiver, error) { return nil, errors.Join(err, program.Close()) }
	if err := program.AddEndpoint(w.dest); err != nil {
		return undo(err)
	}
	if _, err := program.Attach(w.net.B.Index, w.net.B.Name, bpf.Native); err != nil {
		return undo(err)
	}
	s, err := xdp.NewSocket(w.net.B.Index, 0, &xdp.SocketOptions{
		NumFrames: asavieFrames, FrameSize: 4096, FillRingNumDescs: asavieFrames, CompletionRingNumDescs: 64,
		RxRingNumDescs: asavieFrames, TxRingNumDescs: 0,
	})
	if err != nil {
		return undo(err)
	}
	if err := program.SetSocket(0, s.FD()); err != nil {
		return undo(errors.Join(err, s.Close()))
	}
	q := &asavieQueue{s: s}
	q.fill()
	feeding, err := newFeeding(w)
	if err != nil {
		return undo(errors.Join(err, s.Close()))
	}
	endpoints, err := source.NewEndpoints([]source.Endpoint{{Addr: w.dest}})
	if err != nil {
		return undo(errors.Join(err, s.Close(), feeding.close()))
	}
	src := source.NewAFXDP(q, source.AFXDPConfig{Name: "asavie", Endpoints: endpoints})
	l := &loop{wake: func() {}, peak: func() (int, int) { return 0, 0 }} // it does not tell
	l.closer = func() error { return errors.Join(program.Close(), s.Close(), feeding.close()) }
	l.run(func() error {
		n, err := feeding.pass(src)
		l.count.Add(uint64(n))
		return err
	})
	return l, nil
}

func (q *asavieQueue) fill() {
	if n := q.s.NumFreeFillSlots(); n > 0 {
		q.s.Fill(q.s.GetDescs(n, true))
	}
}

func (q *asavieQueue) Receive(dst []xsk.Packet) int {
	n := min(q.s.NumReceived(), len(dst))
	if n == 0 {
		return 0
	}
	q.descs = q.s.Receive(n)
	for i, d := range q.descs {
		b := q.s.GetFrame(d)
		dst[i] = xsk.Packet{First: b, Len: len(b)}
	}
	return len(q.descs)
}

// Release lets the frames go. asavie/xdp takes them for free already.
func (q *asavieQueue) Release() { q.fill() }

func (q *asavieQueue) Wait(timeout time.Duration) error {
	_, _, err := q.s.Poll(int(timeout.Milliseconds()))
	return err
}

func (q *asavieQueue) Wake()            {}
func (q *asavieQueue) Mark() uint64     { return 0 }
func (q *asavieQueue) Position() uint64 { return 0 }
func (q *asavieQueue) Close() error     { return nil }
