// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/speadx/speadx/internal/pages"
)

// ThisMachine returns the facts of the machine we run on, for a run of command that
// begins now. What the system does not tell is left empty, or 0. GOMAXPROCS is the
// number of CPUs: those this process may use.
func ThisMachine(version, command string) Machine {
	m := Machine{
		CPUs:    runtime.GOMAXPROCS(0),
		Arch:    runtime.GOARCH,
		Go:      runtime.Version(),
		Version: version,
		Command: command,
		Time:    time.Now().Format(time.RFC3339),
	}
	m.askSystem()
	return m
}

// String returns the facts in a line.
func (m *Machine) String() string {
	var all []string
	for _, s := range []string{m.CPU, count(m.CPUs, "CPU"), bytesText(m.L3, " of L3"), bytesText(m.Memory, " of memory"), m.Kernel, m.Arch, m.Go} {
		if s != "" {
			all = append(all, clean(s))
		}
	}
	if m.Version != "" {
		all = append(all, "speadx "+clean(m.Version))
	}
	return strings.Join(all, ", ")
}

func count(n int, what string) string {
	switch n {
	case 0:
		return ""
	case 1:
		return "1 " + what
	default:
		return fmt.Sprintf("%d %ss", n, what)
	}
}

func bytesText(n uint64, of string) string {
	if n == 0 {
		return ""
	}
	return pages.Human(int(min(n, maxCount))) + of
}

// cpuModel finds the name of the CPU in /proc/cpuinfo. Each architecture calls it
// otherwise; arm64 has numbers only, which are better than nothing. A virtual machine may
// know only the brand ("AMD EPYC"). Then family and model say which processor it is.
func cpuModel(cpuinfo string) string {
	fields := map[string]string{}
	for line := range strings.Lines(cpuinfo) {
		key, value, ok := strings.Cut(line, ":")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if _, again := fields[key]; ok && !again {
			fields[key] = value
		}
	}
	for _, key := range []string{"model name", "cpu model", "cpu", "Model"} {
		v := fields[key]
		if v == "" {
			continue
		}
		if family, model := fields["cpu family"], fields["model"]; family != "" && model != "" && !strings.ContainsAny(v, "0123456789") {
			return fmt.Sprintf("%s (family %s, model %s)", v, family, model)
		}
		return v
	}
	if v := fields["CPU implementer"]; v != "" {
		return fmt.Sprintf("implementer %s part %s", v, fields["CPU part"])
	}
	return ""
}

// memTotal finds the memory of the machine in /proc/meminfo.
func memTotal(meminfo string) uint64 {
	for line := range strings.Lines(meminfo) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 54)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

// l3Size returns the size of the level 3 cache of a CPU, whose caches sysfs has in
// dir: "/sys/devices/system/cpu/cpu0/cache". A virtual machine may tell that of the
// whole host.
func l3Size(dir string) uint64 {
	levels, _ := filepath.Glob(filepath.Join(dir, "index*", "level"))
	for _, file := range levels {
		if readText(file) != "3" {
			continue
		}
		kib, ok := strings.CutSuffix(readText(filepath.Join(filepath.Dir(file), "size")), "K")
		if n, err := strconv.ParseUint(kib, 10, 54); ok && err == nil {
			return n << 10
		}
	}
	return 0
}

// readText returns what a small file of the system holds; "" if it cannot be read.
func readText(file string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
