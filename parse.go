// SPDX-License-Identifier: Apache-2.0

package speadx

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/speadx/speadx/internal/source"
)

// ParsedSource is a source of packets: a capture file, addresses and a port to
// receive on, or an address and port to listen on for a TCP connection.
type ParsedSource struct {
	File      string           // "" if it is none, "-" for standard input
	Endpoints []netip.AddrPort // an unspecified address stands for every address; of a file, those that are wanted: none is all
	VLAN      int              // of a file: the VLAN that is wanted; 0 are packets without a tag; -1 is any
	TCP       bool             // the endpoint, which is one, is of TCP
}

// DefaultPort is the port of a group that is named without one. The field uses it.
const DefaultPort = 7148

// maxAddresses is how many addresses one source may name.
const maxAddresses = 4096

// tcpPrefix is what the sources begin with that are of TCP.
const tcpPrefix = "tcp://"

// ParseSource reads a source as it stands on the command line:
//
//	239.1.2.3:7148      one address and port; [ff15::1]:7148 of IPv6
//	239.1.2.3+7:7148    this address and the 7 that follow it
//	:7148 or 7148       any address of this machine
//	tcp://:7148         a connection to this port; tcp://10.0.0.2:7148 of one address
//	239.1.2.3           a group without a port: port 7148
//	capture.pcap        whatever does not end in a port number is a file
//	-                   a capture on standard input
//	239.1.2.3:7148@capture.pcap        what was sent there, of a capture
//	vlan7/239.1.2.3:7148@capture.pcap  the same, of one VLAN; vlan0 is without a tag
func ParseSource(s string) (ParsedSource, error) {
	if src, ok, err := parseOfFile(s); ok || err != nil {
		return src, err
	}
	src, err := parseSource(s)
	src.VLAN = -1
	return src, err
}

// parseOfFile reads DESTINATION@FILE; not ok if s is none.
func parseOfFile(s string) (src ParsedSource, ok bool, err error) {
	if s == source.StandardInput {
		return ParsedSource{File: s, VLAN: -1}, true, nil
	}
	destination, file, found := strings.Cut(s, "@")
	if !found {
		return src, false, nil
	}
	if _, err := os.Stat(s); err == nil {
		return src, false, nil // a file may be called so
	}
	vlan := -1
	if tag, rest, is := strings.Cut(destination, "/"); is && strings.HasPrefix(tag, "vlan") {
		n, err := strconv.ParseUint(tag[len("vlan"):], 10, 16)
		if err != nil || n > 4095 {
			return src, false, fmt.Errorf("source %q: %q is not a VLAN (vlan0, without a tag, to vlan4095)", s, tag)
		}
		vlan, destination = int(n), rest
	}
	src, err = parseSource(destination)
	switch {
	case err != nil:
		return src, false, fmt.Errorf("source %q: before the @: %w", s, err)
	case src.File != "" || src.TCP:
		return src, false, fmt.Errorf("source %q: %q before the @ is not an address and port", s, destination)
	}
	if file != source.StandardInput {
		if _, err := os.Stat(file); err != nil {
			return src, false, fmt.Errorf("source %q: %w", s, err)
		}
	}
	src.File, src.VLAN = file, vlan
	return src, true, nil
}

func parseSource(s string) (ParsedSource, error) {
	bare := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		bare = s[1 : len(s)-1]
	}
	// An IPv6 address without brackets may have its port at the end.
	if a, err := netip.ParseAddr(bare); err == nil && a.IsMulticast() && (a.Is4() || bare != s) {
		return ParsedSource{Endpoints: []netip.AddrPort{netip.AddrPortFrom(a.Unmap(), DefaultPort)}}, nil
	}
	rest, tcp := strings.CutPrefix(s, tcpPrefix)
	host, digits, ok := splitPort(rest)
	if !ok {
		if tcp {
			return ParsedSource{}, fmt.Errorf("source %q has no port number (one of TCP is like tcp://:7148 or tcp://10.0.0.2:7148)", s)
		}
		if s == "" {
			return ParsedSource{}, fmt.Errorf("source is empty (an address and port, a port, or a capture file)")
		}
		if _, err := os.Stat(s); err != nil {
			return ParsedSource{}, fmt.Errorf("source %q has no port number, and is no file either: %w", s, err)
		}
		return ParsedSource{File: s}, nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return ParsedSource{}, fmt.Errorf("source %q: %s is not a port (1 to 65535)", s, digits)
	}
	port := uint16(n)
	if host == "" || host == "*" {
		return ParsedSource{Endpoints: []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), port)}, TCP: tcp}, nil
	}
	more := 0
	if base, n, found := strings.Cut(host, "+"); found {
		if tcp {
			return ParsedSource{}, fmt.Errorf("source %q names several addresses, and a connection is to one (a source for each)", s)
		}
		v, err := strconv.ParseUint(n, 10, 32)
		if err != nil || v >= maxAddresses {
			return ParsedSource{}, fmt.Errorf("source %q: %q is not a number of further addresses up to %d", s, n, maxAddresses-1)
		}
		host, more = base, int(v)
	}
	bare = host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		bare = host[1 : len(host)-1]
	}
	addr, err := netip.ParseAddr(bare)
	if err != nil {
		return ParsedSource{}, fmt.Errorf("source %q: %q is not an IP address (names are not looked up)", s, host)
	}
	addr = addr.Unmap()
	if tcp && addr.IsMulticast() {
		return ParsedSource{}, fmt.Errorf("source %q: %v is a multicast group, which no connection can be to", s, addr)
	}
	out := ParsedSource{TCP: tcp}
	for i := range more + 1 {
		if !addr.IsValid() {
			return ParsedSource{}, fmt.Errorf("source %q: there are only %d addresses from the first on", s, i)
		}
		out.Endpoints = append(out.Endpoints, netip.AddrPortFrom(addr, port))
		addr = addr.Next()
	}
	return out, nil
}

// splitPort cuts the port number off; not ok if the last part is none.
func splitPort(s string) (host, digits string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i >= 0 && strings.Count(s, ":") > 1 && s[0] != '[' {
		return "", "", false // an IPv6 address without brackets has no port
	}
	digits = s[i+1:]
	return s[:max(i, 0)], digits, digits != "" && strings.Trim(digits, "0123456789") == ""
}
