// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// VLAN is that of the tags of a packet: the outer one, and the inner one if there are two.
// Zero is no tag, and also one of VLAN 0, which is only a priority.
type VLAN struct {
	Outer, Inner uint16
}

// String is the ids with a dot between, outermost first; "" for no tag.
func (v VLAN) String() string {
	switch {
	case v == VLAN{}:
		return ""
	case v.Inner == 0:
		return fmt.Sprint(v.Outer)
	}
	return fmt.Sprintf("%d.%d", v.Outer, v.Inner)
}

// maxVLAN is the largest id of a VLAN: the tag has 12 bits.
const maxVLAN = 1<<12 - 1

// tagged is an endpoint in a VLAN.
type tagged struct {
	netip.AddrPort
	vlan VLAN
}

func (e tagged) String() string {
	if e.vlan == (VLAN{}) {
		return e.AddrPort.String()
	}
	return fmt.Sprintf("%v of VLAN %v", e.AddrPort, e.vlan)
}

// AddEndpoint is [Steer.AddVLANEndpoint] for packets without a tag.
func (s *Steer) AddEndpoint(ap netip.AddrPort) error { return s.AddVLANEndpoint(ap, VLAN{}) }

// RemoveEndpoint is [Steer.RemoveVLANEndpoint] for packets without a tag.
func (s *Steer) RemoveEndpoint(ap netip.AddrPort) error { return s.RemoveVLANEndpoint(ap, VLAN{}) }

// AddVLANEndpoint makes UDP packets in a VLAN to an address and port ours, at once. With
// [SteerConfig.AllVLANs] the VLAN has to be zero and stands for all. An
// unspecified address (0.0.0.0 or ::) or none stands for any address of either
// family. Adding an endpoint that is there changes nothing. If another receiver that shares
// the program has it, or one that takes some of its packets, the error is a [*TakenError].
//
// Of the fragments of a datagram the first one names the port. It alone counts as a fragment
// of ours.
func (s *Steer) AddVLANEndpoint(at netip.AddrPort, vlan VLAN) error {
	ap, err := normalise(at, vlan)
	if err != nil {
		return err
	}
	if s.config.AllVLANs && vlan != (VLAN{}) {
		return fmt.Errorf("bpf: add endpoint %v: the program was loaded for all VLANs", ap)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("bpf: add endpoint %v: the program is closed", ap)
	}
	if _, ok := s.endpoints[ap]; ok {
		return nil
	}
	if len(s.endpoints) >= s.config.MaxEndpoints {
		return fmt.Errorf("bpf: add endpoint %v: there are %d already, for which the program was loaded", ap, len(s.endpoints))
	}
	if err := s.table.lock(); err != nil {
		return fmt.Errorf("bpf: add endpoint %v: %w", ap, err)
	}
	defer s.table.unlock()
	s.reapDead()
	if err := s.checkFree(ap); err != nil {
		return err
	}
	if err := s.addOwner(endpointKey(ap)); err != nil {
		return fmt.Errorf("bpf: add endpoint %v: %w", ap, err)
	}
	s.endpoints[ap] = struct{}{}
	return nil
}

// RemoveVLANEndpoint leaves the packets of an endpoint to the kernel, at once. It is
// no error if it was not there.
func (s *Steer) RemoveVLANEndpoint(at netip.AddrPort, vlan VLAN) error {
	ap, err := normalise(at, vlan)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if _, ok := s.endpoints[ap]; !ok {
		return nil
	}
	if err := s.table.lock(); err != nil {
		return fmt.Errorf("bpf: remove endpoint %v: %w", ap, err)
	}
	defer s.table.unlock()
	if err := s.removeOwner(endpointKey(ap)); err != nil {
		return fmt.Errorf("bpf: remove endpoint %v: %w", ap, err)
	}
	delete(s.endpoints, ap)
	return nil
}

// normalise gives the one form in which an endpoint is known here.
func normalise(ap netip.AddrPort, vlan VLAN) (tagged, error) {
	if ap.Port() == 0 {
		return tagged{}, fmt.Errorf("bpf: endpoint %v has no port", ap)
	}
	if vlan.Outer > maxVLAN || vlan.Inner > maxVLAN {
		return tagged{}, fmt.Errorf("bpf: endpoint %v: VLAN %v is outside 0 to %d", ap, vlan, maxVLAN)
	}
	addr := ap.Addr().Unmap().WithZone("")
	if !addr.IsValid() || addr.IsUnspecified() {
		addr = netip.IPv6Unspecified()
	}
	return tagged{netip.AddrPortFrom(addr, ap.Port()), vlan}, nil
}

// endpointKey is the key of an endpoint as the program builds it from a packet:
// address and port in network byte order, IPv4 mapped into IPv6, and the VLAN.
func endpointKey(e tagged) steerEndpoint {
	var key steerEndpoint
	bytes := e.Addr().As16()
	for i := range key.Address {
		key.Address[i] = binary.NativeEndian.Uint64(bytes[8*i:])
	}
	key.Port = uint64(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, e.Port())))
	key.Port |= uint64(e.vlan.Outer)<<16 | uint64(e.vlan.Inner)<<32
	return key
}
