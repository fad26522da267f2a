package main

import (
	"errors"
	"fmt"

	"github.com/spf13/pflag"
)

// usageError marks an error in what was asked for on the command line, not in
// doing it: the exit status is 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }

func (e usageError) Unwrap() error { return e.err }

// flagError says what a flag takes, where err is that it does not take what it
// was given.
func flagError(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	f := bad.GetFlag()
	switch f.Value.Type() {
	case "bool":
		return fmt.Errorf("--%s=%s is neither true nor false", f.Name, bad.GetValue())
	case "int", "int64", "uint8", "uint64":
		return fmt.Errorf("--%s %s is not a whole number, or too large", f.Name, bad.GetValue())
	case "float64":
		return fmt.Errorf("--%s %s is not a number", f.Name, bad.GetValue())
	case "duration":
		return fmt.Errorf("--%s %s is not a time, such as 500ms, 90s or 1h", f.Name, bad.GetValue())
	default:
		return fmt.Errorf("--%s: %w", f.Name, bad.Unwrap())
	}
}
