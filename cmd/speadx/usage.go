package main

// usageError marks an error in what was asked for on the command line, not in
// doing it: the exit status is 2.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }

func (e usageError) Unwrap() error { return e.err }
