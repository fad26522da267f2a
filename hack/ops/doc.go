// Package ops tests the page for people in a browser, and makes the picture of it that is in
// docs/: make test-ops, make picture. It is a module of its own, so that the library that
// drives the browser is not among those of the program.
package ops
