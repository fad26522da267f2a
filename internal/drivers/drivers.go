// SPDX-License-Identifier: Apache-2.0

// Package drivers is what Linux's drivers of common network cards can do for speadx, by
// their source. docs/drivers.md and speadx doctor say it.
package drivers

// Driver is what Linux's driver of a card can do for speadx, read in its source. None of
// these was run by this project.
type Driver struct {
	Name     string
	Cards    string
	Native   string // Linux version that brought native XDP with redirection; "": none
	ZeroCopy string // Linux version that brought zero-copy on the queues that RSS uses; "": none
	Several  string // Linux version that brought packets in several buffers to native mode; "": none
	Segments string // frames that a packet may span in zero-copy
	MTU      string // largest MTU of native mode where packets have one buffer
	Busy     bool   // sockets have a NAPI id since Linux 6.13, so that --wait busy works
	Resets   string // what attaching the program does
	Losses   string // where packets are counted that the host did not take in time
	Settings string // what the driver needs
}

// SourceRead is which kernel the drivers' source was read in, and when.
const SourceRead = "Linux 6.18.2 and 6.18.35, November 2026; versions by comparing kernels from 4.8 to 6.19"

// Drivers are the drivers of common cards, by their source.
var Drivers = []Driver{
	{
		Name: "ice", Cards: "Intel E810, E82x", Native: "5.6", ZeroCopy: "5.6", Several: "6.3", Segments: "8 (6.6)", MTU: "3046", Busy: true,
		Resets:   "rings are rebuilt, the carrier is gone for a moment",
		Losses:   "`rx_dropped.nic`, `rx_missed_errors`",
		Settings: "the DDP package; as many combined queues as are received on; transmit queues for half of the processors at least",
	},
	{
		Name: "i40e", Cards: "Intel X710, XL710, X722", Native: "4.18", ZeroCopy: "4.20", Several: "6.4", Segments: "8 (6.6)", MTU: "3046",
		Resets:   "the whole PF is reset, and its VFs are told",
		Losses:   "`port.rx_discards`, `rx_missed_errors`",
		Settings: "`ethtool -G … rx` to its largest",
	},
	{
		Name: "ixgbe", Cards: "Intel 82599, X540, X550, E610", Native: "4.14", ZeroCopy: "4.20", MTU: "3046",
		Resets:   "the link goes down and comes up again",
		Losses:   "`rx_missed_errors`, `rx_no_dma_resources`",
		Settings: "`ethtool -K … lro off` first; no VFs, no DCB; at most 128 processors",
	},
	{
		Name: "igc", Cards: "Intel I225, I226", Native: "5.14", ZeroCopy: "5.14", MTU: "1500", Busy: true,
		Resets:   "rings are stopped for a moment, the link stays",
		Losses:   "`rx_missed_errors`, `rx_queue_N_drops`",
		Settings: "MTU 1500; above that generic mode",
	},
	{
		Name: "igb", Cards: "Intel 82575 to I210, I350", Native: "5.10", ZeroCopy: "6.14", MTU: "3046", Busy: true,
		Resets:   "the link goes down and comes up again",
		Losses:   "`rx_missed_errors`, `rx_no_buffer_count`",
		Settings: "the MTU must be set before reception starts; auto does not take zero-copy, which damages data (see What was found)",
	},
	{
		Name: "mlx5_core", Cards: "NVIDIA ConnectX-4 to 7, BlueField", Native: "4.18", ZeroCopy: "6.1", Several: "6.4", Segments: "1", MTU: "3498", Busy: true,
		Resets:   "rings are rebuilt, the link stays",
		Losses:   "`rx_out_of_buffer` (also `rx_missed_errors`), `rx_xsk_buff_alloc_err`",
		Settings: "`ethtool -K … lro off rx-gro-hw off`: while one is on there is neither zero-copy nor native mode (`offload-on`). Zero-copy needs an MTU below 9000. From Linux 5.3 to 6.0 zero-copy has queues of its own; nothing comes on them by itself, and speadx does not open them",
	},
	{
		Name: "mlx4_en", Cards: "NVIDIA ConnectX-3", Native: "5.17", MTU: "3498", Busy: true,
		Resets: "the port is stopped and started", Losses: "`rx_dropped`, `rx_over_errors`", Settings: "none known",
	},
	{
		Name: "bnxt_en", Cards: "Broadcom BCM573xx to BCM575xx", Native: "5.3", Several: "5.19", MTU: "3502", Busy: true,
		Resets:   "rings are rebuilt, the link stays",
		Losses:   "`rx_discards` of each ring, `rx_missed_errors`",
		Settings: "combined channels; header split off; a transmit queue for each receive queue besides",
	},
	{
		Name: "ena", Cards: "Amazon", Native: "5.11", MTU: "3498", Busy: true,
		Resets:   "rings are rebuilt",
		Losses:   "`pps_allowance_exceeded`, `bw_in_allowance_exceeded`",
		Settings: "Amazon's usual MTU of 9001 is refused: `ip link set … mtu 3498`; at most half of the queues: `ethtool -L … combined`",
	},
	{
		Name: "gve", Cards: "Google", Native: "6.4", ZeroCopy: "6.4", Segments: "1", MTU: "2032", Busy: true,
		Resets:   "rings are rebuilt",
		Losses:   "`rx_queue_drop_cnt[N]`, `rx_no_buffers_posted[N]`",
		Settings: "as many receive as transmit queues, at most half of them; LRO and header split off",
	},
	{
		Name: "nfp", Cards: "Netronome Agilio", ZeroCopy: "5.19", Segments: "1", MTU: "3370",
		Resets:   "rings are rebuilt",
		Losses:   "`dev_rx_discards`",
		Settings: "NFD3 firmware; zero-copy only, since its native mode passes nothing to sockets",
	},
	{
		Name: "stmmac", Cards: "many embedded Ethernet cores", Native: "5.14", ZeroCopy: "5.14", Segments: "1", MTU: "1500",
		Resets:   "the carrier is gone for a moment",
		Losses:   "`rx_missed_cntr`, `rx_overflow_cntr`",
		Settings: "MTU 1500; above that generic mode",
	},
	{
		Name: "idpf", Cards: "Intel E2000", Native: "6.18", ZeroCopy: "6.18", Several: "6.18", Segments: "several", MTU: "unknown", Busy: true,
		Resets: "rings are rebuilt", Losses: "unknown", Settings: "Linux 6.18; a free transmit queue for each receive queue",
	},
	{
		Name: "ixgbevf", Cards: "virtual functions of ixgbe", MTU: "",
		Resets: "nothing: generic mode is used", Losses: "the PF counts them", Settings: "its native mode passes nothing to sockets, so auto takes generic mode",
	},
	{
		Name: "hv_netvsc", Cards: "Microsoft Hyper-V, Azure", Native: "5.19", MTU: "3506", Busy: true,
		Resets: "rings are rebuilt", Losses: "unknown", Settings: "LRO off; packets that come through the VF are not seen here",
	},
}

// ByName is the driver of that name; nil if it is not known.
func ByName(name string) *Driver {
	for i := range Drivers {
		if Drivers[i].Name == name {
			return &Drivers[i]
		}
	}
	return nil
}
