// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"strings"
)

// expectStep is the value of --expect-step.
type expectStep struct {
	item uint64 // 0: the heap count
	step int64  // 0: what the first heaps show
}

// String implements pflag.Value.
func (e *expectStep) String() string {
	switch {
	case e.step == 0:
		return ""
	case e.item == 0:
		return strconv.FormatInt(e.step, 10)
	}
	return fmt.Sprintf("%#x:%d", e.item, e.step)
}

// Type implements pflag.Value.
func (*expectStep) Type() string { return "step" }

// Set implements pflag.Value.
func (e *expectStep) Set(text string) error {
	item, step, isItem := strings.Cut(text, ":")
	var v expectStep
	if !isItem {
		item, step = "", text
	}
	n, err := strconv.ParseUint(step, 0, 55)
	if err != nil || n == 0 {
		return fmt.Errorf("%q is no step: a whole number from 1 to 2^55-1, such as 1 or 0x1000", step)
	}
	v.step = int64(n)
	if isItem {
		if v.item, err = strconv.ParseUint(item, 0, 55); err != nil || v.item == 0 {
			return fmt.Errorf("%q is no id of an item, such as 0x1600", item)
		}
	}
	*e = v
	return nil
}
