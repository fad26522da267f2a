package bpf

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// AddEndpoint makes UDP packets to an address and port ours, at once. An
// unspecified address (0.0.0.0 or ::) or none stands for any address of either
// family. Adding an endpoint that is there changes nothing. If another receiver that shares
// the program has it, or one that takes some of its packets, the error is a [*TakenError].
//
// With an endpoint at any address, every later fragment of every UDP datagram
// counts as a fragment of ours, since such fragments name no port.
func (s *Steer) AddEndpoint(ap netip.AddrPort) error {
	ap, err := normalise(ap)
	if err != nil {
		return err
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
	addr := ap.Addr()
	for _, key := range []steerEndpoint{endpointKey(addr, 0), endpointKey(addr, ap.Port())} {
		if err := s.addOwner(key); err != nil {
			if s.addresses[addr] == 0 {
				_ = s.removeOwner(endpointKey(addr, 0))
			}
			return fmt.Errorf("bpf: add endpoint %v: %w", ap, err)
		}
	}
	s.endpoints[ap] = struct{}{}
	s.addresses[addr]++
	return nil
}

// RemoveEndpoint leaves the packets of an endpoint to the kernel, at once. It is
// no error if it was not there.
func (s *Steer) RemoveEndpoint(ap netip.AddrPort) error {
	ap, err := normalise(ap)
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
	addr := ap.Addr()
	keys := []steerEndpoint{endpointKey(addr, ap.Port())}
	if s.addresses[addr] == 1 {
		keys = append(keys, endpointKey(addr, 0))
	}
	if err := s.table.lock(); err != nil {
		return fmt.Errorf("bpf: remove endpoint %v: %w", ap, err)
	}
	defer s.table.unlock()
	for _, key := range keys {
		if err := s.removeOwner(key); err != nil {
			return fmt.Errorf("bpf: remove endpoint %v: %w", ap, err)
		}
	}
	delete(s.endpoints, ap)
	if s.addresses[addr]--; s.addresses[addr] == 0 {
		delete(s.addresses, addr)
	}
	return nil
}

// normalise gives the one form in which an endpoint is known here.
func normalise(ap netip.AddrPort) (netip.AddrPort, error) {
	if ap.Port() == 0 {
		return ap, fmt.Errorf("bpf: endpoint %v has no port", ap)
	}
	addr := ap.Addr().Unmap().WithZone("")
	if !addr.IsValid() || addr.IsUnspecified() {
		addr = netip.IPv6Unspecified()
	}
	return netip.AddrPortFrom(addr, ap.Port()), nil
}

// endpointKey is the key of an endpoint as the program builds it from a packet:
// address and port in network byte order, IPv4 mapped into IPv6.
func endpointKey(addr netip.Addr, port uint16) steerEndpoint {
	var key steerEndpoint
	bytes := addr.As16()
	for i := range key.Address {
		key.Address[i] = binary.NativeEndian.Uint64(bytes[8*i:])
	}
	key.Port = uint64(binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port)))
	return key
}
