// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Interface is what one interface was when it was looked up. What its driver
// does not tell is zero, unless a field says otherwise.
type Interface struct {
	Name  string
	Index int
	Kind  string // of the link: "device" for hardware, "veth", "vlan", "bond", …
	// LinkType is what the link layer is (ARPHRD_*): "ether", "loopback", "none", "gre",
	// "ipip", "ppp", "infiniband" or another name.
	LinkType string
	MAC      net.HardwareAddr
	MTU      int // bytes of an IP packet

	Up      bool // switched on by the administrator
	Carrier bool // the link is there

	Driver string
	Bus    string // where the device sits, "0000:3b:00.0" for PCI
	Node   int    // NUMA node of the device, -1 if it has none or the machine has one

	RxQueues  int // receive queues in use, at least 1; see [RxQueues]
	MaxQueues int // receive queues the device could have
	AllQueues int // receive queues that the kernel has made room for; 0: unknown
	RxRing    int // descriptors in the hardware ring of a queue
	RxRingMax int

	VLAN int // id of a VLAN interface
	// HiddenTags says that VLAN tags may be taken off before an XDP program sees a packet.
	HiddenTags bool
	Lower      []string // the devices directly under a VLAN or a bond

	Features *Features // nil if the kernel does not tell (before 6.3)
}

// Lookup describes the interface of that name or alternative name. If there is
// none, the error lists those there are.
func Lookup(name string) (*Interface, error) {
	link, err := linkByName(name)
	if err != nil {
		return nil, err
	}
	attrs := link.Attrs()
	i := &Interface{
		Name:     attrs.Name,
		Index:    attrs.Index,
		Kind:     link.Type(),
		LinkType: attrs.EncapType,
		MAC:      attrs.HardwareAddr,
		MTU:      attrs.MTU,
		Up:       attrs.RawFlags&unix.IFF_UP != 0,
		Carrier:  attrs.RawFlags&unix.IFF_LOWER_UP != 0,
		Node:     -1,
	}
	if vlan, ok := link.(*netlink.Vlan); ok {
		i.VLAN = vlan.VlanId
	}
	if isStacked(link) {
		all, err := netlink.LinkList()
		if err != nil {
			return nil, fmt.Errorf("netif: devices under %s: %w", i.Name, err)
		}
		i.Lower = sortedNames(under(link, all))
	}
	i.readDriver()
	i.HiddenTags = hidesTags(i.Name, i.Kind)
	i.Features = ReadFeatures(i.Index)
	i.AllQueues = attrs.NumRxQueues
	i.RxQueues = max(receiving(i.Driver, countRxQueues(i.Name, i.Index), i.RxQueues), 1)
	i.MaxQueues = max(i.MaxQueues, i.RxQueues)
	return i, nil
}

// readDriver fills in what ethtool knows. Virtual devices implement few of the
// calls, so a refused one leaves its fields at zero.
func (i *Interface) readDriver() {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return
	}
	defer e.Close()
	if d, err := e.DriverInfo(i.Name); err == nil {
		i.Driver, i.Bus = d.Driver, d.BusInfo
		i.Node = pciNode(pciDevices, d.BusInfo)
	}
	if c, err := e.GetChannels(i.Name); err == nil {
		// A queue serves receive alone or both directions.
		i.RxQueues = int(c.CombinedCount + c.RxCount)
		i.MaxQueues = int(max(c.MaxCombined, c.MaxRx))
	}
	if r, err := e.GetRing(i.Name); err == nil {
		i.RxRing, i.RxRingMax = int(r.RxPending), int(r.RxMaxPending)
	}
}

// pciDevices is the part of sysfs that does not depend on a network namespace.
const pciDevices = "/sys/bus/pci/devices"

// pciNode is the NUMA node of the PCI device at that bus address, -1 if there is
// no such device or the firmware does not say. dir is [pciDevices].
func pciNode(dir, bus string) int {
	if bus == "" || bus != filepath.Base(bus) {
		return -1 // ethtool also gives "usb-…" paths, "N/A" and the like
	}
	text, err := os.ReadFile(filepath.Join(dir, bus, "numa_node"))
	if err != nil {
		return -1
	}
	node, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || node < 0 {
		return -1
	}
	return node
}

// linkByName is netlink's, with an error that helps.
func linkByName(name string) (netlink.Link, error) {
	link, err := netlink.LinkByName(name)
	if err == nil {
		return link, nil
	}
	if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) || errors.Is(err, unix.ENODEV) {
		return nil, fmt.Errorf("netif: no interface %q (there are: %s)", name, names())
	}
	return nil, fmt.Errorf("netif: interface %q: %w", name, err)
}

// names lists the interfaces there are, for an error message.
func names() string {
	links, err := netlink.LinkList()
	if err != nil || len(links) == 0 {
		return "none"
	}
	list := make([]string, len(links))
	for k, l := range links {
		list[k] = l.Attrs().Name
	}
	return strings.Join(list, ", ")
}
