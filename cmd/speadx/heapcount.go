// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
)

// heapCount is the value of --expect-heaps. 0 is a value like any other.
type heapCount struct {
	n *uint64 // nil: not given
}

// String implements pflag.Value.
func (c *heapCount) String() string {
	if c.n == nil {
		return ""
	}
	return strconv.FormatUint(*c.n, 10)
}

// Type implements pflag.Value.
func (*heapCount) Type() string { return "count" }

// Set implements pflag.Value.
func (c *heapCount) Set(text string) error {
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return fmt.Errorf("%q is no number of heaps, such as 0 or 100", text)
	}
	c.n = &n
	return nil
}
