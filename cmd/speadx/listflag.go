// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

// listFlag is a flag that takes values with commas between them, and may be repeated.
// The first that is given replaces the default. It is a pflag.Value.
type listFlag[T any] struct {
	values *[]T
	parse  func(text string) (T, error)
	text   func(v T) string
	kind   string
	given  bool
}

// Set implements pflag.Value.
func (l *listFlag[T]) Set(list string) error {
	var all []T
	for text := range strings.SplitSeq(list, ",") {
		v, err := l.parse(strings.TrimSpace(text))
		if err != nil {
			return err
		}
		all = append(all, v)
	}
	if l.given {
		all = append(*l.values, all...)
	}
	*l.values, l.given = all, true
	return nil
}

// String implements pflag.Value.
func (l *listFlag[T]) String() string {
	if l.values == nil {
		return ""
	}
	texts := make([]string, len(*l.values))
	for i, v := range *l.values {
		texts[i] = l.text(v)
	}
	return strings.Join(texts, ",")
}

// Type implements pflag.Value.
func (l *listFlag[T]) Type() string { return l.kind }
