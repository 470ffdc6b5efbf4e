// Package events is the catalogue: one Go type for each event that the
// suite's applications exchange, with its stream, its shape on the wire and
// the spellings it is met in.
package events
