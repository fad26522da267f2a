// SPDX-License-Identifier: Apache-2.0

package ledger

import "log/slog"

// The codes of what the receiver finds by itself.
const (
	NetworkLoss        Code = "network_loss"
	HeapsGone          Code = "heaps_missing"
	RegularHeaps       Code = "regular_heaps"
	RegularBytes       Code = "regular_bytes"
	SourceSilent       Code = "source_silent"
	Unreadable         Code = "unreadable_packets"
	LatePackets        Code = "late_packets"
	WindowTooSmall     Code = "window_too_small"
	ConsumerSlow       Code = "consumer_slow"
	CarrierLost        Code = "carrier_lost"
	CarrierBack        Code = "carrier_back"
	NotEthernet        Code = "not_ethernet"
	InwardAddress      Code = "inward_address"
	ForeignAddress     Code = "foreign_address"
	AddressElsewhere   Code = "address_elsewhere"
	DestinationsMixed  Code = "destinations_mixed"
	ForeignSocket      Code = "foreign_socket"
	GroupUnanswered    Code = "group_unanswered"
	VLANTagsHidden     Code = "vlan_tags_hidden"
	InterfaceDown      Code = "interface_down"
	InterfaceBack      Code = "interface_back"
	QueuesAdded        Code = "queues_added"
	SoftnetDrops       Code = "softnet_drops"
	FIFODrops          Code = "fifo_drops"
	PauseFrames        Code = "pause_frames"
	NothingArrived     Code = "nothing_arrived"
	NICDrops           Code = "nic_drops"
	QueueUnserved      Code = "queue_unserved"
	Fragments          Code = "fragments"
	FrameTooSmall      Code = "frame_too_small"
	RedirectLost       Code = "redirect_lost"
	FramesNotConserved Code = "frames_not_conserved"
	KernelDrops        Code = "kernel_drops"
	PacketTooLong      Code = "packet_too_long"
	HeapTooLarge       Code = "heap_too_large"
	SendersCollide     Code = "senders_collide"
	HeapsRepeat        Code = "heaps_repeat"
	SlotsHeld          Code = "slots_held"
	RingOverflow       Code = "ring_overflow"
	RingBlocked        Code = "ring_blocked"
)

var codes = []CodeRow{
	{Code: NetworkLoss, Stage: Network, Unit: Bytes, Severity: slog.LevelWarn,
		Meaning:  "Bytes are missing, and no counter of this machine knows of a loss.",
		Sentence: "{share} of the bytes were lost before this machine could count them: {count} of {of}.",
		Remedy:   "Look at the senders, and at the drops of the switches on the way."},
	{Code: HeapsGone, Stage: Network, Unit: Heaps, Severity: slog.LevelWarn,
		Meaning:  "Heaps are missing entirely: there are gaps in the heap counts, or in the item of {ExpectStep} (`missing_heaps`).",
		Sentence: "Stream {stream}: {share} of the heaps are missing entirely, {count} of {of}. The first gap has {gap_heaps} from number {gap} on, at {gap_time} UTC. The largest has {largest_heaps} from {largest} on, at {largest_time} UTC.",
		Remedy:   "If no other finding explains it, the heaps were not sent, or the network lost them. If the numbers rise by another step, give it with {ExpectStep}."},
	{Code: RegularHeaps, Stage: Network, Severity: slog.LevelWarn,
		Meaning:  "The heaps that are missing are each N-th of the sequence: those of one sender, path or substream.",
		Sentence: "Stream {stream}: exactly 1 of {every} heaps is missing, each with number {heap} modulo {modulo}. They are those of {source}.",
		Remedy:   "Look at that sender, its link and its path."},
	{Code: RegularBytes, Stage: Network, Unit: Heaps, Severity: slog.LevelWarn,
		Meaning:  "Nearly all heaps are incomplete, and the same part of each is missing: one of N senders or paths is.",
		Sentence: "Stream {stream}: exactly 1/{every} of the bytes of {count} incomplete heaps is missing. Of {every} senders or paths one seems to be silent: {source}.",
		Remedy:   "Look at that sender, its link and its path."},
	{Code: SourceSilent, Stage: Network, Severity: slog.LevelWarn,
		Meaning:  "A sender was heard, and nothing came from it for 5 s, while others of its stream went on.",
		Sentence: "Stream {stream}: nothing has come from {source} for {duration}, while others go on.",
		Remedy:   "Look at that sender, its link and its path."},
	{Code: Unreadable, Stage: Parse, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "Packets could not be read as SPEAD: a fate of the stage parse rose.",
		Sentence: "{share} of the packets could not be read: {count} of {of}, most of them {fate}.",
		Remedy:   "Find the program that sends other packets to this port, or the link that damages them: see the fates."},
	{Code: LatePackets, Stage: Assembly, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "Packets came after their heap had left incomplete (`late`).",
		Sentence: "Stream {stream}: {share} of the packets came after their heap had left incomplete: {count} of {of}.",
		Remedy:   "Raise {setting} to {suggested}, and look for a queue or a sender that lags."},
	{Code: WindowTooSmall, Stage: Assembly, Unit: Heaps, Severity: slog.LevelWarn,
		Meaning:  "Several senders share a window that is too small for them: heaps left incomplete while packets still came for them (`evicted_heaps`, `late`). This is said in place of `late_packets`.",
		Sentence: "Stream {stream}: {count} of {of} heaps were evicted while packets still came for them. {senders} senders share a window of {value} heaps.",
		Remedy:   "Raise {setting} to {suggested}."},
	{Code: CarrierLost, Stage: NIC, Severity: slog.LevelWarn,
		Meaning:  "An interface has lost its carrier while packets are received from it.",
		Sentence: "Interface {device} has no carrier.",
		Remedy:   "Check the cable, the switch port, or the other end of a veth pair."},
	{Code: CarrierBack, Stage: NIC, Severity: slog.LevelInfo,
		Meaning:  "An interface that had lost its carrier has one again.",
		Sentence: "Interface {device} has a carrier again."},
	{Code: NotEthernet, Stage: NIC, Severity: slog.LevelInfo,
		Meaning:  "An interface has no Ethernet headers: a tunnel of IP packets, PPP or InfiniBand. AF_XDP needs them.",
		Sentence: "Packets of interface {device} have no Ethernet header (link type {other}), by which the XDP program finds their destination.",
		Remedy:   "UDP sockets receive them ({Mode} auto or udp, without {Queues})."},
	{Code: InwardAddress, Stage: NIC, Severity: slog.LevelInfo,
		Meaning:  "The address of a source is on lo or a dummy interface, such as a service address. No packet comes in there.",
		Sentence: "{source}: the address is on {device}, where no packet comes in from outside.",
		Remedy:   "A UDP socket receives from all interfaces ({Mode} auto or udp). For AF_XDP name the interface that packets come in on ({Interfaces})."},
	{Code: ForeignAddress, Stage: NIC, Severity: slog.LevelWarn,
		Meaning:  "The address of a source is no address of this machine.",
		Sentence: "{source}: no interface of this machine has the address. Packets to it come here from a mirror port, or not at all.",
		Remedy:   "Check the address (ip address). For a mirror port name its interface ({Interfaces})."},
	{Code: AddressElsewhere, Stage: NIC, Severity: slog.LevelWarn,
		Meaning:  "The address of a source is on another interface than the one that is received on.",
		Sentence: "{source}: the address is on interface {other}, and only {device} is received on.",
		Remedy:   "If packets come in on {other}, name it instead ({Interfaces})."},
	{Code: DestinationsMixed, Stage: Program, Severity: slog.LevelInfo,
		Meaning:  "Packets for several addresses arrive at a bare port on AF_XDP, and are one stream. One packet of a batch is looked at.",
		Sentence: "{source} on {device}: packets for several destinations arrive, and are one stream: {other}.",
		Remedy:   "If they are streams of their own, name each of them as a source."},
	{Code: ForeignSocket, Stage: Program, Severity: slog.LevelWarn,
		Meaning:  "Another program has a UDP socket of an endpoint that AF_XDP receives. It gets nothing of what the XDP program takes.",
		Sentence: "{source}: {other} has a UDP socket of this endpoint, and hears nothing of it on {device} while this program runs.",
		Remedy:   "Stop one of the two. Or receive with UDP sockets ({Mode} udp): of a group each socket gets a copy."},
	{Code: GroupUnanswered, Stage: NIC, Severity: slog.LevelWarn,
		Meaning:  "A group is received on a part of a bridge or bond that is down or cannot join. Nobody answers the queries of IGMP or MLD then.",
		Sentence: "{source}: interface {device} is a part of {other}, which cannot join the group: {err}. A switch that snoops IGMP or MLD stops to send it after some minutes.",
		Remedy:   "Set {other} up, or receive on the interface that has the addresses ({Interfaces})."},
	{Code: VLANTagsHidden, Stage: NIC, Severity: slog.LevelWarn,
		Meaning:  "The NIC, or the kernel below the interface, takes VLAN tags off before the XDP program sees a packet. VLANs cannot be told apart then.",
		Sentence: "Interface {device} takes VLAN tags off before the XDP program sees them. On {other} the packets of all VLANs, and those without a tag, are received as one.",
		Remedy:   "If that mixes streams, leave the tags on: ethtool -K {device} rxvlan off. Or use UDP sockets ({Mode} udp)."},
	{Code: InterfaceDown, Stage: NIC, Severity: slog.LevelWarn,
		Meaning:  "One of several interfaces is down or gone. Reception goes on with the others, and with this one when it is up again.",
		Sentence: "Nothing is received from interface {device}: {err}. Reception goes on where it can.",
		Remedy:   "ip link set {device} up."},
	{Code: InterfaceBack, Stage: NIC, Severity: slog.LevelInfo,
		Meaning:  "An interface that was down is up again.",
		Sentence: "Interface {device} is up again, and received from."},
	{Code: QueuesAdded, Stage: NIC, Severity: slog.LevelWarn,
		Meaning:  "An interface has more receive queues than were opened, since the driver or ethtool -L added some. Their packets go to the kernel.",
		Sentence: "Interface {device} now receives on {suggested} queues, and {value} of them are served. What arrives on the others is lost to this program.",
		Remedy:   "Restart it, or take the queues away again: ethtool -L {device}."},
	{Code: SoftnetDrops, Stage: NIC, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "The kernel dropped packets, as the backlog of a processor was full (/proc/net/softnet_stat). The count is of the whole machine.",
		Sentence: "The kernel dropped {count} packets of all programs of this machine, as the backlog of a processor was full. Some may have been for this one.",
		Remedy:   "Spread the interrupts over more processors, or raise it: sysctl net.core.netdev_max_backlog."},
	{Code: FIFODrops, Stage: NIC, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "The NIC lost packets in its own memory (rx_fifo_errors, rx_over_errors). The count is of all programs.",
		Sentence: "Interface {device} lost {count} packets of all programs in its own memory, before the rings. Some may have been for this one.",
		Remedy:   "Check that the PCIe slot is wide enough, and ethtool -S {device}; use more queues or larger rings: ethtool -G."},
	{Code: PauseFrames, Stage: NIC, Severity: slog.LevelWarn,
		Meaning:  "The NIC sent pause frames: it stopped the switch, for all programs, since it had no room. The switch may lose packets then, which no counter here shows.",
		Sentence: "Interface {device} sent {count} pause frames: it stops the switch, which may drop packets of any program.",
		Remedy:   "Receive faster, with more queues or larger rings (ethtool -G {device}), or see the switch's counters."},
	{Code: NothingArrived, Stage: NIC, Severity: slog.LevelWarn,
		Meaning:  "Nothing has arrived for 5 s, and then at doubled intervals; or nothing has arrived at all at the end. `cause` is what the counters hint at, and says what to do.",
		Sentence: "Nothing has arrived for {duration}. This program listens for {where}. Meanwhile: {seen}.",
		Remedy:   "{cause}"},
	{Code: NICDrops, Stage: NIC, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "A counter of packets that the NIC or its driver dropped rose (`nic_dropped`). The queue is given where the driver counts each.",
		Sentence: "{share} lost at the NIC: {device} dropped {count} packets on {queues}, as it had no buffer for them. Some may have been for other programs.",
		Remedy:   "Make its ring larger: ethtool -G {device} rx N. Keep its interrupts off busy processors."},
	{Code: QueueUnserved, Stage: Program, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "Packets for our endpoints came on a queue that has no socket (`no_socket`).",
		Sentence: "{count} packets arrived on queue {queue} of {device}, which has no socket, and went to the kernel.",
		Remedy:   "Receive that queue too ({Queues}), or steer them to one of ours: ethtool -N {device} flow-type udp4 dst-port PORT action QUEUE."},
	{Code: Fragments, Stage: Program, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "IP fragments came for our endpoints on AF_XDP (`fragment`). Of each datagram the first one counts, which names the port.",
		Sentence: "{count} packets for our endpoints came as IP fragments, which AF_XDP leaves to the kernel. They are larger than a link's MTU on the way.",
		Remedy:   "Let the sender use smaller packets. Or receive with UDP sockets ({Mode} udp): the kernel puts fragments together for them."},
	{Code: FrameTooSmall, Stage: Socket, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "The kernel dropped packets that are longer than one frame, in a mode without multi-buffer.",
		Sentence: "{count} packets on {device} dropped, whose frames are longer than {bytes} bytes: this kernel puts a packet into one frame only.",
		Remedy:   "Receive them with UDP sockets ({Mode}), or with Linux 6.6 or later."},
	{Code: RedirectLost, Stage: Socket, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "The XDP program redirected packets to the sockets, and they are neither there nor counted as dropped.",
		Sentence: "{count} packets that the XDP program on {device} redirected did not arrive at the sockets: the driver drops what a program redirects, or a socket is of another queue.",
		Remedy:   "Try generic mode ({Mode})."},
	{Code: FramesNotConserved, Stage: Socket, Severity: slog.LevelWarn,
		Meaning:  "At the end a queue's frames are not each in one place: the driver gave one out twice, or lost it.",
		Sentence: "Queue {queue} of {device}: {err}. This is a fault of the driver, and can damage what is received.",
		Remedy:   "Use a mode that does not need that part of the driver, such as native ({Mode})."},
	{Code: KernelDrops, Stage: Socket, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "The kernel dropped packets before the receiving thread could read them (`kernel_dropped`).",
		Sentence: "{share} lost at the socket: the kernel dropped {count} packets, as the receiving thread came too late.",
		Remedy:   "Give it a processor of its own ({CPUs}), or hold more packets with {Frames}, or with {SocketBuffer} for UDP sockets."},
	{Code: PacketTooLong, Stage: Socket, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "Packets were longer than 64 KiB (`chain_too_long`).",
		Sentence: "{count} packets dropped for being longer than 64 KiB.",
		Remedy:   "Make the sender use smaller packets."},
	{Code: SendersCollide, Stage: Assembly, Severity: slog.LevelWarn,
		Meaning:  "Two senders use the same heap count in one stream (`source_conflicts`).",
		Sentence: "Stream {stream}: heap {heap} came from {sender} and from {sender2}. Their heap counts collide, and their packets mix or are lost.",
		Remedy:   "Tell senders apart with {BySender}. If it is one sender with several ports, all is well."},
	{Code: HeapsRepeat, Stage: Assembly, Unit: Heaps, Severity: slog.LevelWarn,
		Meaning:  "Whole heaps came again with the counts of heaps that were there already, and were dropped (`repeated_heaps`). The sender's counts repeat, never change or begin again, or the network has two paths.",
		Sentence: "Stream {stream}: {count} heaps were dropped, as a whole heap with the same count had come less than 2 s before. It was so with heap {heap}, first from {sender} and then from {sender2}.",
		Remedy:   "If they are new heaps, deliver them ({Repeats} deliver). If a second path brings them, nothing is lost."},
	{Code: HeapTooLarge, Stage: Pool, Severity: slog.LevelWarn,
		Meaning:  "A heap was larger than a slot of the pool (`oversize_heap`).",
		Sentence: "Stream {stream}: a heap of {bytes} bytes was refused. The largest that has room is {value} bytes.",
		Remedy:   "Raise {setting} to {suggested}."},
	{Code: SlotsHeld, Stage: Pool, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "No slot was free, as the consumer held more heaps than the pool was sized for (`no_slot`).",
		Sentence: "Stream {stream}: {count} packets refused, as no slot was free: the consumer held more than {value} heaps.",
		Remedy:   "Raise {setting} to {suggested}, or release heaps sooner."},
	{Code: RingOverflow, Stage: Ring, Unit: Packets, Severity: slog.LevelWarn,
		Meaning:  "The ring of finished heaps was full, and heaps were dropped (`ring_full`).",
		Sentence: "Stream {stream}: {share} lost at the ring, {count} packets of finished heaps. The consumer took {duration} per heap at p99.",
		Remedy:   "Raise {setting} to {suggested} or make it faster."},
	{Code: RingBlocked, Stage: Ring, Severity: slog.LevelWarn,
		Meaning:  "Receiving threads waited for the consumer for more than 1 % of the time.",
		Sentence: "Stream {stream}: a full ring kept receiving threads waiting for {blocked}. The consumer took {duration} per heap at p99.",
		Remedy:   "Raise {setting} to {suggested} or make it faster."},
	{Code: ConsumerSlow, Stage: Consumer, Severity: slog.LevelWarn,
		Meaning:  "The ring was full, and the consumer takes longer for a heap than one takes to come. This is said in place of `ring_overflow` or `ring_blocked`.",
		Sentence: "Stream {stream}: the consumer takes {duration} per heap, and a heap comes every {interval}. No ring is long enough for that.",
		Remedy:   "Make the consumer faster, or share its work among several goroutines or programs."},
}
