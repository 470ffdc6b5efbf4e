// Package fake makes up events of a suite that never existed: realistic,
// valid, and linked to one another.
package fake
