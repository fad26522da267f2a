// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"fmt"
	"strings"

	"github.com/speadx/speadx/ledger"
)

// Table is the list of all metrics in Markdown, with what a rise means and what to do. The
// names of settings are given by setting; nil is for Config.Field.
func Table(setting func(field string) string) string {
	cell := func(text string) string { return strings.ReplaceAll(ledger.Fill(text, setting), "|", "\\|") }
	var b strings.Builder
	for i, s := range newFamilies().all() {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "### %s\n\n| metric | type | labels | meaning | what to do if it rises |\n|---|---|---|---|---|\n", s.title)
		for _, f := range s.families {
			labels := ""
			if len(f.labels) > 0 {
				labels = "`" + strings.Join(f.labels, "`, `") + "`"
			}
			fmt.Fprintf(&b, "| `%s_%s` | %s | %s | %s | %s |\n", DefaultNamespace, f.name, f.kind, labels, cell(f.help), cell(f.remedy))
		}
	}
	return b.String()
}
