// Package repair changes what is on a suite's bus, where an operator asks for
// it: dead letters are redriven, dropped and brought in from an export, events
// of the past are sent again, groups are created, moved back and removed, and
// old entries and consumers that are gone are removed.
package repair
