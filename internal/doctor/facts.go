// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"net/netip"
	"time"

	"github.com/speadx/speadx/internal/holders"
	"github.com/speadx/speadx/internal/netif"
)

// Fact is something that was read, or why it was not.
type Fact[T any] struct {
	Value T
	Err   error // why it could not be read
}

// fact makes a fact of what a function returned.
func fact[T any](v T, err error) Fact[T] { return Fact[T]{v, err} }

// Facts are what doctor knows of a machine.
type Facts struct {
	Kernel        Fact[string] // its release, such as 6.12.48-amd64
	Program       string       // path of this program, for commands
	Capabilities  Fact[uint64] // effective ones, a bit each
	UserNamespace Fact[bool]   // the process is in another user namespace than the first
	Seccomp       Fact[int]    // mode: 0 none, 1 strict, 2 filter
	Socket        error        // of opening an AF_XDP socket
	BPF           error        // of loading an XDP program, which is not attached

	Memlock  Fact[uint64] // RLIMIT_MEMLOCK in bytes
	RmemMax  Fact[int]    // net.core.rmem_max in bytes
	Huge     Fact[[]HugePages]
	THP      Fact[string] // never, madvise or always
	Memory   Fact[[]Limit]
	HugeTLB  Fact[[]Limit] // of huge pages
	CPUQuota Fact[[]Quota]

	CPUs       Fact[[]int] // that this process may run on
	NodeCPUs   map[int][]int
	Isolated   Fact[[]int]
	Governors  Fact[map[string][]int] // processors by governor; empty: no frequency scaling
	IRQBalance Fact[[]int]            // process ids

	Hidden int // processes whose descriptors could not be read

	Devices []Device
	Traffic []Traffic
}

// HugePages are those of one size, on one NUMA node.
type HugePages struct {
	Bytes int
	Node  int // -1: of the whole machine
	Total int
	Free  int // and promised to nobody
	File  string
}

// Limit is how much a control group and those above it leave to this process.
type Limit struct {
	File  string // that sets the limit
	Bytes int    // of the limit
	Room  int    // bytes below the limit that are still free
}

// Quota is how many processors' time a control group may take.
type Quota struct {
	File       string
	Processors float64
}

// Device is an interface that doctor looks at.
type Device struct {
	netif.Interface
	Named  bool // it was asked for: groups are joined here, and sockets see its packets
	Bottom bool // the XDP program belongs here; a VLAN and a bond have such devices below them

	Master     string // the device that this one belongs to
	MasterKind string // "bridge", "bond", …
	Multicast  bool   // it can take multicast groups
	Address    bool   // it has an IP address

	RPFilter Fact[int] // net.ipv4.conf: the larger of that of the interface and of all
	Groups   Fact[[]netip.Addr]

	Speed    int // Mb/s; 0: unknown
	Offloads Fact[map[string]bool]
	Fixed    map[string]bool // offloads that cannot be switched
	Coalesce Fact[Coalesce]
	Pause    Fact[Pause]
	RSS      Fact[RSS]
	Hash4    Fact[uint64] // fields that the hash of UDP over IPv4 is made of, RXH_*
	Hash6    Fact[uint64]
	Rules    Fact[[]Rule]

	Program *Program // the XDP program on it
	Queues  Fact[[]BoundQueue]
	IRQs    Fact[[]IRQ]

	Receivers Fact[[]Receiver] // of speadx, with AF_XDP
}

// Coalesce is how long a NIC collects packets before it interrupts.
type Coalesce struct {
	RxUsecs  int
	Adaptive bool
}

// Pause is Ethernet's flow control.
type Pause struct{ Rx, Tx bool }

// Program is an XDP program on an interface.
type Program struct {
	ID     uint32
	Name   Fact[string]
	Mode   string // native, generic, hardware or several
	Owners []Owner
}

// speadx reports whether it is the program of a speadx receiver.
func (p *Program) speadx() bool {
	if p == nil {
		return false
	}
	if p.Name.Err == nil {
		return p.Name.Value == "steer_frags" || p.Name.Value == "steer_plain"
	}
	return len(p.Owners) > 0 && p.Owners[0].Name == "speadx"
}

// Owner is a process.
type Owner = holders.Owner

// BoundQueue is a receive queue that an AF_XDP socket is bound to.
type BoundQueue struct {
	Queue  int
	Owners []Owner // empty: unknown
}

// IRQ is an interrupt of a NIC's receive queue.
type IRQ struct {
	Number int
	Name   string
	CPUs   []int // that it may be handled on
}

// Source is one of the sources to look at.
type Source struct {
	Name      string
	Endpoints []netip.AddrPort
}

// Traffic is what was seen of a source on an interface.
type Traffic struct {
	Source    string           `json:"source"`
	Interface string           `json:"interface"` // that was named
	Endpoints []netip.AddrPort `json:"-"`

	Err      error         `json:"-"` // why nothing could be seen
	Why      string        `json:"error,omitempty"`
	Taken    bool          `json:"-"` // an XDP program may have taken the packets
	Duration time.Duration `json:"-"`

	Seconds   float64           `json:"seconds"`
	Packets   uint64            `json:"packets"`
	Bytes     uint64            `json:"bytes"`           // of UDP payload
	BitRate   float64           `json:"bits_per_second"` // of UDP payload
	Unseen    uint64            `json:"unseen"`          // packets of any source for which the packet sockets had no room
	MinPacket int               `json:"min_packet"`      // bytes of UDP payload
	MaxPacket int               `json:"max_packet"`
	Fragments uint64            `json:"fragments"`          // IP fragments
	VLANs     map[int]uint64    `json:"vlans,omitempty"`    // packets by the id of their tag
	Queues    map[int]uint64    `json:"queues,omitempty"`   // packets by receive queue
	NoQueue   uint64            `json:"no_queue"`           // packets whose queue is not known
	Senders   []Sender          `json:"senders,omitempty"`  // the first 64
	More      uint64            `json:"more_senders"`       // packets of further ones
	SPEAD     uint64            `json:"spead"`              // packets that are SPEAD's
	Foreign   map[string]uint64 `json:"foreign,omitempty"`  // the others, by what is wrong
	Flavours  map[string]uint64 `json:"flavours,omitempty"` // such as 64-48
	HeapSize  uint64            `json:"heap_size"`          // the largest heap length that was told, or seen
	Unsized   uint64            `json:"unsized"`            // packets that do not tell the length of their heap
	Heaps     int               `json:"heaps"`              // that packets were seen of, up to 4096
	Colliding bool              `json:"colliding"`          // two senders use one heap count
}

// Sender is where packets come from.
type Sender struct {
	Addr    netip.AddrPort `json:"address"`
	To      netip.AddrPort `json:"to"` // of its first packet
	Packets uint64         `json:"packets"`
	Queues  []int          `json:"queues,omitempty"`         // that they arrived on
	Planned []int          `json:"planned_queues,omitempty"` // that the settings of the devices give them
}
