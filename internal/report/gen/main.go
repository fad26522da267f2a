// SPDX-License-Identifier: Apache-2.0

// Gen writes the tables of package ledger into the documents, between the lines
// <!-- generated: NAME --> and <!-- end -->. It is run by go generate in internal/report.
package main

import (
	"fmt"
	"os"

	"github.com/speadx/speadx/internal/report"
)

func main() {
	for _, path := range report.Documents {
		path = "../../docs/" + path
		old, err := os.ReadFile(path)
		if err == nil {
			var text string
			if text, err = report.Document(string(old)); err == nil {
				err = os.WriteFile(path, []byte(text), 0o644)
			}
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "gen: %s: %v\n", path, err)
			os.Exit(1)
		}
	}
}
