// SPDX-License-Identifier: Apache-2.0

package report

import (
	"os"
	"strings"
	"testing"

	"github.com/speadx/speadx/ledger"
)

// The documents hold the tables of the ledger as they are.
func TestDocumentsAreFresh(t *testing.T) {
	for _, path := range Documents {
		b, err := os.ReadFile("../../docs/" + path)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Document(string(b))
		if err != nil {
			t.Fatal(err)
		}
		if string(b) != want {
			t.Errorf("docs/%s does not have the tables of package ledger: make generate", path)
		}
	}
}

// Each code of a diagnosis has a row in the guide to troubles.
func TestEachCodeIsExplained(t *testing.T) {
	b, err := os.ReadFile("../../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range ledger.Codes() {
		if !strings.Contains(string(b), "\n| `"+string(row.Code)+"` | ") {
			t.Errorf("docs/troubleshooting.md has no row for %s", row.Code)
		}
	}
}

func TestDocumentErrors(t *testing.T) {
	for _, text := range []string{"<!-- generated: nothing -->\n<!-- end -->", "<!-- generated: fates -->\n"} {
		if _, err := Document(text); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
