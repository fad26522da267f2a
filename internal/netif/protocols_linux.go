// SPDX-License-Identifier: Apache-2.0

package netif

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// Protocols are the counters of IP and UDP, of IPv4 and IPv6 together, that tell where
// packets stay that no program gets. They are of all programs in a network namespace.
type Protocols struct {
	IPReceived  uint64 // packets that IP was given: for this machine, by their Ethernet header and VLAN
	IPDelivered uint64 // of these, handed on to UDP and other protocols, past the firewall
	Fragments   uint64 // of those received, fragments
	Reassembled uint64 // datagrams that were put together from fragments
	ReasmFails  uint64 // attempts that failed: a fragment was missing, wrong, or had no room
	NoPort      uint64 // UDP datagrams to a port, or of a group, that no socket receives
	Errors      uint64 // UDP InErrors: for want of buffer, or of a wrong checksum
	BadChecksum uint64 // UDP InCsumErrors
	ReversePath uint64 // IPReversePathFilter: dropped by rp_filter
}

// Sub is what has been counted since another reading.
func (p Protocols) Sub(last Protocols) Protocols {
	return Protocols{
		IPReceived: rise(p.IPReceived, last.IPReceived), IPDelivered: rise(p.IPDelivered, last.IPDelivered),
		Fragments: rise(p.Fragments, last.Fragments), Reassembled: rise(p.Reassembled, last.Reassembled), ReasmFails: rise(p.ReasmFails, last.ReasmFails),
		NoPort: rise(p.NoPort, last.NoPort), Errors: rise(p.Errors, last.Errors), BadChecksum: rise(p.BadChecksum, last.BadChecksum),
		ReversePath: rise(p.ReversePath, last.ReversePath),
	}
}

func rise(now, last uint64) uint64 { return now - min(now, last) }

// ProtocolCounters reads Protocols. It belongs to one goroutine.
type ProtocolCounters struct{ files []*os.File }

// OpenProtocols opens the counters of the network namespace of the calling thread. They are of
// it whoever reads them later. A kernel without IPv6 has fewer of them.
func OpenProtocols() (*ProtocolCounters, error) {
	c := &ProtocolCounters{}
	for _, name := range []string{"snmp", "snmp6", "netstat"} {
		f, err := os.Open("/proc/thread-self/net/" + name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			c.Close()
			return nil, err
		}
		c.files = append(c.files, f)
	}
	return c, nil
}

// Close is idempotent. After it nothing is counted.
func (c *ProtocolCounters) Close() {
	for _, f := range c.files {
		f.Close()
	}
	c.files = nil
}

// Read reads the counters.
func (c *ProtocolCounters) Read() (Protocols, error) {
	counts := map[string]uint64{}
	for _, f := range c.files {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return Protocols{}, err
		}
		text, err := io.ReadAll(f)
		if err != nil {
			return Protocols{}, err
		}
		if err := parseProtocols(text, counts); err != nil {
			return Protocols{}, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	return Protocols{
		IPReceived:  counts["IpInReceives"] + counts["Ip6InReceives"],
		IPDelivered: counts["IpInDelivers"] + counts["Ip6InDelivers"],
		Fragments:   counts["IpReasmReqds"] + counts["Ip6ReasmReqds"],
		Reassembled: counts["IpReasmOKs"] + counts["Ip6ReasmOKs"],
		ReasmFails:  counts["IpReasmFails"] + counts["Ip6ReasmFails"],
		NoPort:      counts["UdpNoPorts"] + counts["Udp6NoPorts"] + counts["UdpIgnoredMulti"] + counts["Udp6IgnoredMulti"],
		Errors:      counts["UdpInErrors"] + counts["Udp6InErrors"],
		BadChecksum: counts["UdpInCsumErrors"] + counts["Udp6InCsumErrors"],
		ReversePath: counts["TcpExtIPReversePathFilter"],
	}, nil
}

// parseProtocols adds the counters of a file to counts: either a name and a number in each
// line, or two lines of a protocol, one of names and one of numbers.
func parseProtocols(text []byte, counts map[string]uint64) error {
	var names []string
	for line := range bytes.Lines(text) {
		fields := strings.Fields(string(line))
		switch {
		case len(fields) == 0:
		case !strings.HasSuffix(fields[0], ":"):
			if len(fields) != 2 {
				return fmt.Errorf("%q is no name and number", line)
			}
			n, err := strconv.ParseUint(fields[1], 10, 64)
			if err != nil {
				return err
			}
			counts[fields[0]] = n
		case names == nil:
			names = fields
		case len(names) != len(fields) || names[0] != fields[0]:
			return fmt.Errorf("%q does not belong to the line before it", line)
		default:
			protocol := strings.TrimSuffix(names[0], ":")
			for i, name := range names[1:] {
				n, err := strconv.ParseUint(fields[i+1], 10, 64)
				if err != nil {
					continue // a setting, such as MaxConn -1
				}
				counts[protocol+name] = n
			}
			names = nil
		}
	}
	if names != nil {
		return fmt.Errorf("%s has names and no numbers", names[0])
	}
	return nil
}
