// SPDX-License-Identifier: Apache-2.0

// Package report presents what a receiver has counted: as the JSON object that ends `recv
// --format json` and that /status serves, and as the text that ends `recv`.
//
// Names, order and meaning of the counters come from package ledger. The package adds no
// counter of its own. docs/json.md describes the object.
package report
