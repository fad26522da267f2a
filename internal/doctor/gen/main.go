// SPDX-License-Identifier: Apache-2.0

// Gen writes docs/doctor.md.
package main

import (
	"bytes"
	"log"
	"os"

	"github.com/speadx/speadx/internal/doctor"
)

func main() {
	var b bytes.Buffer
	if err := doctor.WriteDocument(&b); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile("../../docs/doctor.md", b.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}
