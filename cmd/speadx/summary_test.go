// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/speadx/speadx/ledger"

// The summary as a reader of --format json sees it. The keys are an interface: they are
// written down here a second time, so that a table which loses one fails the tests.

type jsonSummary struct {
	Type string  `json:"type"`
	Time float64 `json:"time"`
	jsonCounts
	Unaccounted          int64           `json:"unaccounted"`
	LostPackets          uint64          `json:"lost_packets"`
	MissingBytes         uint64          `json:"missing_bytes"`
	MissingByCause       jsonCauses      `json:"missing_bytes_by_cause"`
	DeliveredBytes       uint64          `json:"delivered_bytes"`
	VerifiedHeaps        uint64          `json:"verified_heaps"`
	MismatchedHeaps      uint64          `json:"mismatched_heaps"`
	SuperFrames          uint64          `json:"super_frames"`
	SkippedBytes         uint64          `json:"skipped_bytes"`
	KernelDroppedAtLeast bool            `json:"kernel_dropped_at_least"`
	Seconds              float64         `json:"seconds"`
	FlowSeconds          float64         `json:"flow_seconds"`
	Gbps                 float64         `json:"gbps"`
	Verdict              jsonVerdict     `json:"verdict"`
	Streams              []jsonStream    `json:"streams"`
	Devices              []jsonDevice    `json:"devices"`
	Threads              []jsonThread    `json:"threads"`
	Groups               []jsonGroup     `json:"groups"`
	Diagnoses            []jsonDiagnosis `json:"diagnoses"`
}

type jsonCounts struct {
	Heaps             uint64    `json:"heaps"`
	CompleteHeaps     uint64    `json:"complete_heaps"`
	IncompleteHeaps   uint64    `json:"incomplete_heaps"`
	Packets           uint64    `json:"packets"`
	Bytes             uint64    `json:"bytes"`
	Fates             jsonFates `json:"fates"`
	InFlight          uint64    `json:"in_flight"`
	PayloadBytes      uint64    `json:"payload_bytes"`
	DeliveredHeaps    uint64    `json:"delivered_heaps"`
	DiscardedHeaps    uint64    `json:"discarded_heaps"`
	RingFullHeaps     uint64    `json:"ring_full_heaps"`
	ShutdownHeaps     uint64    `json:"shutdown_heaps"`
	EvictedHeaps      uint64    `json:"evicted_heaps"`
	AgedHeaps         uint64    `json:"aged_heaps"`
	FlushedHeaps      uint64    `json:"flushed_heaps"`
	OvertakenHeaps    uint64    `json:"overtaken_heaps"`
	SinglePacketHeaps uint64    `json:"single_packet_heaps"`
	StopHeaps         uint64    `json:"stop_heaps"`
	Repeated          uint64    `json:"repeated_heaps"`
	Batches           uint64    `json:"batches"`
	MaxBatch          uint64    `json:"max_batch"`
	SourceConflicts   uint64    `json:"source_conflicts"`
	Blocked           uint64    `json:"blocked"`
	BlockedSeconds    float64   `json:"blocked_seconds"`
	MissingHeaps      uint64    `json:"missing_heaps"`
	IncompleteBytes   uint64    `json:"incomplete_bytes"`
	MissingHeapBytes  uint64    `json:"missing_heap_bytes"`
	DiscardedBytes    uint64    `json:"discarded_bytes"`
	RingFullBytes     uint64    `json:"ring_full_bytes"`
	ShutdownBytes     uint64    `json:"shutdown_bytes"`
}

type jsonCauses struct {
	Network  uint64 `json:"network"`
	NIC      uint64 `json:"nic"`
	Program  uint64 `json:"program"`
	Socket   uint64 `json:"socket"`
	Parse    uint64 `json:"parse"`
	Assembly uint64 `json:"assembly"`
	Pool     uint64 `json:"pool"`
	Ring     uint64 `json:"ring"`
	Consumer uint64 `json:"consumer"`
}

type jsonFates [ledger.NumFates]uint64

type jsonStream struct {
	Name string `json:"stream"`
	jsonCounts
	OversizeBytes int64         `json:"oversize_bytes"`
	Window        int           `json:"window"`
	LateBy        int64         `json:"late_by_heaps"`
	Senders       int           `json:"senders"`
	Conflict      *jsonConflict `json:"source_conflict,omitempty"`
	Pool          jsonSlots     `json:"pool"`
}

type jsonConflict struct {
	Cnt     uint64   `json:"cnt"`
	Senders []string `json:"senders"`
}

type jsonSlots struct {
	Live           int `json:"live"`
	Ring           int `json:"ring"`
	Held           int `json:"held"`
	Threads        int `json:"threads"`
	HighLive       int `json:"high_live"`
	HighRing       int `json:"high_ring"`
	HighHeld       int `json:"high_held"`
	LeastFree      int `json:"least_free"`
	LeastFreeSmall int `json:"least_free_small"`
	NowLive        int `json:"now_live"`
	NowRing        int `json:"now_ring"`
	NowHeld        int `json:"now_held"`
	NowFree        int `json:"now_free"`
	TableBytes     int `json:"table_bytes"`
}

type jsonDevice struct {
	Name      string      `json:"device"`
	Mode      string      `json:"mode"`
	Driver    string      `json:"driver"`
	MTU       int         `json:"mtu"`
	Matched   uint64      `json:"matched"`
	NoSocket  uint64      `json:"no_socket"`
	Fragments uint64      `json:"fragments"`
	Missed    uint64      `json:"missed"`
	Passed    uint64      `json:"passed"`
	AllocFail uint64      `json:"nic_alloc_fail"`
	Queues    []jsonQueue `json:"queues"`
}

type jsonQueue struct {
	Queue              int    `json:"queue"`
	RingSize           int    `json:"ring_size"`
	Matched            uint64 `json:"matched"`
	NoSocket           uint64 `json:"no_socket"`
	Packets            uint64 `json:"packets"`
	Chunks             uint64 `json:"chunks"`
	Batches            uint64 `json:"batches"`
	ChainTooLong       uint64 `json:"chain_too_long"`
	InvalidPackets     uint64 `json:"invalid_packets"`
	InvalidDescriptors uint64 `json:"invalid_descriptors"`
	LostFrames         uint64 `json:"lost_frames"`
	Kicks              uint64 `json:"kicks"`
	RingHigh           uint64 `json:"ring_high"`
	RxDropped          uint64 `json:"rx_dropped"`
	RxRingFull         uint64 `json:"rx_ring_full"`
	RxInvalidDescs     uint64 `json:"rx_invalid_descs"`
	RxFillRingEmpty    uint64 `json:"rx_fill_ring_empty"`
	NICDrops           uint64 `json:"nic_drops"`
	AllocFail          uint64 `json:"nic_alloc_fail"`
}

type jsonGroup struct {
	Group     string `json:"group"`
	Interface string `json:"interface"`
	Joined    bool   `json:"joined"`
}

type jsonThread struct {
	Name             string  `json:"thread"`
	CPU              int     `json:"cpu"`
	State            string  `json:"state"`
	Turns            uint64  `json:"turns"`
	SinceTurnSeconds float64 `json:"since_turn_seconds"`
	BusySeconds      float64 `json:"busy_seconds"`
	IdleSeconds      float64 `json:"idle_seconds"`
	BlockedSeconds   float64 `json:"blocked_seconds"`
}

// jsonDiagnosis has the keys of every kind; those that do not apply are absent.
type jsonDiagnosis struct {
	Code            string  `json:"code"`
	Stage           string  `json:"stage"`
	Severity        string  `json:"severity"`
	Sentence        string  `json:"sentence"`
	Stream          string  `json:"stream"`
	Device          string  `json:"device"`
	Source          string  `json:"source"`
	Queue           int     `json:"queue"`
	Count           uint64  `json:"count"`
	Of              uint64  `json:"of"`
	Bytes           int64   `json:"bytes"`
	Seconds         float64 `json:"seconds"`
	First           float64 `json:"first"`
	Last            float64 `json:"last"`
	Setting         string  `json:"setting"`
	Value           int64   `json:"value"`
	Suggested       int64   `json:"suggested"`
	Heap            uint64  `json:"heap"`
	Sender          string  `json:"sender"`
	Sender2         string  `json:"sender2"`
	Err             string  `json:"err"`
	Fate            string  `json:"fate"`
	Interval        float64 `json:"interval_seconds"`
	Blocked         float64 `json:"blocked_seconds"`
	Every           uint64  `json:"every"`
	Modulo          uint64  `json:"modulo"`
	FirstGap        uint64  `json:"first_gap_heap"`
	FirstGapHeaps   uint64  `json:"first_gap_heaps"`
	FirstGapTime    float64 `json:"first_gap_time"`
	LargestGap      uint64  `json:"largest_gap_heap"`
	LargestGapHeaps uint64  `json:"largest_gap_heaps"`
	LargestGapTime  float64 `json:"largest_gap_time"`

	Cause string            `json:"cause"`
	Where []jsonPlace       `json:"where"`
	Seen  map[string]uint64 `json:"seen"`
}

type jsonPlace struct {
	Device    string   `json:"device"`
	Mode      string   `json:"mode"`
	Queues    []int    `json:"queues"`
	Addresses []string `json:"addresses"`
	Groups    int      `json:"groups"`
	Up        bool     `json:"up"`
}

type jsonVerdict struct {
	OK        bool     `json:"ok"`
	Codes     []string `json:"codes"`
	Sentence  string   `json:"sentence"`
	Expected  *uint64  `json:"expected_heaps"`
	Complete  uint64   `json:"complete_heaps"`
	Lost      uint64   `json:"lost_heaps"`
	Discarded uint64   `json:"discarded_heaps"`
}
