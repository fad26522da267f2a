package report

//go:generate go run ./gen
