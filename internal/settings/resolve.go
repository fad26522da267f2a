// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// Prefix is what the environment variables of settings begin with.
const Prefix = "SPEADX_"

// SourcesKey is the key of what is no flag: the arguments of the command.
const SourcesKey = "sources"

// List is the annotation of a flag that takes a list as one value, with commas. In a file
// its value may be a list too.
const List = "speadx_list"

// Layers are what [Resolve] puts together.
type Layers struct {
	Flags   *pflag.FlagSet // parsed: those that were given are Changed
	Args    []string       // arguments of the command line
	Environ []string       // as by os.Environ
	File    *File          // nil: there is none

	// Same gives the other name of a flag, in one direction.
	Same map[string]string
	// NotInFile are flags that a file cannot set, with the reason.
	NotInFile map[string]string
	// Foreign are the names of variables that begin with Prefix and are not settings.
	Foreign []string
}

// Resolved is the outcome of [Resolve].
type Resolved struct {
	Origins map[string]Origin // by flag; also of [SourcesKey]
	Sources []string
	Notes   []string // variables that look like a setting and are none
}

// Resolve sets each flag that was not given to its value of the environment or else of the
// file. An error is an [*Error].
func Resolve(l *Layers) (*Resolved, error) {
	r := &Resolved{Origins: map[string]Origin{}, Sources: slices.Clone(l.Args)}
	taken := map[string]Kind{} // by the flag's first name: the layer that has set it
	l.Flags.VisitAll(func(f *pflag.Flag) {
		r.Origins[f.Name] = Origin{Kind: Default}
		if f.Changed {
			r.Origins[f.Name] = Origin{Kind: Flag}
			taken[l.firstName(f.Name)] = Flag
		}
	})
	r.Origins[SourcesKey] = Origin{Kind: Default}
	if len(l.Args) > 0 {
		r.Origins[SourcesKey] = Origin{Kind: Flag}
	}
	if err := l.environment(r, taken); err != nil {
		return nil, err
	}
	if err := l.file(r, taken); err != nil {
		return nil, err
	}
	return r, nil
}

// firstName is one name for the flags that mean the same.
func (l *Layers) firstName(flag string) string {
	if other := l.Same[flag]; other != "" {
		return other
	}
	return flag
}

// Variable is the environment variable of a flag.
func Variable(flag string) string {
	return Prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// environment applies the variables. An empty one counts as not set.
func (l *Layers) environment(r *Resolved, taken map[string]Kind) error {
	variables := map[string]string{}
	for _, text := range l.Environ {
		if name, value, ok := strings.Cut(text, "="); ok && strings.HasPrefix(name, Prefix) && value != "" {
			variables[name] = value
		}
	}
	known := map[string]string{Variable(SourcesKey): SourcesKey}
	l.Flags.VisitAll(func(f *pflag.Flag) {
		if f.Name != "help" {
			known[Variable(f.Name)] = f.Name
		}
	})
	for _, variable := range slices.Sorted(maps.Keys(variables)) {
		name, ok := known[variable]
		if !ok {
			if near := Nearest(variable, slices.Sorted(maps.Keys(known))); near != "" && !slices.Contains(l.Foreign, variable) && similar(variable, near) {
				r.Notes = append(r.Notes, fmt.Sprintf("environment variable %s is no setting, and has no effect (the nearest is %s)", variable, near))
			}
			continue
		}
		origin := Origin{Kind: Environment, Variable: variable}
		if name == SourcesKey {
			if len(r.Sources) == 0 {
				for source := range strings.SplitSeq(variables[variable], ",") {
					r.Sources = append(r.Sources, strings.TrimSpace(source))
				}
				r.Origins[SourcesKey] = origin
			}
			continue
		}
		if err := l.set(r, taken, name, origin, []Origin{origin}, []string{variables[variable]}); err != nil {
			return err
		}
	}
	return nil
}

// similar compares what follows the prefix, which makes all variables look alike.
func similar(a, b string) bool {
	a, b = strings.TrimPrefix(a, Prefix), strings.TrimPrefix(b, Prefix)
	return Nearest(a, []string{b}) != ""
}

// file applies the entries of the file. All its keys are checked, also those that another
// layer has a value for.
func (l *Layers) file(r *Resolved, taken map[string]Kind) error {
	if l.File == nil {
		return nil
	}
	for i := range l.File.Entries {
		e := &l.File.Entries[i]
		origin := Origin{Kind: InFile, File: l.File.Path, Line: e.Line}
		if e.Key == SourcesKey {
			if len(r.Sources) == 0 {
				r.Sources, r.Origins[SourcesKey] = slices.Clone(e.Values), origin
			}
			continue
		}
		f := l.Flags.Lookup(e.Key)
		if why := l.NotInFile[e.Key]; why != "" {
			return l.File.wrongEntry(e, why)
		}
		if f == nil || e.Key == "help" {
			return l.File.wrongEntry(e, "there is no such key"+DidYouMean(e.Key, l.keys()))
		}
		values, lines := e.Values, e.Lines
		if e.List {
			_, several := f.Value.(pflag.SliceValue)
			switch _, joined := f.Annotations[List]; {
			case several:
			case !joined:
				return l.File.wrongEntry(e, "takes one value, not a list")
			case len(values) == 0:
				return l.File.wrongEntry(e, "is an empty list (give it a value, or remove the key)")
			default:
				values, lines = []string{strings.Join(values, ",")}, lines[:1]
			}
		}
		var at []Origin
		for _, line := range lines {
			at = append(at, Origin{Kind: InFile, File: l.File.Path, Line: line})
		}
		if err := l.set(r, taken, e.Key, origin, at, values); err != nil {
			return err
		}
	}
	return nil
}

// keys are what a file can have, but for what only compatibility is for.
func (l *Layers) keys() []string {
	names := []string{SourcesKey}
	l.Flags.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" && l.NotInFile[f.Name] == "" {
			names = append(names, f.Name)
		}
	})
	return names
}

// set gives a flag the values of a layer, unless a stronger layer has set it or its other
// name.
func (l *Layers) set(r *Resolved, taken map[string]Kind, name string, origin Origin, at []Origin, values []string) error {
	f, first := l.Flags.Lookup(name), l.firstName(name)
	by, ok := taken[first]
	if ok && by != origin.Kind {
		return nil
	}
	taken[first] = origin.Kind
	for i, v := range values {
		if err := l.Flags.Set(name, v); err != nil {
			return &Error{Origin: at[i], Key: name, Value: v, Reason: Reason(f, err), Err: err}
		}
	}
	r.Origins[name] = origin
	return nil
}

// Reason says why a flag does not take a value, as a predicate to the value.
func Reason(f *pflag.Flag, err error) string {
	switch f.Value.Type() {
	case "bool":
		return "is neither true nor false"
	case "int", "int64", "uint8", "uint64":
		return "is not a whole number, or too large"
	case "float64":
		return "is not a number"
	case "duration":
		return "is not a time, such as 500ms, 90s or 1h"
	}
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		err = bad.Unwrap()
	}
	return "cannot be used: " + err.Error()
}

// DidYouMean is the remedy for a word that is none of names, to be put behind a message:
// " (did you mean heap-size?)", or "".
func DidYouMean(word string, names []string) string {
	if near := Nearest(word, names); near != "" {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}
