// SPDX-License-Identifier: Apache-2.0

package source

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/speadx/speadx/bpf"
	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/xsk"
	"golang.org/x/sys/unix"
)

// openAFXDP is a source on queue 0 of an interface, and the program that steers
// the endpoint's packets to it.
func openAFXDP(t *testing.T, ifindex int, mode xsk.Mode, endpoint netip.AddrPort) (*AFXDP, *bpf.Steer) {
	t.Helper()
	steer, err := bpf.LoadSteer(bpf.SteerConfig{Queues: 1, Frags: true, AllVLANs: true})
	testnet.NeedPrivilege(t, err)
	t.Cleanup(func() { steer.Close() })
	if err := steer.AddEndpoint(endpoint); err != nil {
		t.Fatal(err)
	}
	attach := bpf.Native
	if mode == xsk.ModeGeneric {
		attach = bpf.Generic
	}
	link, err := steer.Attach(ifindex, "", attach)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { link.Close() })
	q, err := xsk.Open(xsk.Config{Ifindex: ifindex, Frames: 2048, Mode: mode, MultiBuffer: true, Node: -1})
	if err != nil {
		t.Fatal(err)
	}
	s := NewAFXDP(q, AFXDPConfig{Endpoints: endpoints(t, map[string]int32{endpoint.String(): 0}), SuperFrames: mode == xsk.ModeGeneric})
	t.Cleanup(func() { s.Close() })
	if err := steer.SetSocket(0, q.FD()); err != nil {
		t.Fatal(err)
	}
	return s, steer
}

// The captured streams, put on a wire and received natively, give what the files
// give.
func TestAFXDPCaptures(t *testing.T) {
	n := testnet.New(t, testnet.Options{MTU: 9000})
	for _, c := range captured {
		dst := netip.MustParseAddrPort(c.dst)
		path := filepath.Join(captures, c.name+".pcap")
		want, err := receiveAll(t, openCapture(t, path, nil, 0), NewBatch(64))
		if err != nil {
			t.Fatal(err)
		}
		s, steer := openAFXDP(t, n.B.Index, xsk.ModeNative, dst)
		n.Inject(t, rawFrames(t, path))
		checkPackets(t, receiveN(t, s, NewBatch(64), int(c.packets)), dataOf(want))
		if got, steered := s.Counts(), steer.Total(); got.Packets != c.packets || steered.Matched != c.packets || steered.NoSocket != 0 {
			t.Errorf("%s: %+v of %+v", c.name, got, steered)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := steer.Close(); err != nil {
			t.Error(err)
		}
	}
}

// rawFrames are the frames of a capture.
func rawFrames(t *testing.T, path string) (frames [][]byte) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := newRecordReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for {
		r, err := records.next()
		if err != nil {
			return frames
		}
		frames = append(frames, append([]byte(nil), r.data...))
	}
}

// In generic mode on lo the trains of a sender with UDP_SEGMENT arrive whole, in
// up to 18 chunks, and come out as the packets that they are.
func TestAFXDPTrains(t *testing.T) {
	testnet.New(t, testnet.Options{})
	const loopback = 1
	for _, size := range []int{1472, 8968} {
		addr := freePort(t, "127.0.0.1")
		s, steer := openAFXDP(t, loopback, xsk.ModeGeneric, addr)
		fd := dial(t, addr)
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, size); err != nil {
			t.Fatal(err)
		}
		var want [][]byte
		trains := 0
		for range 20 {
			var train []byte
			for len(train)+size < 65000 {
				p := speadPacket(len(want), 6, size-56)
				want = append(want, p)
				train = append(train, p...)
			}
			send(t, fd, train)
			trains++
		}
		b := NewBatch(16)
		checkPackets(t, receiveN(t, s, b, len(want)), want)
		c := s.Counts()
		if steered := steer.Total(); int(steered.Matched) != trains || c.Packets-c.SuperFrames != steered.Matched {
			t.Errorf("%+v of %+v: %d trains", c, steered, trains)
		}
		if n, err := s.Receive(b, time.Millisecond); n != 0 || err != nil || s.Position() != s.Mark() {
			t.Errorf("then %d packets, %v, position %d of %d", n, err, s.Position(), s.Mark())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if err := steer.Close(); err != nil {
			t.Error(err)
		}
	}
}
