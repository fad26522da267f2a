// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/netif"
)

// Listen looks at the packets of the sources for some time, or until the context ends, and
// adds what it saw to the facts. It joins the groups of the sources meanwhile. names are
// the interfaces; none: those that the routes lead to. It has to run in the network
// namespace and, for that, on the thread that [Read] ran on.
func (f *Facts) Listen(ctx context.Context, names []string, sources []Source, duration time.Duration) error {
	for _, s := range sources {
		interfaces, err := interfacesOf(names, s)
		if err != nil {
			return err
		}
		for _, name := range interfaces {
			f.Traffic = append(f.Traffic, Traffic{Source: s.Name, Interface: name, Endpoints: s.Endpoints})
		}
	}
	l := listener{facts: f}
	defer l.close()
	for i := range f.Traffic {
		l.add(&f.Traffic[i])
	}
	for i := range l.devices {
		if err := l.open(&l.devices[i]); err != nil {
			for _, s := range l.devices[i].sights {
				s.Err, s.Why = err, err.Error()
			}
		}
	}
	began := time.Now()
	err := l.run(ctx, began.Add(duration))
	for i := range f.Traffic {
		f.Traffic[i].ended(time.Since(began))
		f.plan(&f.Traffic[i])
	}
	return err
}

// listener is what Listen has open.
type listener struct {
	facts   *Facts
	devices []listened
	sockets []packetSocket
	joined  *netif.Membership
	buffer  []byte
	control []byte
}

// listened is a device with the sources that are looked for on it.
type listened struct {
	*Device
	observer *observer
	sights   []*sight
}

type packetSocket struct {
	fd     int
	queue  int // of its packets; -1: unknown
	device *listened
}

// add makes the listener look for a source on the devices below its interface.
func (l *listener) add(t *Traffic) {
	s := newSight(t)
	for i := range l.facts.Devices {
		d := &l.facts.Devices[i]
		if d.Name == t.Interface {
			l.join(d.Index, t)
		}
		if !d.Bottom || !l.facts.below(t.Interface, d.Name) {
			continue
		}
		t.Taken = t.Taken || d.Program != nil
		k := 0
		for k < len(l.devices) && l.devices[k].Device != d {
			k++
		}
		if k == len(l.devices) {
			l.devices = append(l.devices, listened{Device: d, observer: newObserver()})
		}
		l.devices[k].observer.add(s)
		l.devices[k].sights = append(l.devices[k].sights, s)
	}
}

// join joins the groups of a source.
func (l *listener) join(ifindex int, t *Traffic) {
	if l.joined == nil {
		l.joined = &netif.Membership{}
	}
	for _, ep := range t.Endpoints {
		if !ep.Addr().IsMulticast() {
			continue
		}
		if err := l.joined.Add(ep.Addr(), ifindex); err != nil {
			t.Err, t.Why = err, err.Error()
			return
		}
	}
}

// maxFanout is how many sockets there can be in a fanout.
const maxFanout = 256

// open opens a packet socket for each queue of a device, and one for packets whose
// queue is not known. Where the kernel cannot spread packets by queue only this one is
// opened.
func (l *listener) open(d *listened) error {
	n := min(d.RxQueues, maxFanout-1) + 1
	choose, err := chooser(n, d.Kind == "veth")
	if err != nil {
		return err
	}
	var endpoints []netip.AddrPort
	for _, s := range d.sights {
		endpoints = append(endpoints, s.Endpoints...)
	}
	want, err := filter(endpoints)
	if err != nil {
		return err
	}
	first := len(l.sockets)
	group := 0
	for i := range n {
		fd, err := packetSocketOn(d.Index)
		if err != nil {
			return err
		}
		queue := i
		if i == n-1 {
			queue = -1
		}
		l.sockets = append(l.sockets, packetSocket{fd, queue, d})
		if group, err = joinFanout(fd, group, i == 0, choose); err != nil {
			// Without a fanout each socket gets all packets: one is enough.
			for _, s := range l.sockets[first:] {
				unix.Close(s.fd)
			}
			l.sockets = l.sockets[:first]
			if fd, err = packetSocketOn(d.Index); err != nil {
				return err
			}
			l.sockets = append(l.sockets, packetSocket{fd, -1, d})
			break
		}
	}
	for _, s := range l.sockets[first:] {
		if err := attachFilter(s.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, want); err != nil {
			return fmt.Errorf("filter of the packet socket: %w", err)
		}
	}
	return nil
}

// packetSocketOn opens a packet socket on a device that receives nothing yet.
func packetSocketOn(ifindex int) (fd int, err error) {
	// Protocol 0 receives nothing, so that no packet comes before the filter.
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, os.ErrPermission) {
		return -1, fmt.Errorf("a packet socket is refused: CAP_NET_RAW is missing")
	}
	if err != nil {
		return -1, fmt.Errorf("open a packet socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	nothing, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})
	if err != nil {
		return -1, err
	}
	if err := attachFilter(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, nothing); err != nil {
		return -1, fmt.Errorf("filter of the packet socket: %w", err)
	}
	const buffer = 8 << 20
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer)
	}
	// Linux 4.20; without it the packets that this machine sends are left out later.
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return -1, fmt.Errorf("auxiliary data of the packet socket: %w", err)
	}
	all := binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL})
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: ifindex}); err != nil {
		return -1, fmt.Errorf("bind the packet socket: %w", err)
	}
	return fd, nil
}

// joinFanout puts a socket into a group of sockets that share the packets. The first one
// makes the group, and the kernel chooses its number.
func joinFanout(fd, group int, first bool, choose []bpf.RawInstruction) (int, error) {
	const uniqueID = 0x2000 // PACKET_FANOUT_FLAG_UNIQUEID
	arg := group | unix.PACKET_FANOUT_CBPF<<16
	if first {
		arg = (unix.PACKET_FANOUT_CBPF | uniqueID) << 16
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT, arg); err != nil {
		return 0, fmt.Errorf("fanout: %w", err)
	}
	if !first {
		return group, nil
	}
	if err := attachFilter(fd, unix.SOL_PACKET, unix.PACKET_FANOUT_DATA, choose); err != nil {
		return 0, fmt.Errorf("fanout: %w", err)
	}
	id, err := unix.GetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_FANOUT)
	return id & 0xffff, err
}

func attachFilter(fd, level, option int, program []bpf.RawInstruction) error {
	list := make([]unix.SockFilter, len(program))
	for i, r := range program {
		list[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, level, option, &unix.SockFprog{Len: uint16(len(list)), Filter: &list[0]})
}

// run takes packets until the deadline.
func (l *listener) run(ctx context.Context, deadline time.Time) error {
	l.buffer, l.control = make([]byte, snapLength), make([]byte, 256)
	const look = 50 * time.Millisecond // at the context
	polled := make([]unix.PollFd, len(l.sockets))
	for i, s := range l.sockets {
		polled[i] = unix.PollFd{Fd: int32(s.fd), Events: unix.POLLIN}
	}
	for {
		left := time.Until(deadline)
		if left <= 0 || ctx.Err() != nil {
			break
		}
		_, err := unix.Poll(polled, int(min(left, look).Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for packets: %w", err)
		}
		for i := range polled {
			if polled[i].Revents == 0 {
				continue
			}
			const most = 64 // before the other sockets have their turn
			for range most {
				if !l.take(&l.sockets[i]) {
					break
				}
			}
		}
	}
	for i := range l.devices {
		d := &l.devices[i]
		unseen := uint64(0)
		for _, s := range l.sockets {
			if s.device != d {
				continue
			}
			if stats, err := unix.GetsockoptTpacketStats(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
				unseen += uint64(stats.Drops)
			}
		}
		for _, s := range d.sights {
			s.Unseen += unseen
		}
	}
	return nil
}

// take looks at one packet of a socket; it reports whether there was one.
func (l *listener) take(s *packetSocket) bool {
	n, cn, _, from, err := unix.Recvmsg(s.fd, l.buffer, l.control, unix.MSG_DONTWAIT)
	if err != nil {
		return false
	}
	if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
		return true
	}
	size, vlan := n, -1
	if messages, err := unix.ParseSocketControlMessage(l.control[:cn]); err == nil {
		for _, m := range messages {
			if m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA {
				size, vlan = auxiliary(m.Data, n)
			}
		}
	}
	s.device.observer.packet(l.buffer[:n], size, vlan, s.queue)
	return true
}

// auxiliary reads a struct tpacket_auxdata. It returns the length of the packet, of n bytes
// at hand, and the id of a VLAN tag that the kernel took out, or -1.
func auxiliary(b []byte, n int) (size, vlan int) {
	size, vlan = n, -1
	if len(b) < 20 {
		return size, vlan
	}
	size = max(n, int(binary.NativeEndian.Uint32(b[4:])))
	if binary.NativeEndian.Uint32(b)&unix.TP_STATUS_VLAN_VALID != 0 {
		vlan = int(binary.NativeEndian.Uint16(b[16:]) & 0xfff)
	}
	return size, vlan
}

func (l *listener) close() {
	for _, s := range l.sockets {
		unix.Close(s.fd)
	}
	if l.joined != nil {
		_ = l.joined.Close()
	}
}
