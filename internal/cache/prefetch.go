package cache

const (
	// headerBytes is how much of a packet is fetched for its headers: two lines,
	// which hold nine item pointers wherever the packet begins.
	headerBytes = 128
	// payloadBytes is how much of a payload is fetched before it is copied: so much
	// that the processor itself goes on. More of it was no faster at 1472 bytes and
	// slower at 8972.
	payloadBytes = 256
)

// PrefetchHeaders says that the headers of a packet will be read soon.
func PrefetchHeaders(packet []byte) {
	if len(packet) > 0 {
		prefetch(&packet[0], headerBytes)
	}
}

// PrefetchPayload says that the payload of a packet will be copied soon.
func PrefetchPayload(packet []byte) {
	if len(packet) > headerBytes {
		prefetch(&packet[headerBytes], payloadBytes)
	}
}
