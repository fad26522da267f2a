// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/features"
	ethtoollib "github.com/safchain/ethtool"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/speadx/speadx/internal/holders"
	"github.com/speadx/speadx/internal/netif"
	"github.com/speadx/speadx/internal/peer"
	"github.com/speadx/speadx/internal/sched"
)

// Examine reads the facts of this machine and listens to the sources, on the named
// interfaces. Without a name it looks at those that the routes to the sources lead to;
// without a source either, at all interfaces that are up, the loopback excepted.
func Examine(ctx context.Context, names []string, sources []Source, duration time.Duration) (*Facts, error) {
	var routed []string
	for _, s := range sources {
		interfaces, err := interfacesOf(names, s)
		if err != nil {
			return nil, err
		}
		for _, name := range interfaces {
			if !slices.Contains(routed, name) {
				routed = append(routed, name)
			}
		}
	}
	if len(names) == 0 {
		names = routed
	}
	f, err := Read(names)
	if err != nil || len(sources) == 0 {
		return f, err
	}
	if err := f.Listen(ctx, names, sources, duration); err != nil {
		return nil, err
	}
	return f, nil
}

// Read reads the facts of this machine and of the named interfaces with the devices below
// them, in the network namespace of the calling thread. Without a name it looks at all
// interfaces that are up, the loopback excepted. An interface that is not there is an
// error, everything else that cannot be read is in the facts.
func Read(names []string) (*Facts, error) {
	f := &Facts{}
	m := files{os.DirFS("/")}
	m.readProcess(f)
	if program, err := os.Executable(); err == nil {
		f.Program = program
	} else {
		f.Program = os.Args[0]
	}
	f.Socket, f.BPF = trySocket(), features.HaveProgramType(ebpf.XDP)
	f.CPUs = fact(sched.CPUs())
	f.IRQBalance = fact(m.processes("irqbalance"))
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit)
	f.Memlock = fact(limit.Cur, err)
	if err := f.readDevices(m, names); err != nil {
		return nil, err
	}
	return f, nil
}

// trySocket opens an AF_XDP socket and closes it.
func trySocket() error {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func (f *Facts) readDevices(m files, names []string) error {
	links, err := netlink.LinkList()
	if err != nil {
		return fmt.Errorf("interfaces: %w", err)
	}
	if len(names) == 0 {
		for _, l := range links {
			if a := l.Attrs(); a.RawFlags&unix.IFF_UP != 0 && a.RawFlags&unix.IFF_LOOPBACK == 0 {
				names = append(names, a.Name)
			}
		}
	}
	for _, name := range names {
		i, err := netif.Lookup(name)
		if err != nil {
			return err
		}
		f.device(i).Named = true
		lowers, err := netif.Lowers(name)
		if err != nil {
			return err
		}
		for _, lower := range lowers {
			i, err := netif.Lookup(lower)
			if err != nil {
				return err
			}
			f.device(i).Bottom = true
		}
	}
	peers, peersErr := peer.List(nil)
	held, heldErr := holders.Read(m.FS)
	f.Hidden = held.Hidden
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket for ethtool: %w", err)
	}
	defer unix.Close(fd)
	for i := range f.Devices {
		d := &f.Devices[i]
		for _, l := range links {
			if l.Attrs().Index == d.Index {
				d.readLink(l, links)
			}
		}
		d.readEthtool(fd)
		d.RPFilter = fact(m.rpFilter(d.Name))
		d.Groups = fact(m.groups(d.Index))
		d.IRQs = fact(m.irqs(d.Name, d.Bus))
		d.readBound(m, held, heldErr)
		d.Receivers = fact(receiversOn(d.Index, peers), peersErr)
	}
	return nil
}

// device is the device of an interface, added if it is not there yet.
func (f *Facts) device(i *netif.Interface) *Device {
	k := slices.IndexFunc(f.Devices, func(d Device) bool { return d.Index == i.Index })
	if k < 0 {
		f.Devices = append(f.Devices, Device{Interface: *i})
		k = len(f.Devices) - 1
	}
	return &f.Devices[k]
}

func (d *Device) readLink(l netlink.Link, all []netlink.Link) {
	a := l.Attrs()
	d.Multicast = a.RawFlags&(unix.IFF_MULTICAST|unix.IFF_LOOPBACK) != 0
	for _, m := range all {
		if a.MasterIndex != 0 && m.Attrs().Index == a.MasterIndex {
			d.Master, d.MasterKind = m.Attrs().Name, m.Type()
		}
	}
	if a.Xdp == nil || !a.Xdp.Attached {
		return
	}
	p := &Program{ID: a.Xdp.ProgId, Mode: "several"}
	switch a.Xdp.AttachMode { // linux/if_link.h, XDP_ATTACHED_*
	case 1:
		p.Mode = "native"
	case 2:
		p.Mode = "generic"
	case 3:
		p.Mode = "hardware"
	}
	p.Name = fact(programName(p.ID))
	d.Program = p
}

// programName asks the kernel, which tells those who have CAP_SYS_ADMIN.
func programName(id uint32) (string, error) {
	prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(id))
	if errors.Is(err, os.ErrPermission) {
		return "", fmt.Errorf("CAP_SYS_ADMIN is missing")
	}
	if err != nil {
		return "", err
	}
	defer prog.Close()
	info, err := prog.Info()
	if err != nil {
		return "", err
	}
	return info.Name, nil
}

func (d *Device) readEthtool(fd int) {
	d.RSS = fact(readRSS(fd, d.Name))
	d.Hash4 = fact(readHash(fd, d.Name, flowUDP4))
	d.Hash6 = fact(readHash(fd, d.Name, flowUDP6))
	d.Rules = fact(readRules(fd, d.Name))
	e, err := ethtoollib.NewEthtool()
	if err != nil {
		d.Offloads.Err, d.Coalesce.Err, d.Pause.Err = err, err, err
		return
	}
	defer e.Close()
	features, err := e.FeaturesWithState(d.Name)
	d.Offloads = Fact[map[string]bool]{map[string]bool{}, err}
	d.Fixed = map[string]bool{}
	for name, state := range features {
		d.Offloads.Value[name] = state.Active
		d.Fixed[name] = state.NeverChanged || !state.Available
	}
	c, err := e.GetCoalesce(d.Name)
	d.Coalesce = fact(Coalesce{int(c.RxCoalesceUsecs), c.UseAdaptiveRxCoalesce != 0}, unsupported(err))
	p, err := e.GetPause(d.Name)
	d.Pause = fact(Pause{p.RxPause != 0, p.TxPause != 0}, unsupported(err))
	d.Speed = readSpeed(fd, d.Name)
}

// rpFilter is the larger of the two settings, which is the one that counts.
func (m files) rpFilter(name string) (int, error) {
	if name != filepath.Base(name) {
		return 0, fmt.Errorf("%q is no name of a file", name)
	}
	all, err := m.number("proc/sys/net/ipv4/conf/all/rp_filter")
	if err != nil {
		return 0, err
	}
	own, err := m.number("proc/sys/net/ipv4/conf/" + name + "/rp_filter")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("/proc/sys does not show %s", name)
	}
	return max(all, own), err
}

// readBound finds the owners of the program and of the bound queues. Where the kernel does
// not tell the socket of a queue, the owners are those who hold the program, or the one
// process that has AF_XDP sockets.
func (d *Device) readBound(m files, held holders.Holdings, err error) {
	if d.Program != nil && err == nil {
		d.Program.Owners = held.Programs[d.Program.ID]
	}
	if !d.Bottom {
		return
	}
	bound, err := netif.BoundQueues(d.Index)
	d.Queues.Err = err
	for _, b := range bound {
		q := BoundQueue{Queue: b.Queue}
		if b.Inode != 0 {
			q.Owners = held.Sockets[b.Inode]
		} else if d.Program != nil {
			q.Owners = d.Program.Owners
		} else if all := m.xskHolders(); len(all) == 1 {
			q.Owners = all
		}
		d.Queues.Value = append(d.Queues.Value, q)
	}
}

// interfacesOf are the interfaces that the packets of sources come in on: those that were
// named, or those that the routes lead to.
func interfacesOf(names []string, s Source) ([]string, error) {
	if len(names) > 0 {
		return names, nil
	}
	var out []string
	for _, ep := range s.Endpoints {
		if ep.Addr().IsUnspecified() {
			return nil, fmt.Errorf("source %s names neither an address nor an interface (-i names the one to listen on)", s.Name)
		}
		name, err := netif.ForRoute(ep.Addr())
		if err != nil {
			return nil, errors.New(strings.TrimPrefix(err.Error(), "netif: "))
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}
