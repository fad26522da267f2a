package heap

import "github.com/speadx/speadx/spead"

// Fate is what became of a packet. Its String is the key of the JSON summary
// and the reason label of the metrics, so the words are an interface.
type Fate uint8

const (
	// Fates of the heap a packet was placed in, settled with the heap.

	Delivered           Fate = iota // in a complete heap that a consumer took
	DeliveredIncomplete             // in an incomplete heap that a consumer took
	DiscardedIncomplete             // in a heap that left incomplete by window, age or stop, and was not asked for
	RingFull                        // in a heap dropped because the ring of finished heaps was full

	// Fates of a packet's own, within the assembler.

	Duplicate      // every byte of it was there already
	Overlap        // some bytes of it were there already
	Late           // its heap has left, incomplete, and is remembered
	Empty          // no payload: it gave its item pointers
	StreamControl  // of a stop heap, which ends the stream and is not delivered
	TooShort       // shorter than a SPEAD header
	BadMagic       // magic or version is not SPEAD 4
	BadFlavour     // widths do not make SPEAD-64-*
	FlavourDiffers // flavour is not that of its heap
	ItemsOverflow  // more item pointers than the packet has room for
	MissingItems   // no immediate HEAP_CNT, PAYLOAD_OFFSET or PAYLOAD_LENGTH
	PayloadOverflow
	SizeMismatch   // the datagram is longer than the packet in it
	HeapOverflow   // payload would end beyond HEAP_LENGTH
	LengthConflict // HEAP_LENGTH differs from the heap's, or is less than what the heap already has
	UnsizedRefused // no HEAP_LENGTH, and unsized heaps are not accepted
	OversizeHeap   // heap larger than the largest heap there is room for
	TooManyItems   // heap would have more item pointers than there is room for
	TooManyRanges  // heap would be in more pieces than there is room for
	HeadersSplit   // item pointers reach beyond the packet's first segment
	NoSlot         // no slot free for a new heap: the consumer holds more than its slack
	AfterStop      // came after the end of its stream

	// Fates on the way to the assembler, counted by the sources.

	ChainTooLong  // longer than a packet may be: more frames, or more bytes of a TCP connection
	Shutdown      // read but not placed or taken when the receiver closed
	NotIPUDP      // not UDP over IPv4 or IPv6 (passed on, not ours)
	OtherEndpoint // UDP for another endpoint (passed on, not ours)
	Fragment      // IP fragment for one of our endpoints (passed on)
	NoSocket      // for us, but on a queue that has no socket (passed on)
	KernelDropped // dropped by the kernel before we could read it
	NICDropped    // dropped by the NIC

	// NumFates is how many fates there are.
	NumFates
)

var fateNames = [NumFates]string{
	Delivered:           "delivered",
	DeliveredIncomplete: "delivered_incomplete",
	DiscardedIncomplete: "discarded_incomplete",
	RingFull:            "ring_full",
	Duplicate:           "duplicate",
	Overlap:             "overlap",
	Late:                "late",
	Empty:               "empty",
	StreamControl:       "stream_control",
	TooShort:            "too_short",
	BadMagic:            "bad_magic",
	BadFlavour:          "bad_flavour",
	FlavourDiffers:      "flavour_differs",
	ItemsOverflow:       "items_overflow",
	MissingItems:        "missing_items",
	PayloadOverflow:     "payload_overflow",
	SizeMismatch:        "size_mismatch",
	HeapOverflow:        "heap_overflow",
	LengthConflict:      "length_conflict",
	UnsizedRefused:      "unsized_refused",
	OversizeHeap:        "oversize_heap",
	TooManyItems:        "too_many_items",
	TooManyRanges:       "too_many_ranges",
	HeadersSplit:        "headers_split",
	NoSlot:              "no_slot",
	AfterStop:           "after_stop",
	ChainTooLong:        "chain_too_long",
	Shutdown:            "shutdown",
	NotIPUDP:            "not_ip_udp",
	OtherEndpoint:       "other_endpoint",
	Fragment:            "fragment",
	NoSocket:            "no_socket",
	KernelDropped:       "kernel_dropped",
	NICDropped:          "nic_dropped",
}

// String is the fate's name in JSON and metrics.
func (f Fate) String() string { return fateNames[f] }

// fateOf maps the reasons for which a packet does not decode to their fates.
var fateOf = [...]Fate{
	spead.TooShort:        TooShort,
	spead.BadMagic:        BadMagic,
	spead.BadFlavour:      BadFlavour,
	spead.ItemsOverflow:   ItemsOverflow,
	spead.HeadersSplit:    HeadersSplit,
	spead.MissingItems:    MissingItems,
	spead.PayloadOverflow: PayloadOverflow,
	spead.HeapOverflow:    HeapOverflow,
	spead.SizeMismatch:    SizeMismatch,
}
