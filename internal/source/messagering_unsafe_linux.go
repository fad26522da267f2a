// SPDX-License-Identifier: Apache-2.0

package source

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/heap"
)

// groControlSize holds the one control message that is asked for: the size of
// the packets in a train, an int.
const groControlSize = 32

// messageRing is memory for udpMessages datagrams, laid out for recvmmsg once
// and for all. The kernel writes to it only during receive. It refers to memory
// that its owner unmaps.
type messageRing struct {
	headers  [udpMessages]unix.Mmsghdr
	vectors  [udpMessages]unix.Iovec
	controls [udpMessages][groControlSize]byte
	buffers  [udpMessages][]byte
	names    [udpMessages]unix.RawSockaddrAny
	streams  [udpMessages]int32 // of the messages received
}

// newMessageRing divides memory of udpMessages*udpBufferStride bytes.
func newMessageRing(memory []byte) *messageRing {
	r := &messageRing{}
	for i := range r.headers {
		from := i * udpBufferStride
		r.buffers[i] = memory[from : from+udpBufferSize : from+udpBufferSize]
		r.vectors[i].Base = &r.buffers[i][0]
		r.vectors[i].SetLen(udpBufferSize)
		r.headers[i].Hdr.Iov = &r.vectors[i]
		r.headers[i].Hdr.SetIovlen(1)
		r.headers[i].Hdr.Control = &r.controls[i][0]
		r.headers[i].Hdr.Name = (*byte)(unsafe.Pointer(&r.names[i]))
	}
	return r
}

// receive reads what a socket has, without waiting, into messages from to
// limit-1, and says how many there were.
func (r *messageRing) receive(fd, from, limit int) (int, error) {
	for i := from; i < limit; i++ {
		r.headers[i].Hdr.SetControllen(groControlSize) // the kernel wrote how much it used
		r.headers[i].Hdr.Namelen = unix.SizeofSockaddrAny
	}
	for {
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.headers[from])),
			uintptr(limit-from), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, nil
		}
		return 0, errno
	}
}

// message is what was received in message i. segment is the size of the packets
// that it is a train of, all but the last one; 0 if it is one packet. It is not
// whole if its end was cut off.
func (r *messageRing) message(i int) (data []byte, segment int, whole bool) {
	h := &r.headers[i]
	n := min(int(h.Len), udpBufferSize)
	return r.buffers[i][:n], groSize(r.controls[i][:min(int(h.Hdr.Controllen), groControlSize)]), h.Hdr.Flags&unix.MSG_TRUNC == 0
}

// sender is who sent message i.
func (r *messageRing) sender(i int) heap.Sender {
	name := &r.names[i]
	port := func(p *uint16) uint16 { return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:]) }
	switch n := r.headers[i].Hdr.Namelen; {
	case name.Addr.Family == unix.AF_INET && n >= unix.SizeofSockaddrInet4:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return heap.SenderOf(netip.AddrPortFrom(netip.AddrFrom4(a.Addr), port(&a.Port)))
	case name.Addr.Family == unix.AF_INET6 && n >= unix.SizeofSockaddrInet6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(name))
		return heap.SenderOf(netip.AddrPortFrom(netip.AddrFrom16(a.Addr), port(&a.Port)))
	}
	return heap.Sender{}
}

// groSize finds the size of a train's packets in the control data of a message,
// which is one struct cmsghdr and an int; 0 if it is not there.
func groSize(control []byte) int {
	const headerSize = unix.SizeofCmsghdr
	if len(control) < headerSize+4 {
		return 0
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	if h.Level != unix.SOL_UDP || h.Type != unix.UDP_GRO {
		return 0
	}
	return int(int32(binary.NativeEndian.Uint32(control[headerSize:])))
}

// socketDrops is how many datagrams the kernel had for a socket and dropped. The
// count wraps at 2^32.
func socketDrops(fd int) (uint32, error) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, errno
	}
	return info[unix.SK_MEMINFO_DROPS], nil
}
