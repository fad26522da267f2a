// SPDX-License-Identifier: Apache-2.0

// Package flagname maps the fields of speadx.Config to the flags of the program. It is the
// one place that has both names. The program, its reports and the generated documents use it.
package flagname

// byField are the flags by field of Config, without the dashes.
var byField = map[string]string{
	"HeapSize": "heap-size", "ConcurrentHeaps": "concurrent-heaps", "Substreams": "substreams",
	"RingHeaps": "ring-heaps", "ConsumerHeaps": "consumer-heaps", "SpareStreams": "spare-streams", "Stops": "stop-after-stops",
	"Frames": "frames", "Queues": "queues", "CPUs": "cpus", "SocketBuffer": "buffer",
	"Mode": "mode", "OnFull": "on-full", "Repeats": "repeats", "MaxAge": "max-age", "BySender": "by-source", "Incomplete": "incomplete",
	"NoGRO": "gro=false", "PoolMin": "pool-min", "Hugepages": "hugepages", "CarrierWait": "carrier-wait",
	"ExpectStep": "expect-step", "ExpectItem": "expect-step",
	"Wait": "wait", "Interfaces": "interface", "Filter": "filter", "AllVLANs": "all-vlans", "IgnoreStop": "stop-on-stop=false",
}

// Flag is the flag of a setting with its dashes, or "" if there is none.
func Flag(field string) string {
	if flag := byField[field]; flag != "" {
		return "--" + flag
	}
	return ""
}

// Name names a setting as the user of the program knows it: by its flag, if it has one.
func Name(field string) string {
	if flag := Flag(field); flag != "" {
		return flag
	}
	return "Config." + field
}
