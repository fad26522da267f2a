// SPDX-License-Identifier: Apache-2.0

package settings

import "fmt"

// Kind is a layer that a value can come from.
type Kind string

// The layers, the weakest first.
const (
	Default     Kind = "default"
	InFile      Kind = "file"
	Environment Kind = "environment"
	Flag        Kind = "flag"
)

// Origin is where a value stands.
type Origin struct {
	Kind     Kind   `json:"kind"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`     // in the file
	Variable string `json:"variable,omitempty"` // of the environment
}

// String is such as "obs.yaml:3", "SPEADX_HEAP_SIZE", "flag" or "default".
func (o Origin) String() string {
	switch {
	case o.Kind == InFile && o.Line > 0:
		return fmt.Sprintf("%s:%d", o.File, o.Line)
	case o.Kind == InFile:
		return o.File
	case o.Kind == Environment:
		return o.Variable
	}
	return string(o.Kind)
}

// Error is what is wrong with a setting that stands in a file or in the environment, or
// with the file itself.
type Error struct {
	Origin Origin
	Key    string // "": the error is not about one key
	Value  string // "": it is not about a value
	Reason string // a predicate to the value, with the remedy
	Err    error  // the cause, if there is one
}

// Error names the place, the key, the value and the reason.
func (e *Error) Error() string {
	s := e.Origin.String() + ": "
	if e.Key != "" && e.Origin.Kind == InFile {
		s += e.Key + ": "
	}
	if e.Value != "" {
		s += quoted(e.Value) + " "
	}
	return s + e.Reason
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// longestShown is how many bytes of a value a message repeats.
const longestShown = 80

// quoted is a value as a message shows it: in one line, and not all of a long one.
func quoted(v string) string {
	if len(v) > longestShown {
		return fmt.Sprintf("%q…", v[:longestShown])
	}
	for _, r := range v {
		if r < ' ' || r > '~' {
			return fmt.Sprintf("%q", v)
		}
	}
	return v
}
