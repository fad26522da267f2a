// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestThisMachine(t *testing.T) {
	m := ThisMachine("v1", "speadx bench pool")
	if m.CPUs < 1 || m.Arch != runtime.GOARCH || m.Go != runtime.Version() || m.Version != "v1" || m.Command != "speadx bench pool" {
		t.Errorf("%+v", m)
	}
	if at, err := time.Parse(time.RFC3339, m.Time); err != nil || time.Since(at) > time.Minute {
		t.Errorf("time %q: %v", m.Time, err)
	}
	if runtime.GOOS == "linux" && (m.CPU == "" || m.Memory < 1<<20 || !strings.HasPrefix(m.Kernel, "Linux ")) {
		t.Errorf("%+v", m)
	}
	var c checker
	if m.check(&c); c.err != nil {
		t.Error(c.err)
	}
}

func TestCPUModel(t *testing.T) {
	for want, text := range map[string]string{
		"AMD EPYC (family 26, model 2)":  "processor\t: 0\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n",
		"AMD EPYC 7B13":                  "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 1\nmodel name\t: AMD EPYC 7B13\n\nprocessor\t: 1\nmodel name\t: other\n",
		"implementer 0x41 part 0xd0c":    "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n",
		"POWER9, altivec supported":      "processor\t: 0\ncpu\t\t: POWER9, altivec supported\n",
		"":                               "nothing\n",
		"Raspberry Pi 4 Model B Rev 1.4": "CPU part\t: 1\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
		"implementer 0x48 part ":         "CPU implementer\t: 0x48",
	} {
		if got := cpuModel(text); got != want {
			t.Errorf("cpuModel(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestMemTotal(t *testing.T) {
	for text, want := range map[string]uint64{
		"MemTotal:       24665396 kB\nMemFree: 1 kB\n": 24665396 << 10,
		"MemFree: 1 kB\n":                     0,
		"MemTotal: much\n":                    0,
		"MemTotal: -1 kB\n":                   0,
		"MemTotal: 99999999999999999999 kB\n": 0,
	} {
		if got := memTotal(text); got != want {
			t.Errorf("memTotal(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestL3Size(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if n := l3Size(dir); n != 0 {
		t.Errorf("of nothing %d", n)
	}
	write("index0/level", "1\n")
	write("index0/size", "48K\n")
	write("index3/level", "3\n")
	if n := l3Size(dir); n != 0 {
		t.Errorf("without a size %d", n)
	}
	write("index3/size", "32768K\n")
	if n := l3Size(dir); n != 32<<20 {
		t.Errorf("L3 is %d", n)
	}
	write("index3/size", "lots")
	if n := l3Size(dir); n != 0 {
		t.Errorf("of nonsense %d", n)
	}
}

func TestMachineString(t *testing.T) {
	m := Machine{CPU: "c\x1b", CPUs: 1, Kernel: "Linux 6", Arch: "arm64", Go: "go1", Memory: 1 << 30, Version: "v"}
	if got, want := m.String(), "c�, 1 CPU, 1 GiB of memory, Linux 6, arm64, go1, speadx v"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestMachines(t *testing.T) {
	a, b := Machine{CPU: "a"}, Machine{CPU: "a", Pages: "2M"}
	other := Machine{CPU: "b"}
	got := Machines([]Result{{Machine: &a}, {}, {Machine: &b}, {Machine: &other}, {Machine: &a}})
	if len(got) != 2 || got[0] != b || got[1] != other {
		t.Errorf("%+v", got)
	}
}
