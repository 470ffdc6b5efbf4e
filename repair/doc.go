// Package repair changes what is on a suite's bus, where an operator asks for
// it: dead letters are redriven, dropped and brought in from an export,
// and old entries are removed.
package repair
