// SPDX-License-Identifier: Apache-2.0

package holders

import (
	"bufio"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// UDPSocket is a bound UDP socket.
type UDPSocket struct {
	Local netip.AddrPort // IPv4 as such; an unspecified address stands for any
	Inode uint32
	dual  bool // it is of IPv6, and may hear IPv4 too
}

// Hears reports whether the socket may get packets that are sent to an address and port. An
// unspecified address means any.
func (s *UDPSocket) Hears(to netip.AddrPort) bool {
	here, there := s.Local.Addr(), to.Addr().Unmap().WithZone("")
	switch {
	case s.Local.Port() != to.Port():
		return false
	case there.IsUnspecified(), !there.IsValid(), here == there:
		return true
	}
	return here.IsUnspecified() && (s.dual || here.Is4() == there.Is4())
}

// UDPSockets lists those of the network namespace of the calling thread. The file system is the
// root's.
func UDPSockets(fsys fs.FS) (list []UDPSocket, err error) {
	for _, name := range []string{"udp", "udp6"} {
		f, err := fsys.Open("proc/thread-self/net/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if s, ok := parseSocket(lines.Text()); ok {
				s.dual = name == "udp6"
				list = append(list, s)
			}
		}
		f.Close()
	}
	return list, nil
}

// parseSocket reads a line: sl local_address rem_address st queues tr:when retrnsmt uid timeout
// inode. An address is written as words of 4 bytes, each as a number of this machine.
func parseSocket(line string) (s UDPSocket, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 10 {
		return s, false
	}
	digits, port, _ := strings.Cut(fields[1], ":")
	b, err := hex.DecodeString(digits)
	if err != nil || len(b)%4 != 0 {
		return s, false
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4]) // amd64 and arm64 have the lowest byte first
	}
	addr, ok := netip.AddrFromSlice(b)
	if !ok {
		return s, false
	}
	p, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return s, false
	}
	inode, err := strconv.ParseUint(fields[9], 10, 32)
	if err != nil {
		return s, false
	}
	return UDPSocket{Local: netip.AddrPortFrom(addr.Unmap(), uint16(p)), Inode: uint32(inode)}, true
}
