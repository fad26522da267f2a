// SPDX-License-Identifier: Apache-2.0

// Package operate serves a running receiver over HTTP: metrics, health, the totals so far,
// and the page for people. docs/metrics.md lists the endpoints.
//
// Reception comes first. A handler reads counters and waits for no receiving thread. A
// scrape takes time, so it is done for one request at a time, into memory. The answer is
// written when it is whole. A client that reads slowly holds that memory, for ten seconds
// at most. The number of connections is bounded. One more closes the oldest, so that
// clients that never end do not keep others out.
//
// The port is read-only. pprof, which is not, has a port of its own: see [ListenDebug].
package operate
