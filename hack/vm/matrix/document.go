// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/speadx/speadx/internal/drivers"
)

//go:generate go run ./gen

// Tested is when the cells were run last, and with what.
const Tested = "November 2026, QEMU 10.0.2, Linux 6.1.176, 6.12.117 and 7.3.4 of Debian"

// WriteDocument writes docs/drivers.md.
func WriteDocument(w io.Writer) error {
	var b strings.Builder
	b.WriteString(`<!-- Written by go generate ./hack/vm/matrix. Change hack/vm/matrix instead. -->

# Drivers

Which mode a user gets depends on the driver, the MTU and the kernel. This page says it for each, and how it is known:

- **Tested here**: the tests of this project receive a verified stream in each mode, in virtual machines (` + "`make test-vm`" + `).
- **Read**: the driver's source says so. The tests of this project did not run on such a card.

speadx tries the modes from the best to the plainest, and prints why a better one does not work. ` + "`--mode`" + ` asks for one by name.
No physical card was tested. Virtual machines show that reception works, and nothing about its speed.

## Tested here

` + Tested + `. The cards are QEMU's. Each cell is what mode auto chooses. "Several frames" means that a packet may be longer than a
frame of 3840 bytes.

`)
	writeCells(&b)
	b.WriteString(`
These were run on the cards too:

- the carrier lost and back, ring sizes and queue numbers changed in flight, the driver unbound in flight
- open and close many times, SIGKILL and restart, a consumer that stalls, an idle receiver
- several queues, busy polling, pages of 1 GiB and 2 MiB, a user with file capabilities
- VLANs with the tag in the frame and out of it, a bond with one leg down, macvlan, a bridge and its port, IGMP, MLD, IPv6

` + "`make test`" + ` runs every mode but zero-copy on veth pairs and the loopback.

What was found:

- **igb** in zero-copy hands out frames twice when they run out (Linux 7.3). The card counted 2747 packets and the driver handed out 3003, a whole ring
  of 256 more. Data can be damaged, so mode auto takes native mode. The cause is in ` + "`igb_alloc_rx_buffers_zc`" + `: near the end of the ring it leaves
  without clearing the length of the next descriptor.
- **igb** at an MTU of 9000 has no native mode: a packet does not fit its buffers.
- **virtio_net** has zero-copy only where the hypervisor offers VIRTIO_F_ACCESS_PLATFORM (QEMU: ` + "`iommu_platform=on,disable-legacy=on`" + `). With more
  queue pairs than are in use, attaching a program adds receive queues; speadx opens them too.
- **vmxnet3** in native mode receives nothing more after ` + "`ethtool -G`" + ` in flight. After a change of the MTU from 1500 to 9000 QEMU's card loses jumbo packets,
  with UDP sockets too, until the driver is bound anew. Whether VMware's card does so is not known.
- **LRO and hardware GRO**: a driver may say that it has no XDP while one of them is on, as mlx5 does. The reason is then ` + "`offload-on`" + `, with the
  ` + "`ethtool -K`" + ` command. This was read, not run: no card of QEMU does so.
- **Linux before 6.6** puts a packet into one frame. At an MTU above 3814 mode auto uses UDP sockets there.

## Read in the drivers' source

` + drivers.SourceRead + `. "Several buffers" is the Linux version that lets native mode take an MTU above the number beside it. Zero-copy takes an MTU up
to 3814, or above it where a packet may span several frames. Generic mode works on every card.

`)
	writeDrivers(&b)
	b.WriteString(`
At the usual MTU of 9000 that makes, with Linux 6.6 or later:

| mode that auto chooses | drivers |
|---|---|
`)
	writeJumbo(&b)
	b.WriteString(`
## What a driver needs, and does

| driver | attaching the program | losses of the host are counted in | settings |
|---|---|---|---|
`)
	for _, d := range drivers.Drivers {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", d.Name, d.Resets, d.Losses, d.Settings)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeCells(b *strings.Builder) {
	b.WriteString("| card | driver | MTU | Linux 6.1 | Linux 6.12 | Linux 7.3 |\n|---|---|---|---|---|---|\n")
	cells := Cells()
	for _, nic := range NICs {
		for _, mtu := range MTUs {
			fmt.Fprintf(b, "| %s | %s | %d |", nic.Name, nic.Driver, mtu)
			for _, series := range Series {
				i := slices.IndexFunc(cells, func(c Cell) bool { return c.NIC == nic.Name && c.MTU == mtu && c.Series == series })
				fmt.Fprintf(b, " %s |", cells[i].words())
			}
			b.WriteString("\n")
		}
	}
}

// words is a cell as the page shows it.
func (c Cell) words() string {
	text := "**" + c.Mode + "**"
	if c.Mode == UDP {
		text = "**udp** (sockets)"
	} else if c.MTU > 3814 && c.MultiBuffer(c.Mode) {
		text += ", several frames"
	}
	for _, mode := range []string{ZeroCopy, Native, Generic} {
		if why, ok := c.Why[mode]; ok && c.Mode != UDP {
			text += fmt.Sprintf("; %s: %s", mode, why)
		}
	}
	if c.Mode == UDP {
		text += "; no-multi-buffer"
	}
	return text
}

func writeDrivers(b *strings.Builder) {
	b.WriteString("| driver | cards | native since | MTU up to | several buffers since | zero-copy since | frames of a packet in zero-copy | busy polling |\n|---|---|---|---|---|---|---|---|\n")
	none := func(s string) string {
		if s == "" {
			return "no"
		}
		return s
	}
	for _, d := range drivers.Drivers {
		segments := d.Segments
		if d.ZeroCopy != "" && segments == "" {
			segments = "1"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %s |\n", d.Name, d.Cards, none(d.Native), none(d.MTU), none(d.Several), none(d.ZeroCopy), none(segments),
			map[bool]string{true: "yes", false: "not since 6.13"}[d.Busy])
	}
}

func writeJumbo(b *strings.Builder) {
	by := map[string][]string{}
	for _, d := range drivers.Drivers {
		mode := Generic
		switch {
		case d.ZeroCopy != "" && d.Segments != "" && d.Segments != "1":
			mode = ZeroCopy
		case d.Native != "" && d.Several != "":
			mode = Native
		}
		by[mode] = append(by[mode], d.Name)
	}
	for _, mode := range []string{ZeroCopy, Native, Generic} {
		fmt.Fprintf(b, "| %s | %s |\n", mode, strings.Join(by[mode], ", "))
	}
}
