// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/speadx/speadx/internal/testnet"
	"github.com/speadx/speadx/internal/vnet"
)

const (
	root     = "../.."
	captures = root + "/testdata/captures"
	// patience is for how long a test waits for what has to happen.
	patience = 30 * time.Second
)

// scratch is a directory for what all tests use.
var scratch string

func TestMain(m *testing.M) {
	if os.Getenv(beInit) != "" {
		initialise() // does not return
	}
	if os.Getenv(beContainer) != "" {
		contain() // does not return
	}
	var err error
	if scratch, err = os.MkdirTemp("", "speadx-checks-"); err != nil {
		panic(err)
	}
	status := m.Run()
	os.RemoveAll(scratch)
	os.Exit(status)
}

// program is the program, built as the container file does it.
var program = sync.OnceValues(func() (string, error) {
	c, err := readContainerfile()
	if err != nil {
		return "", err
	}
	return c.build(scratch)
})

func theProgram(t *testing.T) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// need installs what a test needs.
func need(t *testing.T, what ...string) {
	t.Helper()
	if text, err := exec.Command(root+"/hack/need", what...).CombinedOutput(); err != nil {
		if os.Geteuid() != 0 {
			t.Skipf("%v: %s", err, text)
		}
		t.Fatalf("%v: %s", err, text)
	}
}

// needRoot skips what only root can do, as in make test.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		testnet.NeedPrivilege(t, os.ErrPermission)
	}
}

// wire makes a veth pair in namespaces of its own.
func wire(t *testing.T) *vnet.Net {
	t.Helper()
	n, err := vnet.Make(vnet.Options{})
	testnet.NeedPrivilege(t, err)
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// output runs a command that has to succeed, and returns what it writes.
func output(t *testing.T, cmd *exec.Cmd) (stdout, stderr string) {
	t.Helper()
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", strings.Join(cmd.Args, " "), err, &out, &msg)
	}
	return out.String(), msg.String()
}

// at runs a command at one end of a wire.
func at(t *testing.T, end *vnet.Iface, cmd *exec.Cmd) (stdout string) {
	t.Helper()
	if err := end.Do(func() { stdout, _ = output(t, cmd) }); err != nil {
		t.Fatal(err)
	}
	return stdout
}

func copyFile(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, read(t, from), mode); err != nil {
		t.Fatal(err)
	}
}
