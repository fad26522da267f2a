// SPDX-License-Identifier: Apache-2.0

//go:build vmguest

package guest

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/hack/vm/matrix"
	"github.com/speadx/speadx/internal/doctor"
)

// datagrams are frames from many senders to an address: the receiver's, or a group. They
// have the tag of a VLAN, if it is not 0.
func (w *wire) datagrams(t *testing.T, to netip.Addr, vlan uint16, senders int) (frames [][]byte) {
	t.Helper()
	receiver, err := net.ParseMAC(w.Receiver)
	if err != nil {
		t.Fatal(err)
	}
	sender, err := net.ParseMAC(w.Sender)
	if err != nil {
		t.Fatal(err)
	}
	if a := to.As4(); to.IsMulticast() {
		receiver = net.HardwareAddr{1, 0, 0x5e, a[1] & 0x7f, a[2], a[3]}
	}
	ethernet := append(slices.Clone([]byte(receiver)), sender...)
	if vlan > 0 {
		ethernet = binary.BigEndian.AppendUint16(append(ethernet, 0x81, 0), vlan)
	}
	ethernet = append(ethernet, 8, 0)
	for k := range senders {
		payload := []byte{0x53, 4, 2, 6, 0, 0, 0, 4}
		for id, v := range []uint64{1: uint64(k), 2: 8, 3: 0, 4: 8} {
			if id > 0 {
				payload = binary.BigEndian.AppendUint64(payload, 1<<63|uint64(id)<<48|v)
			}
		}
		payload = append(payload, make([]byte, 8)...)
		b := slices.Clone(ethernet)
		ip := []byte{0x45, 0, 0, byte(28 + len(payload)), 0, 0, 0x40, 0, 9, 17, 0, 0, 10, 9, byte(k), 7}
		ip = append(ip, to.AsSlice()...)
		sum := uint32(0)
		for i := 0; i < len(ip); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(ip[i:]))
		}
		binary.BigEndian.PutUint16(ip[10:], ^uint16(sum+sum>>16))
		b = append(b, ip...)
		b = binary.BigEndian.AppendUint16(b, uint16(5000+k))
		b = binary.BigEndian.AppendUint16(b, port)
		b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
		frames = append(frames, append(append(b, 0, 0), payload...))
	}
	return frames
}

// inject sends frames over and over until the test ends.
func (w *wire) inject(t *testing.T, frames [][]byte) {
	t.Helper()
	fd, index := -1, 0
	w.sender.do(t, func() {
		index = linkOf(t, w.tx).Attrs().Index
		var err error
		if fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	})
	var senders sync.WaitGroup
	stop := make(chan struct{})
	senders.Go(func() {
		for {
			for _, b := range frames {
				// The card may be busy: the frame comes again.
				_ = unix.Sendto(fd, b, 0, &unix.SockaddrLinklayer{Ifindex: index})
			}
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	})
	t.Cleanup(func() {
		close(stop)
		senders.Wait()
		unix.Close(fd)
	})
}

// examine runs doctor on an interface, and with a source listens to it.
func examine(t *testing.T, name string, to ...netip.AddrPort) (*doctor.Facts, *doctor.Report) {
	t.Helper()
	var sources []doctor.Source
	for _, ap := range to {
		sources = append(sources, doctor.Source{Name: ap.String(), Endpoints: []netip.AddrPort{ap}})
	}
	f, err := doctor.Examine(t.Context(), []string{name}, sources, 3*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	r := doctor.Diagnose(f)
	var text strings.Builder
	if err := r.WriteText(&text); err != nil {
		t.Error(err)
	}
	t.Log(text.String())
	return f, r
}

// The queue that doctor computes for a sender, from the card's key, table and fields, is
// the one that the card puts its packets on.
func TestDoctorQueues(t *testing.T) {
	for _, w := range wires {
		if w.nic.Name != "igb" {
			continue // the other cards have one queue here, or tell no key
		}
		w.prepare(t, 1500)
		w.setQueues(t)
		for _, fields := range []string{"sd", "sdfn"} {
			t.Run(w.nic.Name+"/"+fields, func(t *testing.T) {
				run(t, "ethtool", "-N", w.rx, "rx-flow-hash", "udp4", fields)
				awaitCarrier(t, w.rx)
				w.inject(t, w.datagrams(t, w.rx4, 0, 32)) // not before the change
				f, _ := examine(t, w.rx, netip.AddrPortFrom(w.rx4, port))
				got := f.Traffic[0]
				if got.Packets == 0 || got.NoQueue > 0 || len(got.Senders) != 32 || len(got.Queues) != w.nic.Queues {
					t.Errorf("%d packets, %d of no queue, %d senders, queues %v", got.Packets, got.NoQueue, len(got.Senders), got.Queues)
				}
				// igb of Linux 6.1 does not tell its key. Then nothing is guessed.
				told := len(f.Devices[0].RSS.Value.Key) > 0
				if !told && boot.Series == matrix.Newest {
					t.Error("the driver does not tell its key")
				}
				for _, s := range got.Senders {
					if !told && len(s.Planned) == 0 {
						continue
					}
					if len(s.Planned) != 1 || !slices.Equal(s.Planned, s.Queues) {
						t.Errorf("packets of %v are on queues %v, computed was %v", s.Addr, s.Queues, s.Planned)
					}
				}
			})
		}
		run(t, "ethtool", "-N", w.rx, "rx-flow-hash", "udp4", "sd")
	}
}

// doctor reads each card: nothing fails, and it hears the packets.
func TestDoctor(t *testing.T) {
	for _, w := range wires {
		t.Run(w.nic.Name, func(t *testing.T) {
			w.prepare(t, 1500)
			w.setQueues(t)
			w.inject(t, w.datagrams(t, w.rx4, 0, 4))
			f, r := examine(t, w.rx, netip.AddrPortFrom(w.rx4, port))
			if codes := r.Codes(doctor.Fail); len(codes) > 0 {
				t.Errorf("failed: %v", codes)
			}
			if got := f.Traffic[0]; got.SPEAD == 0 || got.SPEAD != got.Packets || len(got.Senders) != 4 {
				t.Errorf("%+v", got)
			}
			if f.Devices[0].Driver != w.nic.Driver {
				t.Errorf("driver %q, want %q", f.Devices[0].Driver, w.nic.Driver)
			}
		})
	}
}

// The packets of a VLAN are heard on the card below it, with their tag in the frame or out
// of it.
func TestDoctorVLAN(t *testing.T) {
	w := hardware(t)
	o := w.vlan(t, 5)
	group := netip.AddrPortFrom(netip.MustParseAddr("239.1.2.3"), port)
	w.inject(t, w.datagrams(t, group.Addr(), 5, 2))
	for _, offload := range []string{"on", "off"} {
		run(t, "ethtool", "-K", w.rx, "rxvlan", offload)
		awaitCarrier(t, w.rx)
		f, _ := examine(t, o.name, group)
		if got := f.Traffic[0]; got.SPEAD == 0 || got.VLANs[5] != got.Packets || got.Interface != o.name {
			t.Errorf("rxvlan %s: %+v", offload, got)
		}
		if len(f.Devices) != 2 || f.Devices[1].Name != w.rx || !f.Devices[1].Bottom {
			t.Errorf("%+v", f.Devices)
		}
	}
	run(t, "ethtool", "-K", w.rx, "rxvlan", "on")
}
