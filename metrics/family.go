// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/speadx/speadx/ledger"
)

// family is all metrics of one name.
type family struct {
	name   string // without the namespace
	kind   kind
	labels []string
	help   string // one sentence
	remedy string // one sentence: what to do if it rises; "" if nothing needs doing
	desc   *prometheus.Desc

	fullName, fullHelp string
	shown              int // series of the last scrape
}

type kind string

const (
	counter      kind = "counter"
	gauge        kind = "gauge"
	distribution kind = "histogram"
)

func (k kind) dto() *dto.MetricType {
	switch k {
	case counter:
		return dto.MetricType_COUNTER.Enum()
	case distribution:
		return dto.MetricType_HISTOGRAM.Enum()
	}
	return dto.MetricType_GAUGE.Enum()
}

// Label names. A device is what node_exporter calls so.
const (
	labelStream = "stream"
	labelDevice = "device"
	labelQueue  = "queue"
	labelThread = "thread"
	labelFate   = "fate"
	labelStage  = "stage"
	labelState  = "state"
)

var (
	perStream = []string{labelStream}
	perDevice = []string{labelDevice}
	perQueue  = []string{labelDevice, labelQueue}
	perThread = []string{labelThread}
)

// families are all that a collector shows.
type families struct {
	stream [ledger.NumStreamCounters]family
	device [ledger.NumDeviceCounters]family
	queue  [ledger.NumQueueCounters]family

	receiving, packets, fates, missing, inFlight, unaccounted, skipped, superFrames, lastLoss, diagnosis, build family

	heaps, streamFates, streamInFlight, senders, lastData, since, streamLastLoss, ended family
	assembly, waiting, consumer                                                         family
	slots, highSlots, leastFree, plannedSlots, ring, ringCapacity                       family

	queueInfo, frames, socketInfo, joined family

	busy, idle, blocked, turns, turnAge family
}

// saraoStems are names that the software of MeerKAT has for what the ledger calls otherwise.
var saraoStems = map[ledger.StreamCounter]string{
	ledger.PayloadPlaced:  "bytes",
	ledger.BytesFed:       "datagram_bytes", // its own name is taken by the payload
	ledger.HeapsOvertaken: "too_old_heaps",
}

// newFamilies describes everything, in the order of docs/metrics.md.
func newFamilies() *families {
	f := &families{
		receiving: family{name: "receiving", kind: gauge,
			help: "Whether reception is under way: 1 from its begin until all streams have ended, 0 after that."},
		packets: family{name: "packets_total", kind: counter,
			help: "Packets that were there for one of our endpoints. They are measured apart from the fates."},
		fates: family{name: "fate_packets_total", kind: counter, labels: []string{labelFate, labelStage, "loss"},
			help:   "Packets by what became of them. Each packet has one fate; with packets in flight they add up to packets_total. loss=\"true\" is a packet for us that was lost.",
			remedy: "See the table of fates."},
		missing: family{name: "missing_bytes_total", kind: counter, labels: []string{"cause"},
			help:   "Bytes that should have come to the consumer and did not, by the stage that lost them. A byte is counted when its cause has been decided, some 2 s after its heap left.",
			remedy: "See the table of causes."},
		inFlight: family{name: "in_flight_packets", kind: gauge,
			help: "Packets on the rings, in live heaps, and in heaps that the consumer has not taken yet."},
		unaccounted: family{name: "unaccounted_packets", kind: gauge,
			help:   "Packets less those with a fate and those in flight. It is 0 at rest; while packets flow the parts are not of one instant.",
			remedy: "If it does not return to 0 when no packets come, report it: packets are lost where nothing counts them."},
		skipped: family{name: "skipped_bytes_total", kind: counter,
			help:   "Bytes of TCP connections in which no packet began.",
			remedy: "Look for a sender that sends something other than SPEAD."},
		superFrames: family{name: "super_frame_packets_total", kind: counter,
			help: "Packets beyond the first of a frame that held several, as senders on the same machine make them."},
		lastLoss: family{name: "last_loss_timestamp_seconds", kind: gauge,
			help:   "When the last packet was lost at any stage, exact to a second; 0 is never.",
			remedy: "See fate_packets_total for where it was lost."},
		diagnosis: family{name: "diagnosis_timestamp_seconds", kind: gauge, labels: []string{"code", "severity"},
			help:   "When the receiver last found something wrong, by code. A code that was never found is not there.",
			remedy: "See the table of diagnoses in json.md, and /status for the sentence."},
		build: family{name: "build_info", kind: gauge, labels: []string{"version", "revision", "goversion"},
			help: "The version of the program; the value is 1."},

		heaps: family{name: "input_heaps_total", kind: counter, labels: perStream,
			help: "Heaps that left the assembler, complete or not. Stop heaps are not counted."},
		streamFates: family{name: "input_fate_packets_total", kind: counter, labels: []string{labelStream, labelFate},
			help:   "Packets of the stream by what became of them in the assembler and after it.",
			remedy: "See the table of fates."},
		streamInFlight: family{name: "input_in_flight_packets", kind: gauge, labels: perStream,
			help: "Packets in live heaps, and in heaps that the consumer has not taken yet."},
		senders: family{name: "input_senders", kind: gauge, labels: perStream,
			help:   "Senders heard, by address and port. The 1025th and all after it are one.",
			remedy: "If there are more than you have, find the program that sends to this port."},
		lastData: family{name: "input_last_data_timestamp_seconds", kind: gauge, labels: perStream,
			help:   "When the last packet of the stream came, exact to a second; 0 is never.",
			remedy: "If it stands still, see whether the sender sends, and whether the packets reach this machine."},
		since: family{name: "input_receiving_since_timestamp_seconds", kind: gauge, labels: perStream,
			help: "When the stream began to be received; 0 while it has no endpoint, as after they were removed."},
		streamLastLoss: family{name: "input_last_loss_timestamp_seconds", kind: gauge, labels: perStream,
			help:   "When the last packet of the stream was lost in the assembler or after it, exact to a second; 0 is never.",
			remedy: "See input_fate_packets_total for where it was lost."},
		ended: family{name: "input_ended", kind: gauge, labels: perStream,
			help: "Whether the stream has ended, by its stop heap, its file or its connection."},
		assembly: family{name: "heap_assembly_seconds", kind: distribution, labels: perStream,
			help:   "Time from a heap's first packet to its last one, of the heaps that the consumer took.",
			remedy: "If it grows, senders lag behind each other or a queue is late; {ConcurrentHeaps} has to cover it."},
		waiting: family{name: "heap_wait_seconds", kind: distribution, labels: perStream,
			help:   "Time from a heap's last packet, or from when it was given up, to when the consumer took it.",
			remedy: "If it grows, the consumer is too slow: make it faster, or let more heaps wait for it with {RingHeaps}."},
		consumer: family{name: "heap_consumer_seconds", kind: distribution, labels: perStream,
			help:   "Time that the consumer took for a heap: to the next one while heaps wait, else to its release.",
			remedy: "If it grows, the consumer is getting slower: see ring_heaps and pool_slots for how much room is left."},
		slots: family{name: "pool_slots", kind: gauge, labels: []string{labelStream, labelState},
			help: "Slots of the pool by state: free, filling (a heap is assembled), ready (it waits for the consumer), held (the consumer has it)."},
		highSlots: family{name: "pool_high_slots", kind: gauge, labels: []string{labelStream, labelState},
			help:   "The most slots that were in a state at once: filling, ready, held.",
			remedy: "Compare it with pool_planned_slots: at that number the next heap is refused, dropped or waits."},
		leastFree: family{name: "pool_least_free_slots", kind: gauge, labels: perStream,
			help:   "The fewest slots for large heaps that were free at once.",
			remedy: "At 0 the pool ran empty: release heaps sooner, or raise {ConsumerHeaps}."},
		plannedSlots: family{name: "pool_planned_slots", kind: gauge, labels: []string{labelStream, "use"},
			help: "What the pool was sized for: live heaps, heaps in the ring, heaps held by the consumer, and one for each thread."},
		ring: family{name: "ring_heaps", kind: gauge, labels: perStream,
			help:   "Finished heaps that wait for the consumer.",
			remedy: "Near ring_capacity_heaps the consumer is too slow: make it faster, or raise {RingHeaps}."},
		ringCapacity: family{name: "ring_capacity_heaps", kind: gauge, labels: perStream,
			help: "How many finished heaps may wait for the consumer."},

		queueInfo: family{name: "queue_info", kind: gauge, labels: []string{labelDevice, labelQueue, "driver", "mode", "multi_buffer", "pages"},
			help:   "How the queue is received: mode zerocopy, native or generic; the value is 1.",
			remedy: "If the mode is not the one you expect, the first lines of the program say why."},
		frames: family{name: "umem_frames", kind: gauge, labels: []string{labelDevice, labelQueue, labelState},
			help:   "Packet buffers of the queue by state: fill (the kernel can take them), driver, ring (they wait for the thread), hand (the thread has them), lost.",
			remedy: "With few at fill and many at ring the thread is late: give it a processor of its own ({CPUs}), or raise {Frames}."},
		socketInfo: family{name: "socket_info", kind: gauge, labels: []string{labelStream, "transport", "gro"},
			help: "Streams that are received on kernel sockets, over udp or tcp; the value is 1."},
		joined: family{name: "multicast_joined", kind: gauge, labels: []string{labelDevice, "group"},
			help:   "Whether the multicast group is joined on the interface.",
			remedy: "0 while it should receive: see the log for why reception ended."},

		busy: family{name: "thread_busy_seconds_total", kind: counter, labels: perThread,
			help:   "Time that the receiving thread worked.",
			remedy: "Busy for more than 85 % of the time, it has no reserve: use more queues, or a faster processor."},
		idle: family{name: "thread_idle_seconds_total", kind: counter, labels: perThread,
			help: "Time that the receiving thread waited for packets, spinning and busy polling included."},
		blocked: family{name: "thread_blocked_seconds_total", kind: counter, labels: perThread,
			help:   "Time that the receiving thread waited for the consumer, as the ring of finished heaps was full.",
			remedy: "Make the consumer faster, or let more heaps wait for it with {RingHeaps}."},
		turns: family{name: "thread_turns_total", kind: counter, labels: perThread,
			help: "Times that the receiving thread came round its loop: at least 10 a second while it is not blocked."},
		turnAge: family{name: "thread_turn_age_seconds", kind: gauge, labels: perThread,
			help:   "Time since the receiving thread last came round its loop.",
			remedy: "More than a second while it is not blocked: the thread gets no processor time, or hangs."},
	}
	for i := range f.stream {
		r := ledger.StreamCounter(i).Row()
		stem := saraoStems[ledger.StreamCounter(i)]
		if stem == "" {
			stem = r.Name
		}
		f.stream[i] = counted("input_", stem, r, perStream)
	}
	for i := range f.device {
		r := ledger.DeviceCounter(i).Row()
		f.device[i] = counted("device_", r.Name, r, perDevice)
	}
	for i := range f.queue {
		r := ledger.QueueCounter(i).Row()
		f.queue[i] = counted("queue_", r.Name, r, perQueue)
	}
	return f
}

// counted is the family of a row of the ledger.
func counted(prefix, stem string, r *ledger.Row, labels []string) family {
	f := family{name: prefix + stem, kind: counter, labels: labels, help: r.Meaning, remedy: r.Remedy}
	if r.Max {
		f.kind = gauge
	}
	// A name that ends in a plural says what it counts.
	if unit := r.Unit; !strings.HasSuffix(stem, "s") && unit != ledger.Times && unit != ledger.Calls {
		f.name += "_" + string(unit)
	}
	if f.kind == counter {
		f.name += "_total"
	}
	return f
}

// all are the families in the order of docs/metrics.md, in sections.
func (f *families) all() []section {
	pointers := func(list []family) (out []*family) {
		for i := range list {
			out = append(out, &list[i])
		}
		return out
	}
	return []section{
		{"The receiver", []*family{&f.receiving, &f.packets, &f.fates, &f.missing, &f.inFlight, &f.unaccounted, &f.skipped, &f.superFrames, &f.lastLoss, &f.diagnosis, &f.build}},
		{"Each stream", append([]*family{&f.heaps}, append(pointers(f.stream[:]),
			&f.streamFates, &f.streamInFlight, &f.senders, &f.lastData, &f.since, &f.streamLastLoss, &f.ended, &f.assembly, &f.waiting, &f.consumer)...)},
		{"The pool and the ring of each stream", []*family{&f.slots, &f.highSlots, &f.leastFree, &f.plannedSlots, &f.ring, &f.ringCapacity}},
		{"Each device and queue", append(append([]*family{&f.queueInfo, &f.frames, &f.socketInfo, &f.joined}, pointers(f.device[:])...), pointers(f.queue[:])...)},
		{"Each receiving thread", []*family{&f.busy, &f.idle, &f.blocked, &f.turns, &f.turnAge}},
	}
}

type section struct {
	title    string
	families []*family
}

// describe makes the descriptions.
func (f *families) describe(namespace string, setting func(string) string) {
	for _, s := range f.all() {
		for _, v := range s.families {
			v.fullName, v.fullHelp = prometheus.BuildFQName(namespace, "", v.name), ledger.Fill(v.help, setting)
			v.desc = prometheus.NewDesc(v.fullName, v.fullHelp, v.labels, nil)
		}
	}
}
