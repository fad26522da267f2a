// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/mdlayher/genetlink"
	"github.com/mdlayher/netlink"
	"github.com/safchain/ethtool"
)

// RxQueues is the number of receive queues on which an interface of that driver receives
// now, at least 1. An XDP program can change it: virtio_net then adds a queue for each
// processor, and the host may deliver packets there.
func RxQueues(name string, ifindex int, driver string) int {
	return max(receiving(driver, countRxQueues(name, ifindex), channels(name)), 1)
}

// receiving is on how many queues an interface receives: it has counted receive queues and
// that number of ethtool's channels; 0 is unknown. A driver may have queues on which packets
// come only by a rule of their own: mlx5 before Linux 6.1 has as many of them as channels.
// The queues that virtio_net adds for a program are no channels, and packets do come on them.
func receiving(driver string, counted, channels int) int {
	switch {
	case counted == 0:
		return channels
	case channels == 0 || driver == "virtio_net":
		return counted
	}
	return min(counted, channels)
}

// countRxQueues counts the receive queues that the kernel has; 0: it does not tell.
func countRxQueues(name string, ifindex int) int {
	if n := netdevRxQueues(ifindex); n > 0 {
		return n
	}
	return sysfsRxQueues(netDevices, name, ifindex)
}

// netdevRxQueues asks the generic netlink family netdev, which tells since Linux 6.8.
func netdevRxQueues(ifindex int) int {
	c, err := genetlink.Dial(nil)
	if err != nil {
		return 0
	}
	defer c.Close()
	family, err := c.GetFamily("netdev")
	if err != nil {
		return 0
	}
	return netdevRxQueuesOn(c, family, ifindex)
}

func netdevRxQueuesOn(c *genetlink.Conn, family genetlink.Family, ifindex int) int {
	n := 0
	err := netdevGetOn(c, family, netdevCmdQueueGet, netdevQueueIfindex, ifindex, netlink.Dump, func(ad *netlink.AttributeDecoder) {
		for ad.Next() {
			if ad.Type() == netdevQueueType && ad.Uint32() == netdevQueueTypeRx {
				n++
			}
		}
	})
	if err != nil {
		return 0
	}
	return n
}

// netDevices has the interfaces of the network namespace in which sysfs was mounted.
const netDevices = "/sys/class/net"

// sysfsRxQueues counts an interface's queues below dir, which is [netDevices]. It is 0
// where the interface there is another one, of another namespace.
func sysfsRxQueues(dir, name string, ifindex int) int {
	if name == "" || name != filepath.Base(name) {
		return 0
	}
	text, err := os.ReadFile(filepath.Join(dir, name, "ifindex"))
	if err != nil {
		return 0
	}
	if index, err := strconv.Atoi(strings.TrimSpace(string(text))); err != nil || index != ifindex {
		return 0
	}
	queues, err := filepath.Glob(filepath.Join(dir, name, "queues", "rx-*"))
	if err != nil {
		return 0
	}
	return len(queues)
}

// channels is the number of receive queues by ethtool; 0: the driver does not tell.
func channels(name string) int {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return 0
	}
	defer e.Close()
	return channelsOn(e, name)
}

func channelsOn(e *ethtool.Ethtool, name string) int {
	c, err := e.GetChannels(name)
	if err != nil {
		return 0
	}
	return int(c.CombinedCount + c.RxCount) // a queue serves receive alone or both directions
}

// Offloads are the receive offloads with which drivers refuse native XDP.
type Offloads struct {
	LRO   bool // ethtool -K … lro
	HWGRO bool // ethtool -K … rx-gro-hw
}

// Names are those that are on, as ethtool -K calls them.
func (o Offloads) Names() (names []string) {
	if o.LRO {
		names = append(names, "lro")
	}
	if o.HWGRO {
		names = append(names, "rx-gro-hw")
	}
	return names
}

// ReadOffloads reads which of them are on. What the driver does not tell is off.
func ReadOffloads(name string) Offloads {
	e, err := ethtool.NewEthtool()
	if err != nil {
		return Offloads{}
	}
	defer e.Close()
	f, err := e.Features(name)
	if err != nil {
		return Offloads{}
	}
	return Offloads{LRO: f["rx-lro"], HWGRO: f["rx-gro-hw"]}
}
