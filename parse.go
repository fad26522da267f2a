package speadx

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// ParsedSource is a source of packets: a capture file, addresses and a port to
// receive on, or an address and port to listen on for a TCP connection.
type ParsedSource struct {
	File      string           // "" if it is none
	Endpoints []netip.AddrPort // an unspecified address stands for every address
	TCP       bool             // the endpoint, which is one, is of TCP
}

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
//	capture.pcap        whatever does not end in a port number is a file
func ParseSource(s string) (ParsedSource, error) {
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
	bare := host
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
