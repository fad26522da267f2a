// SPDX-License-Identifier: Apache-2.0

package doctor

// Check looks at one thing. Exactly one of the functions is set: it is asked once, or for
// each interface, or for each source on each of its interfaces.
type Check struct {
	Code string // stable: scripts compare it
	Area string
	Look string // what is read
	Warn string // when the outcome is warn; "" never
	Fail string // when it is fail; "" never
	Cost string // what it costs; the verdict may say it more exactly
	Fix  string // the remedy, for the document; the verdict has the exact command

	machine func(*Facts) verdict
	device  func(*Facts, *Device) verdict
	traffic func(*Facts, *Traffic) verdict
}

// The areas, in the order of the report.
const (
	areaKernel     = "Kernel and privileges"
	areaMemory     = "Memory"
	areaProcessors = "Processors"
	areaInterface  = "Interface"
	areaXDP        = "XDP"
	areaQueues     = "Queues"
	areaNetwork    = "Network stack"
	areaTraffic    = "Packets of a source"
)

// Checks are all checks, in the order of the report. In Fix, IFACE is the interface, N a
// number and PROGRAM the path of speadx.
var Checks = []Check{
	{
		Code: "kernel", Area: areaKernel, Look: "the kernel's release",
		Fail: "older than 5.11",
		Cost: "speadx has no AF_XDP there",
		Fix:  "`apt-get install linux-image-amd64`, or what the distribution names its newest kernel", machine: kernelCheck,
	},
	{
		Code: "xdp_socket", Area: areaKernel, Look: "whether an AF_XDP socket opens; it is closed at once",
		Fail: "the kernel has none, or refuses it",
		Cost: "reception falls back to UDP sockets",
		Fix:  "a kernel with CONFIG_XDP_SOCKETS; otherwise the remedy of `capabilities` or `seccomp`", machine: socketCheck,
	},
	{
		Code: "capabilities", Area: areaKernel, Look: "the effective capabilities",
		Warn: "CAP_IPC_LOCK or CAP_SYS_NICE is missing", Fail: "CAP_NET_RAW, CAP_NET_ADMIN or CAP_BPF is missing",
		Cost: "without CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF packets come through UDP sockets",
		Fix:  "`sudo setcap cap_net_raw,cap_net_admin,cap_bpf,cap_ipc_lock,cap_sys_nice+ep PROGRAM`", machine: capabilityCheck,
	},
	{
		Code: "seccomp", Area: areaKernel, Look: "the seccomp mode, and whether an XDP program loads; it is attached nowhere",
		Fail: "a program is refused although the capabilities are there",
		Cost: "reception falls back to UDP sockets",
		Fix:  "`podman run --security-opt seccomp=unconfined …`, or a profile that allows bpf(2)", machine: seccompCheck,
	},
	{
		Code: "user_namespace", Area: areaKernel, Look: "/proc/self/uid_map",
		Fail: "the process is in a user namespace of its own",
		Cost: "capabilities of a user namespace do not count for XDP programs: packets come through UDP sockets",
		Fix:  "`podman run --userns=host …`, as root", machine: userNamespaceCheck,
	},
	{
		Code: "memlock", Area: areaMemory, Look: "RLIMIT_MEMLOCK, against the packet buffers of all queues",
		Fail: "the limit is smaller, and CAP_IPC_LOCK is missing",
		Cost: "the packet buffers are refused: AF_XDP does not start",
		Fix:  "`sudo prlimit --memlock=unlimited --pid $$` in the shell, or `LimitMEMLOCK=infinity` in the systemd unit", machine: memlockCheck,
	},
	{
		Code: "hugepages", Area: areaMemory, Look: "free pages of 2 MiB and 1 GiB, and transparent huge pages, against the pool and the packet buffers",
		Warn: "there are too few",
		Cost: "each packet costs more TLB misses, and a start takes longer",
		Fix:  "`echo N > /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages`", machine: hugepageCheck,
	},
	{
		Code: "memory_limit", Area: areaMemory, Look: "memory.max and hugetlb.*.max (cgroup v2), memory.limit_in_bytes and hugetlb.*.limit_in_bytes (v1)",
		Fail: "less is left than the pool and the packet buffers need",
		Cost: "the pool is refused: reception does not start",
		Fix:  "`systemctl set-property UNIT MemoryMax=…`, or `podman run --memory …`", machine: memoryLimitCheck,
	},
	{
		Code: "cpu_quota", Area: areaProcessors, Look: "cpu.max (cgroup v2) and cpu.cfs_quota_us (v1)",
		Warn: "there is a quota",
		Cost: "when it is used up all threads stop, for up to 100 ms: that is long enough to lose packets",
		Fix:  "`systemctl set-property UNIT CPUQuota=`, or a container with whole processors", machine: quotaCheck,
	},
	{
		Code: "isolated_cpus", Area: areaProcessors, Look: "/sys/devices/system/cpu/isolated",
		Warn: "there are isolated processors, and this process may not run on any of them",
		Cost: "receiving threads share processors with everything else",
		Fix:  "`speadx recv --cpus LIST`", machine: isolatedCheck,
	},
	{
		Code: "processors", Area: areaProcessors, Look: "the processors that this process may run on, against the receive queues",
		Warn: "there are fewer processors than queues",
		Cost: "receiving threads share processors, and the consumer has none of its own",
		Fix:  "`ethtool -L IFACE combined N`, or more processors for the container or the unit", machine: processorsCheck,
	},
	{
		Code: "governor", Area: areaProcessors, Look: "scaling_governor of the processors that this process may run on",
		Warn: "it is neither performance nor schedutil",
		Cost: "a processor that was idle is slow at first, and packets are lost at the start of a burst",
		Fix:  "`cpupower frequency-set --governor performance`", machine: governorCheck,
	},
	{
		Code: "interface_up", Area: areaInterface, Look: "whether the interface is switched on and has a carrier",
		Fail: "it is off, or has no carrier", Cost: "nothing arrives",
		Fix: "`ip link set dev IFACE up`", device: upCheck,
	},
	{
		Code: "bridge_port", Area: areaInterface, Look: "the device that the interface belongs to",
		Warn: "it is a port of a bridge",
		Cost: "addresses and groups belong to the bridge: UDP sockets get nothing from the port, and the bridge forwards what no program takes",
		Fix:  "`ip link set dev IFACE nomaster`, or `-i BRIDGE`", device: bridgeCheck,
	},
	{
		Code: "driver", Area: areaInterface, Look: "the driver, against docs/drivers.md",
		Warn: "the kernel is older than the driver's native XDP, or than its zero-copy if that can be used",
		Cost: "a slower mode is used", Fix: "a newer kernel", device: driverCheck,
	},
	{
		Code: "numa", Area: areaInterface, Look: "the NUMA node of the card, and the processors of it that this process may run on",
		Warn: "it may run on none of them", Cost: "each packet crosses the link between the sockets",
		Fix: "`numactl --cpunodebind=N speadx recv …`", device: numaCheck,
	},
	{
		Code: "irq_placement", Area: areaInterface, Look: "/proc/interrupts and /proc/irq/N/smp_affinity_list of the receive queues",
		Warn: "several queues interrupt one processor, or processors far from the card",
		Cost: "the interrupts of all queues share one processor, or packets cross the link between the sockets",
		Fix:  "`echo CPU > /proc/irq/N/smp_affinity_list`", device: irqCheck,
	},
	{
		Code: "irqbalance", Area: areaInterface, Look: "running processes, and whether the interface has interrupts",
		Warn: "irqbalance runs", Cost: "it moves the interrupts of the card, also to the processors of the receiving threads",
		Fix: "`systemctl disable --now irqbalance`", device: irqbalanceCheck,
	},
	{
		Code: "rx_ring", Area: areaInterface, Look: "descriptors of a receive ring, and the most there can be",
		Warn: "there can be more", Cost: "a short stall of the host already loses packets, which the card counts as missed",
		Fix: "`ethtool -G IFACE rx N`", device: ringCheck,
	},
	{
		Code: "coalescing", Area: areaInterface, Look: "rx-usecs, the ring and the link speed",
		Warn: "more than half of the ring can fill between two interrupts", Cost: "packets are lost when an interrupt is late",
		Fix: "`ethtool -C IFACE adaptive-rx off rx-usecs N`", device: coalesceCheck,
	},
	{
		Code: "flow_control", Area: areaInterface, Look: "pause frames",
		Warn: "they are on", Cost: "one slow receiver makes the switch hold back a group, or drop it, for all receivers",
		Fix: "`ethtool -A IFACE autoneg off rx off tx off`", device: pauseCheck,
	},
	{
		Code: "native_xdp", Area: areaXDP, Look: "what the driver says of itself (netdev generic netlink, Linux 6.3)",
		Warn: "the driver has no native XDP, or its native XDP cannot pass packets to sockets",
		Cost: "generic mode: the network stack handles each packet first",
		Fix:  "a card of docs/drivers.md; for a virtual interface the device below it", device: nativeCheck,
	},
	{
		Code: "lro", Area: areaXDP, Look: "LRO and hardware GRO",
		Warn: "one is on", Cost: "drivers refuse native XDP",
		Fix: "`ethtool -K IFACE lro off rx-gro-hw off`", device: lroCheck,
	},
	{
		Code: "mtu_needs_frags", Area: areaXDP, Look: "the MTU, and whether driver and kernel take packets in several frames",
		Warn: "the MTU is larger than a frame, and they do not",
		Cost: "mode auto takes a slower mode: generic, or UDP sockets before Linux 6.6",
		Fix:  "`ip link set dev IFACE mtu N`, if the senders' packets fit", device: fragsCheck,
	},
	{
		Code: "zero_copy", Area: areaXDP, Look: "whether the driver has zero-copy, and for how many frames of a packet",
		Warn: "it has, and this MTU needs more frames", Cost: "native mode: the kernel copies each packet once",
		Fix: "`ip link set dev IFACE mtu 3814`, if the senders' packets fit", device: zeroCopyCheck,
	},
	{
		Code: "other_program", Area: areaXDP, Look: "the XDP program on the interface, its id, its name, and the processes that hold it",
		Fail: "there is one that is not speadx's", Cost: "speadx displaces no program: AF_XDP does not start",
		Fix: "`kill PID` of its owner, `ip link set dev IFACE xdp off`, or `xdp-loader unload IFACE --all`", device: programCheck,
	},
	{
		Code: "gro", Area: areaXDP, Look: "rx-gro-list and rx-udp-gro-forwarding",
		Warn: "one is on", Cost: "generic mode gets several packets as one, and takes them apart again",
		Fix: "`ethtool -K IFACE rx-gro-list off rx-udp-gro-forwarding off`", device: groCheck,
	},
	{
		Code: "vlan_stripping", Area: areaXDP, Look: "rx-vlan-hw-parse, and whether the sources are on a VLAN",
		Warn: "the card takes the tag out of the frame, and the source's packets came with tags of several VLANs",
		Cost: "the program cannot tell the VLANs apart: packets of all of them are received",
		Fix:  "`ethtool -K IFACE rxvlan off`", device: vlanCheck,
	},
	{
		Code: "checksum", Area: areaXDP, Look: "rx-checksum",
		Warn: "it is off", Cost: "UDP sockets make the kernel sum up each packet; AF_XDP does not verify checksums",
		Fix: "`ethtool -K IFACE rx on`", device: checksumCheck,
	},
	{
		Code: "queues_occupied", Area: areaQueues, Look: "receive queues that an AF_XDP socket is bound to, and the processes that hold them",
		Fail: "a program other than speadx has one", Cost: "a queue takes one socket: speadx cannot bind it",
		Fix: "`kill PID`, or `speadx recv --queues LIST` without it", device: occupiedCheck,
	},
	{
		Code: "queues_unserved", Area: areaQueues, Look: "bound queues, against those that packets can arrive on by the RSS table",
		Fail: "some are bound, and packets can arrive on others",
		Cost: "the receiver gets no packet of these queues: they go to the kernel",
		Fix:  "start speadx recv without --queues, or `ethtool -X IFACE equal N`", device: unservedCheck,
	},
	{
		Code: "rss", Area: areaQueues, Look: "the RSS indirection table, its hash, and the fields of a packet that it is made of",
		Warn: "the sources differ in ports only, and the hash does not contain them",
		Cost: "all streams arrive on one queue, and one thread receives them all",
		Fix:  "`ethtool -N IFACE rx-flow-hash udp4 sdfn`", device: rssCheck,
	},
	{
		Code: "shared_queues", Area: areaQueues, Look: "the speadx receivers that share the interface, their queues and endpoints, and the steering rules",
		Warn: "no rule leads an endpoint to a queue of its receiver",
		Cost: "a packet that arrives on another receiver's queue goes to the kernel: its receiver does not get it",
		Fix:  "`ethtool -N IFACE flow-type udp4 dst-ip A dst-port P action N`, a command for each endpoint", device: sharedCheck,
	},
	{
		Code: "rp_filter", Area: areaNetwork, Look: "net.ipv4.conf.all.rp_filter and that of the interface; the larger counts",
		Warn: "it is 1 (strict)",
		Cost: "UDP sockets lose the packets of senders whose return route is another interface, as is usual with multicast; AF_XDP is before that",
		Fix:  "`sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.IFACE.rp_filter=2`", device: rpFilterCheck,
	},
	{
		Code: "rmem_max", Area: areaNetwork, Look: "net.core.rmem_max",
		Warn: "it is below 64 MiB, and CAP_NET_ADMIN is missing", Cost: "UDP sockets get a smaller buffer, and lose packets in shorter stalls",
		Fix: "`sysctl -w net.core.rmem_max=67108864`", machine: rmemCheck,
	},
	{
		Code: "memberships", Area: areaNetwork, Look: "/proc/net/igmp and igmp6: the multicast groups of the interface",
		Fail: "the interface takes no groups, or speadx receives on it and a group of the sources is not joined",
		Cost: "the network does not send the group here",
		Fix:  "`ip link set dev IFACE multicast on`, or start speadx recv again", device: groupCheck,
	},
	{
		Code: "traffic", Area: areaTraffic, Look: "packets of the source, by a packet socket",
		Fail: "there are none", Cost: "nothing would be received",
		Fix: "look at the sender, the switch port and IGMP snooping: `tcpdump -ni IFACE 'igmp or udp port N'`", traffic: trafficCheck,
	},
	{
		Code: "spead", Area: areaTraffic, Look: "the SPEAD header of each packet",
		Warn: "some are not SPEAD, or of a length that contradicts their header", Fail: "none is SPEAD",
		Cost: "the receiver counts them and discards them",
		Fix:  "`tcpdump -ni IFACE -X udp port N` shows who sends what", traffic: speadCheck,
	},
	{
		Code: "fragments", Area: areaTraffic, Look: "IP fragments",
		Fail: "there are some", Cost: "the XDP program leaves fragments to the kernel: their packets are not received by AF_XDP",
		Fix: "a packet size of the sender that fits the MTU of the path; `speadx recv --mode udp` receives them meanwhile", traffic: fragmentCheck,
	},
	{
		Code: "senders", Area: areaTraffic, Look: "addresses of the senders, and their heap counts",
		Warn: "two senders use one heap count", Cost: "their packets land in one heap, and are counted as conflicts",
		Fix: "`speadx recv --by-source`", traffic: senderCheck,
	},
	{
		Code: "flow_queue", Area: areaTraffic, Look: "the queue that packets arrive on; the Toeplitz hash of each sender and steering rules say which it should be",
		Fail: "other queues of the interface are bound, and this one is not", Cost: "the receiver gets none of these packets: they go to the kernel",
		Fix: "start speadx recv without --queues, or `ethtool -N IFACE flow-type udp4 dst-ip A dst-port P action N`", traffic: flowCheck,
	},
}
