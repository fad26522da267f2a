// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/mdlayher/genetlink"
	"github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Vitals are what can go wrong with an interface while packets are received from it. The
// counts are the interface's, of all programs, and rise from any beginning.
type Vitals struct {
	LinkState
	RxQueues int    // on which it receives; 0: unknown
	FIFO     uint64 // packets lost between the wire and the rings: rx_fifo_errors, rx_over_errors
	Pauses   uint64 // pause frames sent, by which the NIC stops the other end
	Packets  uint64 // packets received
}

// Monitor reads the vitals of an interface. Its methods may be called from any goroutine,
// in any network namespace.
type Monitor struct {
	name   string
	index  int
	driver string

	mu      sync.Mutex
	links   *netlink.Handle // nil after Close
	generic *genetlink.Conn
	family  genetlink.Family // netdev; of id 0 if the kernel does not have it
	tool    *ethtool.Ethtool

	channels, counted int // at the last look
}

// NewMonitor watches an interface in the network namespace of the calling thread.
func NewMonitor(index int, name, driver string) (_ *Monitor, err error) {
	m := &Monitor{name: name, index: index, driver: driver}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if m.links, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	if m.generic, err = genetlink.Dial(nil); err != nil {
		return nil, fmt.Errorf("open generic netlink: %w", err)
	}
	if m.family, err = m.generic.GetFamily("netdev"); err != nil {
		m.family = genetlink.Family{} // Linux before 6.8
	}
	if m.tool, err = ethtool.NewEthtool(); err != nil {
		return nil, fmt.Errorf("open ethtool: %w", err)
	}
	return m, nil
}

// Name is the interface's name.
func (m *Monitor) Name() string { return m.name }

// Read asks the kernel and the driver. After Close, or if the interface is gone, all is zero.
func (m *Monitor) Read() (Vitals, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.links == nil {
		return Vitals{}, nil
	}
	link, err := m.links.LinkByIndex(m.index)
	if missing := (netlink.LinkNotFoundError{}); errors.As(err, &missing) {
		return Vitals{}, nil
	}
	if err != nil {
		return Vitals{}, fmt.Errorf("%s: %w", m.name, err)
	}
	a := link.Attrs()
	v := Vitals{LinkState: LinkState{
		Present: true, Up: a.Flags&net.FlagUp != 0, Carrier: a.RawFlags&unix.IFF_LOWER_UP != 0, Running: a.RawFlags&unix.IFF_RUNNING != 0,
	}}
	if s := a.Statistics; s != nil {
		v.Packets = s.RxPackets
		v.FIFO = max(s.RxFifoErrors, s.RxOverErrors) // many drivers count the same twice
	}
	v.RxQueues = m.rxQueues(channelsOn(m.tool, a.Name))
	if stats, err := m.tool.Stats(a.Name); err == nil {
		v.Pauses = pausesSent(stats)
	}
	return v, nil
}

// rxQueues counts the queues. To count them costs more than to ask for the channels, of which
// they are at most as many, but with virtio_net. So it is done when those have changed.
func (m *Monitor) rxQueues(channels int) int {
	if m.family.ID != 0 && (channels == 0 || channels != m.channels || m.driver == "virtio_net") {
		m.counted = netdevRxQueuesOn(m.generic, m.family, m.index)
	}
	m.channels = channels
	return receiving(m.driver, m.counted, channels)
}

// pausesSent finds the count of sent pause frames in the statistics of a driver. Names differ,
// and a driver has several for one thing, of which the largest is the count.
func pausesSent(stats map[string]uint64) (most uint64) {
	for name, n := range stats {
		name = strings.ToLower(name)
		pause := strings.Contains(name, "pause") || strings.Contains(name, "xoff")
		other := strings.Contains(name, "rx") || strings.Contains(name, "duration") || strings.Contains(name, "transition") || strings.Contains(name, "storm")
		if pause && strings.Contains(name, "tx") && !other {
			most = max(most, n)
		}
	}
	return most
}

// Close gives the sockets back. It is idempotent.
func (m *Monitor) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.links != nil {
		m.links.Close()
	}
	if m.generic != nil {
		m.generic.Close()
	}
	if m.tool != nil {
		m.tool.Close()
	}
	m.links, m.generic, m.tool = nil, nil, nil
}

// SoftnetDrops is how many packets the kernel has dropped before any program, as the backlog
// of a processor was full. It is the machine's count, of all interfaces and programs.
func SoftnetDrops() (uint64, error) {
	text, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		return 0, err
	}
	return softnetDrops(text)
}

// softnetDrops adds up the second column of each processor's line, in hexadecimal.
func softnetDrops(text []byte) (sum uint64, err error) {
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		if len(fields) < 2 {
			continue
		}
		n, err := strconv.ParseUint(fields[1], 16, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/net/softnet_stat: %w", err)
		}
		sum += n
	}
	return sum, nil
}
