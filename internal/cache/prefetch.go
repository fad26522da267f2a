// SPDX-License-Identifier: Apache-2.0

package cache

const (
	// headerBytes is how much of a packet is fetched for its headers: two lines,
	// which hold nine item pointers wherever the packet begins.
	headerBytes = 128
	// payloadBytes is how much of a payload is fetched where not all of it is while the
	// one before is copied: so much that the processor itself goes on.
	payloadBytes = 256
)

// PrefetchHeaders says that the headers of a packet will be read soon.
func PrefetchHeaders(packet []byte) {
	if len(packet) > 0 {
		prefetch(&packet[0], headerBytes)
	}
}

// prefetchPayload says that a payload will be copied soon.
func prefetchPayload(payload []byte) {
	if len(payload) > 0 {
		prefetch(&payload[0], payloadBytes)
	}
}
