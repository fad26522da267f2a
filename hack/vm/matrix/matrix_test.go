// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"bytes"
	"os"
	"testing"
)

// The page is what its generator writes.
func TestDocumentIsFresh(t *testing.T) {
	var want bytes.Buffer
	if err := WriteDocument(&want); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../../../docs/drivers.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Error("docs/drivers.md is not what go generate ./hack/vm/matrix writes")
	}
}

// The matrix has each card at each MTU on each kernel once.
func TestCells(t *testing.T) {
	type key struct {
		series, nic string
		mtu         int
	}
	seen := map[key]int{}
	for _, c := range Cells() {
		seen[key{c.Series, c.NIC, c.MTU}]++
	}
	for _, s := range Series {
		for _, n := range NICs {
			for _, mtu := range MTUs {
				if k := (key{s, n.Name, mtu}); seen[k] != 1 {
					t.Errorf("%+v is there %d times", k, seen[k])
				}
			}
		}
	}
}
