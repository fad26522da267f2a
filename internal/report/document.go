// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"

	"github.com/speadx/speadx/internal/flagname"
	"github.com/speadx/speadx/ledger"
	"github.com/speadx/speadx/metrics"
)

// Documents are the files in docs/ that have tables of the ledger, and of the metrics that are made from it.
var Documents = []string{"json.md", "metrics.md", "troubleshooting.md"}

// Document fills the tables of the ledger into a document: each stands between the lines
// <!-- generated: NAME --> and <!-- end -->.
func Document(text string) (string, error) {
	flag := func(field string) string { return "`" + flagname.Name(field) + "`" }
	tables := ledger.Tables(flag)
	tables["metrics"] = metrics.Table(flag)
	tables["verdicts"] = verdictTable()
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, "<!-- generated: ")
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, rest, _ := strings.Cut(rest, " -->\n")
		table, ok := tables[name]
		if !ok {
			return "", fmt.Errorf("there is no table %q", name)
		}
		_, after, ok := strings.Cut(rest, "<!-- end -->")
		if !ok {
			return "", fmt.Errorf("table %q has no end", name)
		}
		fmt.Fprintf(&b, "<!-- generated: %s -->\n\n%s\n<!-- end -->", name, table)
		text = after
	}
}
