// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/speadx/speadx/bpf"
	"github.com/speadx/speadx/internal/holders"
	"github.com/speadx/speadx/internal/peer"
	"github.com/speadx/speadx/internal/source"
	"github.com/speadx/speadx/ledger"
)

// Process is a process on this machine.
type Process struct {
	PID  int // 0: unknown
	Name string
}

func (p Process) String() string {
	switch {
	case p.PID == 0 && p.Name == "":
		return "a process that could not be found"
	case p.PID == 0:
		return p.Name
	}
	return fmt.Sprintf("%s (process %d)", p.Name, p.PID)
}

// OccupiedError says that another process has what this receiver needs: an endpoint, queues,
// or the place of the XDP program on a device.
type OccupiedError struct {
	Device   string         // "": any
	Endpoint netip.AddrPort // that the other one receives; not valid: it is about queues or a program
	Queues   []int          // that the other one has, of those that were asked for
	Free     []int          // queues of the device that no receiver has
	Program  string         // the XDP program, if it is not that of a receiver that could share it
	Mode     string         // native or generic: the other one's, of a program that this one asked for in another mode
	Socket   bool           // the other one has a UDP socket of the endpoint
	Owner    Process
	User     string // whose the owner is, if it shares with its own user only; "" otherwise
	Err      error  // the cause; may be nil
}

// OccupiedReason says what another process has.
type OccupiedReason string

// The reasons.
const (
	OccupiedEndpoint OccupiedReason = "endpoint"      // a receiver has it
	OccupiedSocket   OccupiedReason = "socket"        // a UDP socket has the endpoint
	OccupiedQueues   OccupiedReason = "queues"        // a receiver has some of them
	OccupiedProgram  OccupiedReason = "program"       // the interface has another XDP program
	OccupiedVersion  OccupiedReason = "other_version" // the receiver there is of another version
	OccupiedMode     OccupiedReason = "other_mode"    // the receiver there uses native mode and this one generic, or vice versa
)

// Reason is what the other process has.
func (e *OccupiedError) Reason() OccupiedReason {
	switch {
	case e.Socket:
		return OccupiedSocket
	case e.Endpoint.IsValid():
		return OccupiedEndpoint
	case e.Mode != "":
		return OccupiedMode
	case errors.Is(e.Err, bpf.ErrOtherVersion):
		return OccupiedVersion
	case e.Program != "":
		return OccupiedProgram
	}
	return OccupiedQueues
}

// Error names the process and what it has, and lists the choices.
func (e *OccupiedError) Error() string {
	s := ""
	if e.Device != "" {
		s = e.Device + ": "
	}
	switch {
	case e.Socket:
		s += fmt.Sprintf("%v has a UDP socket of %v, and a packet reaches one socket", e.Owner, e.Endpoint)
	case e.Mode != "":
		s += fmt.Sprintf("%v has the XDP program there in %s mode, and an interface has one mode", e.Owner, e.Mode)
	case e.Endpoint.IsValid():
		s += fmt.Sprintf("%v is received by %v, and a packet reaches one receiver", e.Endpoint, e.Owner)
	case e.Program != "":
		s += fmt.Sprintf("%s of %v is attached, and an interface has one XDP program", e.Program, e.Owner)
	default:
		s += fmt.Sprintf("%v receives on %s, and a queue has one receiver", e.Owner, queueList(e.Queues))
	}
	return s + ". Choices: " + strings.Join(e.Choices(), "; ")
}

// Unwrap returns the cause.
func (e *OccupiedError) Unwrap() error { return e.Err }

// Choices are what can be done, each a sentence without its full stop.
func (e *OccupiedError) Choices() []string {
	var list []string
	if e.Program != "" {
		stop := "stop its owner"
		if e.Owner.PID != 0 {
			stop += fmt.Sprintf(" (kill %d)", e.Owner.PID)
		}
		if e.User != "" {
			list = append(list, "run both as user "+e.User)
		}
		return append(list, stop, "another interface", "--mode udp: sockets receive what that program passes on to the kernel")
	}
	if e.Mode != "" {
		list = append(list, "--mode "+e.Mode+" here too")
	}
	if !e.Socket {
		list = append(list, "receive all sources in one process")
	}
	if e.Owner.PID != 0 {
		list = append(list, fmt.Sprintf("stop the other one (kill %d)", e.Owner.PID))
	}
	switch {
	case e.Socket:
		return append(list, "another port")
	case e.Mode != "":
	case e.Endpoint.IsValid():
		return append(list, "receive another endpoint: sockets (--mode udp) would get nothing for this one on the other's queues")
	case len(e.Free) > 0:
		list = append(list, fmt.Sprintf("other queues (--queues %s is free)", ranges(e.Free)))
	default:
		list = append(list, "let both have fewer queues (--queues)")
	}
	return append(list, "--mode udp: sockets receive what is not for an endpoint of the other one")
}

// queueList names queues.
func queueList(list []int) string {
	if len(list) == 1 {
		return "queue " + ranges(list)
	}
	return "queues " + ranges(list)
}

// ranges is a list of numbers as --queues takes it.
func ranges(list []int) string {
	var parts []string
	list = slices.Sorted(slices.Values(list))
	for i := 0; i < len(list); {
		k := i
		for k+1 < len(list) && list[k+1] == list[k]+1 {
			k++
		}
		part := strconv.Itoa(list[i])
		if k > i {
			part += "-" + strconv.Itoa(list[k])
		}
		parts = append(parts, part)
		i = k + 1
	}
	return strings.Join(parts, ",")
}

// peers are the other receivers in the network namespace, and what this one tells them.
type peers struct {
	ctx    context.Context
	server *peer.Server // nil: it could not listen

	mu        sync.Mutex
	info      peer.Info
	devices   []*device
	attaching map[int]chan struct{} // by interface, while it is settled whether our program is there
	refused   []peer.Info           // those that share nothing with this user
}

// openPeers begins to answer other receivers, and asks them whether they receive what this
// one shall receive.
func (r *Receiver) openPeers() error {
	r.peers = &peers{ctx: r.opening.ctx, attaching: map[int]chan struct{}{}}
	r.peers.info = peer.Info{PID: os.Getpid(), Program: programName(), UID: os.Geteuid()}
	if len(r.receives()) == 0 {
		return nil // files and TCP
	}
	if err := r.checkPeers(); err != nil {
		return err
	}
	if err := r.checkSockets(); err != nil {
		return err
	}
	var err error
	if r.peers.server, err = peer.Listen(r.peers); err != nil {
		r.plan.notes = append(r.plan.notes, fmt.Sprintf("no other receiver can share an interface with this one: %v", err))
	}
	return nil
}

// programName is what tools such as ps call this process.
func programName() string {
	if b, err := os.ReadFile("/proc/self/comm"); err == nil {
		return strings.TrimSpace(string(b))
	}
	return filepath.Base(os.Args[0])
}

// Info implements [peer.Handler].
func (p *peers) Info() peer.Info {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.info
}

// Share implements [peer.Handler].
func (p *peers) Share(ifindex int, cancel <-chan struct{}, send func([]int) error) error {
	p.mu.Lock()
	busy := p.attaching[ifindex]
	p.mu.Unlock()
	if busy != nil {
		select {
		case <-busy:
		case <-cancel:
			return nil
		}
	}
	p.mu.Lock()
	k := slices.IndexFunc(p.devices, func(d *device) bool { return d.plan.facts.Index == ifindex })
	var program *bpf.Steer
	if k >= 0 {
		program = p.devices[k].steer.program
	}
	p.mu.Unlock()
	if program == nil {
		return nil
	}
	return program.HandOut(send)
}

// begin says that our program may be on the interface from now on.
func (p *peers) begin(ifindex int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.attaching[ifindex] == nil {
		p.attaching[ifindex] = make(chan struct{})
	}
}

// end says that it is settled whether it is there. d is the open device, or nil.
func (p *peers) end(ifindex int, d *device) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d != nil {
		p.devices = append(p.devices, d)
	}
	if c := p.attaching[ifindex]; c != nil {
		close(c)
		delete(p.attaching, ifindex)
	}
}

// forget takes a device back that is being closed.
func (p *peers) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.devices = nil
}

// publish tells what is received.
func (p *peers) publish(list []peer.Receives) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.info.Receives = list
}

func (p *peers) close() {
	if p != nil && p.server != nil {
		_ = p.server.Close()
	}
}

const (
	joinTries = 20
	joinPause = 50 * time.Millisecond
)

// join shares the program on an interface, if there is one and another receiver gives it; nil
// if there is none, or it is not a receiver's. present reports whether there is a program.
func (p *peers) join(ifindex int, name string) (_ *bpf.Steer, present bool, _ error) {
	for try := 0; ; try++ {
		on, err := bpf.ProgramOn(ifindex)
		if on == nil || err != nil {
			return nil, false, nil // attaching tells what is wrong
		}
		shared, refused, err := peer.Share(p.server, ifindex, p.ctx.Done())
		if err != nil {
			return nil, true, err
		}
		p.refused = refused
		if shared != nil {
			s, err := bpf.JoinSteer(ifindex, name, shared.FDs)
			if err == nil {
				return s, true, nil
			}
			if !errors.Is(err, bpf.ErrDetached) {
				return nil, true, &OccupiedError{Device: name, Program: on.String(), Owner: Process{shared.PID, shared.Program}, Err: err}
			}
		} else if others, err := peer.Any(p.server); err != nil || !others {
			return nil, true, nil
		}
		// The program is going, or its receiver is about to share it.
		if try == joinTries {
			return nil, true, nil
		}
		select {
		case <-time.After(joinPause):
		case <-p.ctx.Done():
			return nil, true, p.ctx.Err()
		}
	}
}

// receives is what the receiver receives over the network, as planned.
func (r *Receiver) receives() (list []peer.Receives) {
	for _, d := range r.plan.devices {
		var queues []int
		for _, open := range r.devices {
			if open.plan == d {
				queues = open.numbers()
			}
		}
		list = append(list, d.receives(d.endpoints, queues)...)
	}
	for i := range r.plan.streams {
		s := &r.plan.streams[i]
		for _, ep := range s.udp {
			list = append(list, r.receivesBySocket(ep, s.links)...)
		}
	}
	return list
}

// receives is what comes in on a device for some endpoints, by VLAN.
func (d *planDevice) receives(endpoints []planDeviceEndpoint, queues []int) (list []peer.Receives) {
	for _, ep := range endpoints {
		vlan := ep.vlan.String()
		if d.allVLANs {
			vlan = peer.AnyVLAN
		}
		k := slices.IndexFunc(list, func(e peer.Receives) bool { return e.VLAN == vlan })
		if k < 0 {
			k = len(list)
			list = append(list, peer.Receives{Ifindex: d.facts.Index, Interface: d.facts.Name, Queues: queues, VLAN: vlan})
		}
		list[k].Endpoints = append(list[k].Endpoints, ep.addr)
	}
	return list
}

// receivesBySocket is what a UDP socket receives: on the devices below its interfaces, or on
// any.
func (r *Receiver) receivesBySocket(ep planEndpoint, links map[int]string) (list []peer.Receives) {
	add := func(ifindex int, name, vlan string) {
		list = append(list, peer.Receives{Ifindex: ifindex, Interface: name, Sockets: true, VLAN: vlan, Endpoints: []netip.AddrPort{ep.addr}})
	}
	for index, name := range links {
		if ep.ifindex != 0 && ep.ifindex != index {
			continue
		}
		lowers, err := r.plan.machine.lowers(name)
		if err != nil {
			continue // it is gone
		}
		vlan := peer.AnyVLAN
		if on, err := r.plan.machine.vlans(name); err == nil {
			var ids []string
			for _, id := range on.Tags {
				ids = append(ids, strconv.Itoa(id))
			}
			vlan = strings.Join(ids, ".")
		}
		for _, lower := range lowers {
			if facts, err := r.plan.machine.lookup(lower); err == nil {
				add(facts.Index, lower, vlan)
			}
		}
	}
	if len(list) == 0 {
		add(ep.ifindex, "", peer.AnyVLAN)
	}
	return list
}

// receivesNow is what the receiver receives after endpoints have come or gone. The caller
// holds changes.mu.
func (r *Receiver) receivesNow() (list []peer.Receives) {
	for _, d := range r.devices {
		list = append(list, d.plan.receives(d.endpoints, d.numbers())...)
	}
	for _, s := range r.streams[:r.changes.used.Load()] {
		for i := range s.live {
			for _, ep := range s.live[i].sockets {
				links := s.live[i].watched
				if len(links) == 0 {
					links = s.plan.links
				}
				list = append(list, r.receivesBySocket(ep, links)...)
			}
		}
	}
	return list
}

// checkPeers is an [*OccupiedError] if another receiver receives an endpoint of this one, and
// a packet cannot reach both. UDP sockets of several processes can have one group.
func (r *Receiver) checkPeers() error {
	infos, err := peer.List(r.peers.server)
	if err != nil {
		return nil // there is no /proc: nobody can be found
	}
	for _, mine := range r.receives() {
		for _, other := range infos {
			for _, has := range other.Receives {
				if mine.Sockets && has.Sockets {
					continue
				}
				if ep, both := mine.Overlap(&has); both {
					name := mine.Interface
					if name == "" {
						name = has.Interface
					}
					return fmt.Errorf("speadx: %w", &OccupiedError{Device: name, Endpoint: ep, Owner: Process{other.PID, other.Program}})
				}
			}
		}
	}
	return nil
}

// checkSockets looks for UDP sockets of other programs that have an endpoint of this receiver.
// They get nothing of what the XDP program takes, which is a finding. Where several sockets of ours
// share a port, the kernel would let another one in and split the packets: that is refused.
func (r *Receiver) checkSockets() error {
	sockets, err := holders.UDPSockets(os.DirFS("/"))
	if err != nil || len(sockets) == 0 {
		return nil // there is no /proc
	}
	var held *holders.Holdings
	owner := func(s *holders.UDPSocket) (p Process, ours bool) {
		if held == nil {
			h, err := holders.Read(os.DirFS("/"))
			if err != nil {
				h = holders.Holdings{}
			}
			held = &h
		}
		for _, o := range held.Sockets[s.Inode] {
			p = Process{o.PID, o.Name}
		}
		infos, _ := peer.List(r.peers.server)
		return p, slices.ContainsFunc(infos, func(i peer.Info) bool { return i.PID == p.PID })
	}
	for _, d := range r.plan.devices {
		for _, ep := range withoutVLANs(d.endpoints) {
			for i := range sockets {
				s := &sockets[i]
				if !s.Hears(ep.addr) || s.Local.Addr().IsLoopback() && d.facts.Name != "lo" {
					continue
				}
				if who, ours := owner(s); !ours {
					r.plan.find(ledger.Diagnosis{Code: ledger.ForeignSocket, Device: d.facts.Name, Source: source.Endpoint{Addr: ep.addr}.String(), Other: who.String(), Setting: "Mode"})
				}
			}
		}
	}
	for i := range r.plan.streams {
		for _, ep := range r.plan.streams[i].udp {
			if ep.addr.Addr().IsMulticast() || !r.plan.shares(ep.addr) {
				continue // the kernel gives each a copy, or refuses the port
			}
			for k := range sockets {
				if s := &sockets[k]; s.Hears(ep.addr) && !s.Local.Addr().IsMulticast() {
					who, _ := owner(s)
					return fmt.Errorf("speadx: %w", &OccupiedError{Endpoint: ep.addr, Owner: who, Socket: true})
				}
			}
		}
	}
	return nil
}

// occupied puts the other process into the error of a device, where there is one.
func (p *peers) occupied(d *planDevice, err error) error {
	var already *OccupiedError
	var taken *bpf.TakenError
	var attach *bpf.AttachError
	var otherMode *bpf.OtherModeError
	switch {
	case err == nil || errors.As(err, &already):
		if already != nil {
			return already
		}
	case errors.As(err, &taken):
		return &OccupiedError{
			Device: d.facts.Name, Endpoint: taken.Endpoint, Queues: taken.Queues, Free: taken.Free,
			Owner: Process{taken.Owner.PID, taken.Owner.Name}, Err: err,
		}
	case errors.As(err, &otherMode):
		return &OccupiedError{Device: d.facts.Name, Mode: otherMode.Mode.String(), Owner: Process{otherMode.Owner.PID, otherMode.Owner.Name}, Err: err}
	case errors.As(err, &attach) && attach.Other != nil:
		e := &OccupiedError{Device: d.facts.Name, Program: attach.Other.String(), Err: err}
		if held, readErr := holders.Read(os.DirFS("/")); readErr == nil {
			for _, o := range held.Programs[attach.Other.ID][:min(1, len(held.Programs[attach.Other.ID]))] {
				e.Owner = Process{o.PID, o.Name}
			}
		}
		if e.Owner.PID == 0 && len(p.refused) == 1 {
			e.Owner = Process{p.refused[0].PID, p.refused[0].Program}
			e.User = strconv.Itoa(p.refused[0].UID)
		}
		return e
	}
	return err
}

// numbers are the numbers of the device's queues.
func (d *device) numbers() (list []int) {
	for _, q := range d.queues {
		list = append(list, q.Info().Queue)
	}
	return list
}
