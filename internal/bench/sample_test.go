// SPDX-License-Identifier: Apache-2.0

package bench

// sample is a run in which each sort of result stands. Its figures are made up.
func sample() []Result {
	m := &Machine{
		CPU: "A CPU with <angles> & more", CPUs: 2, Kernel: "Linux 6.18.0", Arch: "amd64", Go: "go1.26.0",
		Memory: 24 << 30, L3: 32 << 20, Version: "v0.1", Command: "speadx bench", Time: "2026-01-02T03:04:05Z",
	}
	zero := uint64(0)
	var all []Result
	for _, packet := range []int{1472, 4096, 8972} {
		for _, threads := range []int{1, 2} {
			gbps := float64(packet) / 100 * float64(threads)
			c := Conditions{Packet: packet, Heap: 4 << 20, Threads: threads}
			r := Result{
				Bench: "memory", Contestant: "speadx", Conditions: c, Trials: 11, Allocs: &zero, Machine: m,
				Gbps: gbps, GbpsLow: gbps * 0.9, GbpsHigh: gbps * 1.05, Mpps: gbps / 8 / float64(packet) * 1e3,
				Ratio: &Ratio{To: "copy", Value: 0.91, Low: 0.89, High: 0.925},
			}
			if threads > 1 {
				r.Gain, r.GainRatio = 1.93, &Ratio{To: "copy", Value: 1.02, Low: 0.97, High: 1.05}
			}
			all = append(all, r, Result{
				Bench: "memory", Contestant: "copy", Conditions: c, Trials: 11, Machine: m,
				Gbps: gbps * 1.1, GbpsLow: gbps * 1.01, GbpsHigh: gbps * 1.15, Mpps: gbps * 1.1 / 8 / float64(packet) * 1e3,
			})
		}
	}
	for _, generator := range []string{"blast", "udp"} {
		for i, contestant := range []string{"speadx", "asavie", "socket & <b>GRO</b>"} {
			limit := 12 - 3*float64(i)
			v := &Veth{PacedGbps: 2, MachineCPUPerGB: 0.3 + 0.2*float64(i), ProcessCPUPerGB: 0.2 + 0.1*float64(i), RingPeak: 512 + i, RingSize: 2048}
			for rate := 2.0; rate < limit+3; rate++ {
				p := Point{OfferedGbps: rate, Trials: 5, Sent: uint64(rate * 1e6), Refused: 3, RingPeak: int(rate * rate * 10)}
				if rate > limit {
					p.Lossy = min(int(rate-limit)*3, 5)
					p.Lost = uint64((rate - limit) * 2e5)
				}
				v.Curve = append(v.Curve, p)
			}
			all = append(all, Result{
				Bench: "veth", Contestant: contestant, Conditions: Conditions{Generator: generator, Packet: 8192}, Trials: 5,
				Gbps: limit, GbpsLow: limit - 0.4, GbpsHigh: limit + 0.2, Mpps: limit / 8 / 8.192e-3 / 1e3, Veth: v, Machine: m,
			})
		}
	}
	all = append(all, Result{
		Bench: "veth", Contestant: "spead2", Conditions: Conditions{Generator: "udp", Packet: 8192}, Machine: m,
		Note: "spead2_recv is not on this machine",
	})
	pooled := *m
	pooled.Pages = "2M"
	for _, size := range []int64{16 << 10, 1 << 20, 64 << 20} {
		for _, touch := range []string{TouchNone, TouchFill} {
			reference := float64(size) / 8
			for i, contestant := range []string{"speadx", "make", "mmap"} {
				speed := []float64{20, 1, 0.5}[i]
				ns := reference / speed
				r := Result{
					Bench: "pool", Contestant: contestant, Conditions: Conditions{Heap: size, Touch: touch}, Trials: 15,
					NsPerOp: ns, NsLow: ns * 0.9, NsHigh: ns * 1.2, Allocs: &zero, Machine: &pooled,
				}
				if contestant != "make" {
					r.Ratio = &Ratio{To: "make", Value: speed, Low: speed * 0.95, High: speed * 1.01}
				}
				all = append(all, r)
			}
		}
	}
	return all
}
