// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"

	"github.com/speadx/speadx/internal/settings"
)

// usageError marks an error in what was asked for on the command line, not in
// doing it: the exit status is 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }

func (e usageError) Unwrap() error { return e.err }

// flagError says what a flag takes, where err is that it does not take what it
// was given. Of an unknown flag it says which is the nearest.
func flagError(fs *pflag.FlagSet, err error) error {
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) {
		return fmt.Errorf("%w%s", err, settings.DidYouMean("--"+unknown.GetSpecifiedName(), flagNames(fs)))
	}
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	f := bad.GetFlag()
	switch f.Value.Type() {
	case "bool":
		return fmt.Errorf("--%s=%s %s", f.Name, bad.GetValue(), settings.Reason(f, err))
	case "int", "int64", "uint8", "uint64", "float64", "duration":
		return fmt.Errorf("--%s %s %s", f.Name, bad.GetValue(), settings.Reason(f, err))
	default:
		return fmt.Errorf("--%s: %w", f.Name, bad.Unwrap())
	}
}

// flagNames are the flags of a command that its help shows.
func flagNames(fs *pflag.FlagSet) (names []string) {
	fs.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, "--"+f.Name)
		}
	})
	return names
}

// flagValueError is an error in the value of a flag.
type flagValueError struct {
	flag string
	rest string // of the message, behind the flag's name
}

func wrongFlag(flag, rest string, args ...any) error {
	return &flagValueError{flag, fmt.Sprintf(rest, args...)}
}

func (e *flagValueError) Error() string { return "--" + e.flag + e.rest }

// sourceError is an error in the sources.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

// faults are all that is wrong with a command line.
type faults struct {
	list []error
	said map[string]bool // flags that there is an error about
}

// add adds an error, or those that it joins. There is one error about a flag at most.
func (f *faults) add(err error) {
	if err == nil {
		return
	}
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		for _, err := range several.Unwrap() {
			f.add(err)
		}
		return
	}
	var value *flagValueError
	if errors.As(err, &value) {
		if f.said[value.flag] {
			return
		}
		if f.said == nil {
			f.said = map[string]bool{}
		}
		f.said[value.flag] = true
	}
	f.list = append(f.list, err)
}

// flag adds an error in the value of a flag.
func (f *faults) flag(flag, rest string, args ...any) { f.add(wrongFlag(flag, rest, args...)) }

// err joins them; nil if there are none.
func (f *faults) err() error { return errors.Join(f.list...) }

// located names the place at which the value stands that an error is about, if that is
// not the command line.
func located(err error, origins map[string]settings.Origin) error {
	if several, ok := err.(interface{ Unwrap() []error }); ok {
		var list []error
		for _, err := range several.Unwrap() {
			list = append(list, located(err, origins))
		}
		return errors.Join(list...)
	}
	var value *flagValueError
	var source *sourceError
	key := ""
	switch {
	case errors.As(err, &value):
		key = value.flag
	case errors.As(err, &source):
		key = settings.SourcesKey
	}
	at := origins[key]
	switch {
	case at.Kind == settings.InFile && value != nil:
		return fmt.Errorf("%v: %s%s", at, key, value.rest)
	case at.Kind == settings.InFile:
		return fmt.Errorf("%v: %s: %w", at, key, err)
	case at.Kind == settings.Environment && value != nil:
		return fmt.Errorf("%v%s", at, value.rest)
	case at.Kind == settings.Environment:
		return fmt.Errorf("%v: %w", at, err)
	}
	return err
}
