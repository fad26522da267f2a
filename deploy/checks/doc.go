// Package checks has the tests of what lies in deploy/: each file there is run, or parsed
// by the types of those who will read it. It is a module of its own, for the sake of what
// that needs.
package checks
