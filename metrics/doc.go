// SPDX-License-Identifier: Apache-2.0

// Package metrics shows the counters of a receiver to Prometheus.
//
//	reg := prometheus.NewRegistry()
//	reg.MustRegister(metrics.NewCollector(receiver, metrics.Options{}))
//	http.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}))
//
// A [Collector] reads what the receiver counts anyway, when it is scraped. Nothing is added
// to the way of a packet, and no receiving thread waits for a scrape.
//
// Names, help and labels of everything that package ledger counts come from its rows. A row
// of a stream is speadx_input_NAME_total, of a device speadx_device_NAME_total, and of a
// queue speadx_queue_NAME_total. Where the telescopes' software has a name for the same, as
// input_heaps_total, that is used. docs/metrics.md lists all of them; [Table] makes the list.
//
// The number of series depends on the configuration only: some 120 for each stream, 30 for
// each queue and thread, and 100 besides. What a sender sends cannot add one.
package metrics
