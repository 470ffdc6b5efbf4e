// Package wire turns stream entries into envelopes, in every era and shape
// that is met, and payloads into the fields of era v1 (docs/wire.md).
package wire
