// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"github.com/speadx/speadx/xsk"
)

// The modes of reception, as the program names them.
const (
	ZeroCopy = "zerocopy"
	Native   = "native"
	Generic  = "generic"
	UDP      = "udp"
)

// Cell is what speadx does with one card at one MTU on one kernel.
type Cell struct {
	Series string // of the kernel
	NIC    string
	MTU    int

	Mode string // what mode auto chooses
	// Why is why each better mode is not chosen, by mode.
	Why Why
}

// Why is the causes of modes.
type Why map[string]xsk.Cause

// MultiBuffer reports whether packets may span frames in the given mode of the cell: in
// copy modes wherever the kernel has this, in zero-copy where the MTU needs it.
func (c Cell) MultiBuffer(mode string) bool {
	return c.Series != "6.1" && (mode != ZeroCopy || c.MTU > xsk.OneFrameMTU)
}

// BusyPolling reports whether a socket in the given mode of the cell has a NAPI id when it is
// bound, without which busy polling has no effect. Since Linux 6.13 the driver gives its queues
// one. Before that a socket gets it with its first packet, if at all.
func (c Cell) BusyPolling(mode string) bool {
	return c.Series == Newest && c.NIC != "vmxnet3" && mode != UDP
}

// MTUs are the MTUs of the matrix.
var MTUs = []int{1500, 9000}

// Short reports whether a short run takes the cell.
func (c Cell) Short() bool {
	return c.NIC == "igb" && c.MTU == 9000 || c.NIC == "virtio-zerocopy" && c.MTU == 1500
}

// rule is the cells of some cards, for short.
type rule struct {
	series string
	nics   []string
	mtu    int
	mode   string
	why    Why
}

// Cells are the cells of the matrix. Each was run: hack/vm fails where a guest finds
// something else.
func Cells() []Cell {
	var list []Cell
	for _, r := range rules {
		for _, nic := range r.nics {
			list = append(list, Cell{Series: r.series, NIC: nic, MTU: r.mtu, Mode: r.mode, Why: r.why})
		}
	}
	return list
}

var rules = []rule{
	// Linux 6.1 tells nothing of its drivers, so each mode is tried. Its AF_XDP puts a
	// packet into one frame.
	{"6.1", []string{"igb", "virtio-zerocopy", "virtio", "virtio-tap"}, 1500, Native, Why{ZeroCopy: xsk.BindRefused}},
	{"6.1", []string{"e1000e", "vmxnet3"}, 1500, Generic, Why{ZeroCopy: xsk.AttachRefused, Native: xsk.AttachRefused}},
	{"6.1", all, 9000, UDP, Why{ZeroCopy: xsk.NoMultiBuffer, Native: xsk.NoMultiBuffer, Generic: xsk.NoMultiBuffer}},

	{"6.12", []string{"igb", "virtio-zerocopy", "virtio", "virtio-tap", "vmxnet3"}, 1500, Native, Why{ZeroCopy: xsk.NoZeroCopy}},
	{"6.12", []string{"e1000e"}, 1500, Generic, Why{ZeroCopy: xsk.NoZeroCopy, Native: xsk.NoNative}},
	{"6.12", []string{"virtio-zerocopy", "virtio", "virtio-tap"}, 9000, Native, Why{ZeroCopy: xsk.NoZeroCopy}},
	{"6.12", []string{"igb"}, 9000, Generic, Why{ZeroCopy: xsk.NoZeroCopy, Native: xsk.AttachRefused}},
	{"6.12", []string{"vmxnet3"}, 9000, Generic, Why{ZeroCopy: xsk.NoZeroCopy, Native: xsk.AttachRefused}},
	{"6.12", []string{"e1000e"}, 9000, Generic, Why{ZeroCopy: xsk.NoZeroCopy, Native: xsk.NoNative}},

	{Newest, []string{"igb"}, 1500, Native, Why{ZeroCopy: xsk.DriverFault}},
	{Newest, []string{"virtio-zerocopy"}, 1500, ZeroCopy, nil},
	{Newest, []string{"virtio", "virtio-tap"}, 1500, Native, Why{ZeroCopy: xsk.BindRefused}},
	{Newest, []string{"vmxnet3"}, 1500, Native, Why{ZeroCopy: xsk.NoZeroCopy}},
	{Newest, []string{"e1000e"}, 1500, Generic, Why{ZeroCopy: xsk.NoZeroCopy, Native: xsk.NoNative}},
	{Newest, []string{"virtio-zerocopy", "virtio", "virtio-tap"}, 9000, Native, Why{ZeroCopy: xsk.OneFrame}},
	{Newest, []string{"igb"}, 9000, Generic, Why{ZeroCopy: xsk.OneFrame, Native: xsk.AttachRefused}},
	{Newest, []string{"vmxnet3"}, 9000, Generic, Why{ZeroCopy: xsk.NoZeroCopy, Native: xsk.AttachRefused}},
	{Newest, []string{"e1000e"}, 9000, Generic, Why{ZeroCopy: xsk.NoZeroCopy, Native: xsk.NoNative}},
}

var all = []string{"igb", "virtio-zerocopy", "virtio", "virtio-tap", "e1000e", "vmxnet3"}
