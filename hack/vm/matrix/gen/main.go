// SPDX-License-Identifier: Apache-2.0

// Gen writes docs/drivers.md.
package main

import (
	"bytes"
	"log"
	"os"

	"github.com/speadx/speadx/hack/vm/matrix"
)

func main() {
	var b bytes.Buffer
	if err := matrix.WriteDocument(&b); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("../../../docs/drivers.md", b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
