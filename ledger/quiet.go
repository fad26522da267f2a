// SPDX-License-Identifier: Apache-2.0

package ledger

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// Reason is the likely cause of a [NothingArrived]. It is an interface, as a Code is.
type Reason string

// The reasons.
const (
	ReasonLinkDown      Reason = "link_down"
	ReasonNoTraffic     Reason = "nothing_on_interface"
	ReasonOtherQueue    Reason = "other_queue"
	ReasonFragments     Reason = "fragments"
	ReasonFragmentsLost Reason = "fragments_lost"
	ReasonNotDelivered  Reason = "not_delivered"
	ReasonBadChecksum   Reason = "bad_checksum"
	ReasonReversePath   Reason = "rp_filter"
	ReasonOtherDevice   Reason = "other_interface"
	ReasonOtherPort     Reason = "other_port"
	ReasonOtherVLAN     Reason = "other_vlan"
	ReasonNotSPEAD      Reason = "not_spead"
	ReasonOtherTraffic  Reason = "other_traffic"
)

// reasons are the sentences: what seems to be the case, and what to check.
var reasons = map[Reason]string{
	ReasonLinkDown:      "No interface is up and has a carrier. Check the cable, the switch port, and ip link.",
	ReasonNoTraffic:     "No packet came in on the interface. Check the sender, the cabling, the switch's VLAN, and that the group is forwarded to this port.",
	ReasonOtherQueue:    "Our packets arrive on receive queues that this program does not receive. Receive these too ({Queues}), or steer the flow: ethtool -N.",
	ReasonFragments:     "The packets arrive as IP fragments, which AF_XDP leaves to the kernel. Let the sender use smaller packets, that fit the smallest MTU on the way. Or receive with UDP sockets ({Mode} udp): the kernel puts fragments together for them.",
	ReasonFragmentsLost: "IP fragments arrive, and the kernel cannot put them together: some are lost on the way, or have no room (sysctl net.ipv4.ipfrag_high_thresh). Let the sender use smaller packets, that fit the smallest MTU on the way.",
	ReasonNotDelivered:  "IP takes packets in and hands few on. A firewall drops them (nft list ruleset, iptables -vL), or they are for an address or group that this machine does not have.",
	ReasonBadChecksum:   "The packets have wrong UDP checksums, and the kernel drops them. Check the sender and its checksum offload. AF_XDP takes them as they are.",
	ReasonReversePath:   "The kernel drops the packets, as its route to the sender leads elsewhere: sysctl net.ipv4.conf.all.rp_filter=2, and that of the interface.",
	ReasonOtherDevice:   "UDP packets arrive on another interface, and no program takes them. Check which one the sender's packets come in on ({Interfaces}).",
	ReasonOtherPort:     "UDP packets arrive for another port or group. Check the sender's destination: tcpdump -n udp.",
	ReasonOtherVLAN:     "Packets arrive that are not for an address of the interface: with another VLAN tag, or to another MAC address. Check with tcpdump -e.",
	ReasonNotSPEAD:      "Packets arrive for us that are no SPEAD. See the fates, and check the sender.",
	ReasonOtherTraffic:  "Packets arrive, and none is for us. Check the sender's destination, address and port: tcpdump -n udp.",
}

// Reasons are all reasons, each with its sentence.
func Reasons() map[Reason]string {
	return maps.Clone(reasons)
}

// Silence says where a receiver listens that hears nothing, and what was counted meanwhile.
type Silence struct {
	Where Places
	Seen  Readings
}

func (d *Diagnosis) silence() *Silence {
	if d.Silence == nil {
		return &Silence{}
	}
	return d.Silence
}

// Place is where a receiver listens.
type Place struct {
	Device string   `json:"device,omitempty"` // "": any interface
	Mode   string   `json:"mode"`
	Queues []int    `json:"queues,omitempty"` // of AF_XDP
	Addrs  []string `json:"addresses"`        // with ports
	Groups int      `json:"groups"`           // of these, multicast groups, which were joined
	Up     bool     `json:"up"`               // the interface is, and has a carrier
}

// mostAddrs is how many addresses of a place are written out.
const mostAddrs = 4

// String is the place in words.
func (p Place) String() string {
	list := p.Addrs[:min(len(p.Addrs), mostAddrs)]
	text := strings.Join(list, ", ")
	if n := len(p.Addrs) - len(list); n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	text += " on "
	if p.Device == "" {
		text += "any interface"
	} else {
		text += p.Device
	}
	text += " (" + p.Mode
	if len(p.Queues) > 0 {
		text += ", queues " + ranges(p.Queues)
	}
	switch {
	case p.Groups == 1:
		text += ", group joined"
	case p.Groups > 1:
		text += fmt.Sprintf(", %d groups joined", p.Groups)
	}
	return text + ")"
}

// ranges writes ascending numbers shortly: 0-3,5.
func ranges(list []int) string {
	var b strings.Builder
	for i := 0; i < len(list); {
		end := i
		for end+1 < len(list) && list[end+1] == list[end]+1 {
			end++
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, list[i])
		if end > i {
			fmt.Fprintf(&b, "-%d", list[end])
		}
		i = end + 1
	}
	return b.String()
}

// Places are where a receiver listens.
type Places []Place

// String lists them.
func (p Places) String() string {
	list := make([]string, len(p))
	for i := range p {
		list[i] = p[i].String()
	}
	return strings.Join(list, "; ")
}

// Reading is what a counter of the machine or the program has counted meanwhile.
type Reading struct {
	Name string
	N    uint64
}

// Readings are several of them, in the order in which a packet passes them.
type Readings []Reading

// String lists those that are not 0.
func (r Readings) String() string {
	var list []string
	for _, v := range r {
		if v.N > 0 {
			list = append(list, fmt.Sprintf("%s %d", v.Name, v.N))
		}
	}
	if len(list) == 0 {
		return "no counter rose"
	}
	return strings.Join(list, ", ")
}

// MarshalJSON gives an object of all of them.
func (r Readings) MarshalJSON() ([]byte, error) {
	m := make(map[string]uint64, len(r))
	for _, v := range r {
		m[v.Name] = v.N
	}
	return json.Marshal(m)
}
