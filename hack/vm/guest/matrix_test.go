// SPDX-License-Identifier: Apache-2.0

//go:build vmguest

package guest

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/hack/vm/matrix"
	"github.com/speadx/speadx/xsk"
)

// TestMatrix takes each card at each MTU through mode auto and each mode by its name. What
// comes out must be what the matrix says, for the same reasons. A stream goes through each
// mode that works, every byte verified.
func TestMatrix(t *testing.T) {
	seen := 0
	for _, cell := range matrix.Cells() {
		w := wireOf(cell.NIC)
		if cell.Series != boot.Series || w == nil {
			continue
		}
		if seen++; boot.Short && !cell.Short() {
			continue
		}
		t.Run(fmt.Sprintf("%s/%d", cell.NIC, cell.MTU), func(t *testing.T) { w.cell(t, cell) })
	}
	if want := len(wires) * len(matrix.MTUs); seen != want {
		t.Errorf("the matrix has %d cells for the cards of this guest, want %d", seen, want)
	}
}

// wireOf is the wire of a kind of card; nil if this guest has none.
func wireOf(nic string) *wire {
	for _, w := range wires {
		if w.NIC == nic {
			return w
		}
	}
	return nil
}

func (w *wire) cell(t *testing.T, cell matrix.Cell) {
	w.prepare(t, cell.MTU)
	w.setQueues(t)
	t.Run("auto", func(t *testing.T) {
		// Without a number of frames: UDP sockets have none, and auto may come to them.
		r := w.open(t, speadx.ModeAuto, func(c *speadx.Config) { c.Frames = 0 })
		w.checkMode(t, r, cell, cell.Mode)
		rungs := rungsOf(t, r)
		for i, mode := range []string{matrix.ZeroCopy, matrix.Native, matrix.Generic} {
			if i < len(rungs) && (rungs[i].Mode.String() != mode || rungs[i].Cause() != cell.Why[mode]) {
				t.Errorf("%s: %q, want %q: %s", mode, rungs[i].Cause(), cell.Why[mode], rungs[i].Reason())
			}
		}
		if len(rungs) < len(cell.Why) {
			t.Errorf("%d modes were looked at, and %d have reasons", len(rungs), len(cell.Why))
		}
		w.stream(t, r, cell.MTU, 20)
	})
	for i, mode := range []speadx.Mode{speadx.ModeZeroCopy, speadx.ModeNative, speadx.ModeGeneric} {
		t.Run(mode.String(), func(t *testing.T) {
			r, err := w.tryOpen(t, mode, nil)
			why, expected := cell.Why[mode.String()]
			expected = expected && why != xsk.DriverFault // asked for by name, it is taken
			switch {
			case why == xsk.NoMultiBuffer && mode != speadx.ModeZeroCopy:
				w.oneFrame(t, r, err)
			case expected && err == nil:
				t.Errorf("it works, and was expected to fail: %s", why)
			case expected:
				checkCause(t, err, xsk.Mode(i), why)
			case err != nil:
				t.Error(err)
			default:
				w.checkMode(t, r, cell, mode.String())
				w.stream(t, r, cell.MTU, 10)
			}
		})
	}
}

// setQueues gives a card the queues that the tests use.
func (w *wire) setQueues(t *testing.T) {
	t.Helper()
	if w.nic.Queues > 1 {
		// It fails where the card has that many already, and some drivers count that as an error.
		if err := execute("ethtool", "-L", w.rx, "combined", fmt.Sprint(w.nic.Queues)); err != nil {
			t.Logf("%v", err)
		}
	}
}

// oneFrame checks a mode that was asked for, in which packets of the MTU find no room: the
// user was told before, and each packet that is lost is told apart from those that came too
// fast. Short packets arrive.
func (w *wire) oneFrame(t *testing.T, r *reception, err error) {
	t.Helper()
	if err != nil {
		checkCause(t, err, xsk.ModeNative, xsk.AttachRefused) // the driver knows it, too
		return
	}
	in := r.Info()
	if got := in.Devices[0].Queues[0].MaxFrame; got != 3840 || len(in.Notes) == 0 {
		t.Errorf("the longest frame is %d, the notes %q", got, in.Notes)
	}
	w.stream(t, r, 3000, 5)
}

// checkMode checks in what mode a receiver is, by what the kernel says of its sockets and
// of the program on the interface.
func (w *wire) checkMode(t *testing.T, r *reception, cell matrix.Cell, mode string) {
	t.Helper()
	in := r.Info()
	if mode == matrix.UDP {
		if len(in.Devices) != 0 || len(in.Sockets) != 1 || len(in.Refused) != 1 {
			t.Errorf("%d devices, %d sockets, %d refused", len(in.Devices), len(in.Sockets), len(in.Refused))
		}
		return
	}
	if len(in.Devices) != 1 || len(in.Sockets) != 0 {
		t.Fatalf("%d devices, %d sockets, refused %+v", len(in.Devices), len(in.Sockets), in.Refused)
	}
	d := in.Devices[0]
	if d.Mode.String() != mode || d.Driver != w.nic.Driver {
		t.Errorf("driver %s in mode %v, want %s in mode %s: %+v", d.Driver, d.Mode, w.nic.Driver, mode, d.Rungs)
	}
	if want := cell.MultiBuffer(mode); d.Queues[0].MultiBuffer != want {
		t.Errorf("multi-buffer %t, want %t", d.Queues[0].MultiBuffer, want)
	}
	if !d.Carrier {
		t.Error("reception began without a carrier")
	}
	attached := map[uint32]string{1: matrix.Native, 2: matrix.Generic} // XDP_ATTACHED_DRV, _SKB
	want := mode
	if mode == matrix.ZeroCopy {
		want = matrix.Native
	}
	if xdp := linkOf(t, w.rx).Attrs().Xdp; xdp == nil || attached[xdp.AttachMode] != want {
		t.Errorf("the program is attached as %+v, want %s", xdp, want)
	}
	const zeroCopyFlag = 1 // XDP_DU_F_ZEROCOPY
	sockets, err := netlink.SocketDiagXDP()
	if errors.Is(err, os.ErrNotExist) {
		return // Debian's 6.1 has no CONFIG_XDP_SOCKETS_DIAG; the receiver has read XDP_OPTIONS
	}
	if err != nil {
		t.Fatal(err)
	}
	bound := 0
	for _, s := range sockets {
		if s.XDPInfo == nil || int(s.XDPInfo.Ifindex) != w.rxIndex {
			continue
		}
		bound++
		if zc := s.XDPInfo.Umem != nil && s.XDPInfo.Umem.Flags&zeroCopyFlag != 0; zc != (mode == matrix.ZeroCopy) {
			t.Errorf("queue %d: the kernel reports zero-copy %t", s.XDPInfo.QueueID, zc)
		}
	}
	if bound != len(d.Queues) || bound < w.nic.Queues {
		t.Errorf("%d sockets are bound, of %d queues, want at least %d", bound, len(d.Queues), w.nic.Queues)
	}
}

// rungsOf is the modes that were looked at, and what was wrong with them.
func rungsOf(t *testing.T, r *reception) []xsk.Rung {
	t.Helper()
	in := r.Info()
	if len(in.Refused) > 0 {
		return in.Refused[0].Rungs
	}
	return in.Devices[0].Rungs
}

func checkCause(t *testing.T, err error, mode xsk.Mode, want xsk.Cause) {
	t.Helper()
	var ladder *xsk.LadderError
	if !errors.As(err, &ladder) || len(ladder.Rungs) != 1 || ladder.Rungs[0].Cause() != want {
		t.Errorf("mode %v: %v, want the cause %s", mode, err, want)
	}
}
