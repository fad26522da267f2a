// SPDX-License-Identifier: Apache-2.0

//go:build linux

package speadx_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/speadx/speadx"
	"github.com/speadx/speadx/internal/testnet"
)

// childConfig is in the environment of a child process: this program again, to
// receive in a process of its own.
const childConfig = "SPEADX_TEST_RECEIVE"

func TestMain(m *testing.M) {
	if config := os.Getenv(childConfig); config != "" {
		if err := runChild(config); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if config := os.Getenv(shareConfig); config != "" {
		os.Exit(runSharer(config))
	}
	goleak.VerifyTestMain(m)
}

// child is a process that receives at the end of a wire.
type child struct {
	*exec.Cmd
	lines *bufio.Scanner // what it says
}

// startChild starts a child in the namespace of the wire's end and waits until it
// receives.
func startChild(t *testing.T, n *testnet.Net, c speadx.Config) *child {
	t.Helper()
	config, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childConfig+"="+string(config))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	n.Do(func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // if it is still there
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait()
	})
	ch := &child{cmd, bufio.NewScanner(out)}
	var ready string
	ch.says(t, &ready)
	return ch
}

// says reads the next line of a child.
func (c *child) says(t *testing.T, v any) {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatalf("the child says nothing: %v", c.lines.Err())
	}
	if err := json.Unmarshal(c.lines.Bytes(), v); err != nil {
		t.Fatalf("the child says %q: %v", c.lines.Bytes(), err)
	}
}

// childReport is what a child says at the end.
type childReport struct {
	Heaps, Wrong  int
	Memory        int // bytes resident at most, huge pages included
	Pool, Packets int // bytes of both
	Go            int // bytes of Go memory for heaps
	Unaccounted   int64
}

// runChild receives until the stream ends. It says "ready" first, and at the end
// how it went and what memory that took.
func runChild(config string) error {
	var c speadx.Config
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	r, err := speadx.Open(context.Background(), c)
	if err != nil {
		return err
	}
	defer r.Close()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode("ready"); err != nil {
		return err
	}
	in := r.Info()
	report := childReport{Pool: in.PoolBytes, Go: in.GoBytes}
	for _, d := range in.Devices {
		for _, q := range d.Queues {
			report.Packets += q.UMEMBytes
		}
	}
	for h, err := range r.Heaps(context.Background()) {
		if err != nil {
			return err
		}
		report.Heaps++
		if err := verify(h); err != nil || !h.Complete() {
			report.Wrong++
		}
		resident, err := readStatus("self", "VmRSS")
		if err != nil {
			return err
		}
		huge, err := readStatus("self", "HugetlbPages")
		if err != nil {
			return err
		}
		report.Memory = max(report.Memory, resident+huge)
		h.Release()
	}
	report.Unaccounted = r.Stats().Unaccounted
	return out.Encode(report)
}
