// SPDX-License-Identifier: Apache-2.0

package matrix

// NIC is a kind of emulated network card.
type NIC struct {
	Name     string
	Driver   string // of Linux
	Queues   int    // receive queues that the tests use
	Emulator string // QEMU's name of the device, and its options
	Tap      bool   // it is connected to a tap device, which has several queues

	// FixedRings says that the card stops to receive when the size of its rings is changed
	// while packets come.
	FixedRings bool
}

// NICs are the cards of the matrix.
var NICs = []NIC{
	{Name: "igb", Driver: "igb", Queues: 2, Emulator: "igb"},
	// Zero-copy needs VIRTIO_F_ACCESS_PLATFORM: only with it does the driver use the
	// kernel's DMA mapping.
	{Name: "virtio-zerocopy", Driver: "virtio_net", Queues: 1, Emulator: "virtio-net-pci,iommu_platform=on,disable-legacy=on"},
	{Name: "virtio", Driver: "virtio_net", Queues: 1, Emulator: "virtio-net-pci"},
	{Name: "virtio-tap", Driver: "virtio_net", Queues: 4, Emulator: "virtio-net-pci,mq=on,vectors=10", Tap: true},
	{Name: "e1000e", Driver: "e1000e", Queues: 1, Emulator: "e1000e"},
	// After ethtool -G its native mode receives nothing more until the program is attached
	// anew, and UDP sockets lose packets. So it is with QEMU 10 and Linux 7.3.
	{Name: "vmxnet3", Driver: "vmxnet3", Queues: 1, Emulator: "vmxnet3", FixedRings: true},
}

// Series are the kernels of the matrix, by the two first numbers of their version.
// "newest" is the newest of Debian's backports.
var Series = []string{"6.1", "6.12", Newest}

// Newest is the series of the newest kernel.
const Newest = "newest"

// ShortSeries and ShortNICs are the kernels and the cards of a short run.
var (
	ShortSeries = []string{"6.1", Newest}
	ShortNICs   = []string{"igb", "virtio-zerocopy"}
)
