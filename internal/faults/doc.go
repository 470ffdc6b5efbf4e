// Package faults breaks what Freshet stands on, under load, and accounts for
// every event that was published: `make faults`, docs/reliability.md.
package faults
