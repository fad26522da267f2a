// SPDX-License-Identifier: Apache-2.0

package bench

// Result is what one contestant did under one set of conditions. It is one object
// of the JSON output; docs/json.md says what each key means.
type Result struct {
	// Bench, Contestant and the conditions name the result: no two of a run have
	// all of them in common.
	Bench      string `json:"bench"`      // memory, veth or pool
	Contestant string `json:"contestant"` // whose figures these are
	Conditions

	// Of several trials the median, and the interval in which it lies with 95 %
	// confidence. Rates are of payload, without any header; 0: not measured.
	Gbps     float64 `json:"gbps,omitempty"` // 10⁹ bits a second
	GbpsLow  float64 `json:"gbps_low,omitempty"`
	GbpsHigh float64 `json:"gbps_high,omitempty"`
	Mpps     float64 `json:"mpps,omitempty"`      // 10⁶ packets a second
	NsPerOp  float64 `json:"ns_per_op,omitempty"` // bench pool: time to allocate and release one buffer
	NsLow    float64 `json:"ns_per_op_low,omitempty"`
	NsHigh   float64 `json:"ns_per_op_high,omitempty"`
	Trials   int     `json:"trials,omitempty"`

	// Ratio is the rate divided by that of another contestant under the same
	// conditions, measured in turns with it. It has no interval, Low and High being
	// 0, where one of them took no turns, as spead2_bench.
	Ratio *Ratio `json:"ratio,omitempty"`
	// Gain is the rate divided by that of the same contestant with one thread, measured
	// in turns with it, and GainRatio that divided by what another contestant gains.
	Gain      float64 `json:"gain,omitempty"`
	GainRatio *Ratio  `json:"gain_ratio,omitempty"`

	Allocs *uint64 `json:"allocs,omitempty"` // allocations of memory during the measured part of the trial with the fewest; nil: not counted

	Veth *Veth `json:"veth,omitempty"` // what only bench veth has

	Note    string   `json:"note,omitempty"` // what a reader has to know: why there is no figure, say
	Machine *Machine `json:"machine,omitempty"`
}

// Conditions are what a result was measured under; zero: does not apply.
type Conditions struct {
	Generator string `json:"generator,omitempty"` // bench veth: blast or udp
	Senders   int    `json:"senders,omitempty"`   // bench veth: that send at once, packet by packet in turn
	Packet    int    `json:"packet,omitempty"`    // bench memory: UDP payload of a full packet, bytes; bench veth: SPEAD payload
	Heap      int64  `json:"heap,omitempty"`      // payload of a heap, or the size of a buffer, bytes
	Threads   int    `json:"threads,omitempty"`   // feeding threads
	SameHeap  bool   `json:"same_heap,omitempty"` // the threads share each heap, rather than taking one each
	Touch     string `json:"touch,omitempty"`     // bench pool: what is written to a buffer: none, page (a byte of each 4 KiB) or fill
}

// Ratio is a quotient of two rates of one run.
type Ratio struct {
	To    string  `json:"to"`    // the contestant divided by
	Value float64 `json:"value"` // median over pairs of neighbouring trials
	Low   float64 `json:"low"`   // 95 % confidence interval of the median
	High  float64 `json:"high"`
}

// Veth is what a contestant of bench veth did besides its highest rate without
// loss.
type Veth struct {
	Curve []Point `json:"curve,omitempty"` // of all trials, by rising rate

	// CPU time for a GB (10⁹ bytes) of payload at PacedGbps, which all
	// contestants take without loss but those far behind, which have a pace of
	// their own, in seconds. The machine's is that of the
	// whole machine less that of the same generator at the same rate into
	// XDP_DROP; the process's is its own alone.
	PacedGbps       float64 `json:"paced_gbps,omitempty"`
	MachineCPUPerGB float64 `json:"machine_cpu_s_per_gb,omitempty"`
	ProcessCPUPerGB float64 `json:"process_cpu_s_per_gb,omitempty"`
	PacedLost       uint64  `json:"paced_lost,omitempty"` // packets lost at that rate

	Disturbed *Disturbed `json:"disturbed,omitempty"` // of contestants that are

	RingPeak int `json:"ring_peak,omitempty"` // most frames that ever waited on the RX ring
	RingSize int `json:"ring_size,omitempty"`
}

// Disturbed is what became of packets at a part of the highest rate without loss,
// while all that a program does besides receiving got in the way. The receiver's ring
// of heaps is deep enough for what comes while its consumer stands still.
type Disturbed struct {
	Gbps        float64 `json:"gbps"`        // that was sent
	Seconds     float64 `json:"seconds"`     // for how long
	Sent        uint64  `json:"sent"`        // packets
	Lost        uint64  `json:"lost"`        // of these
	Collections uint64  `json:"collections"` // of garbage
	Readings    uint64  `json:"readings"`    // of the statistics
	Stalls      uint64  `json:"stalls"`      // of the consumer, for 10 ms each
}

// Point is one rate that was tried.
type Point struct {
	OfferedGbps float64 `json:"offered_gbps"` // that reached the interface, on average of the trials
	Trials      int     `json:"trials"`
	Lossy       int     `json:"lossy"`   // trials in which packets were lost
	Sent        uint64  `json:"sent"`    // packets that reached the interface
	Refused     uint64  `json:"refused"` // packets the wire had no room for: nobody's loss
	Lost        uint64  `json:"lost"`    // of the sent ones
	RingPeak    int     `json:"ring_peak,omitempty"`
}

// Machine is where and how a run was made.
type Machine struct {
	CPU     string `json:"cpu"`
	CPUs    int    `json:"cpus"`
	Kernel  string `json:"kernel"`
	Arch    string `json:"arch"`
	Go      string `json:"go"`
	Memory  uint64 `json:"memory"`          // bytes
	L3      uint64 `json:"l3"`              // bytes of last-level cache, as the machine tells
	Pages   string `json:"pages,omitempty"` // what the pool lay on
	Version string `json:"version"`         // of speadx
	Command string `json:"command"`
	Time    string `json:"time"` // when the run began, RFC 3339
}
