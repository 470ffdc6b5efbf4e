// Package interop runs Redis clients in other languages, written as authors of
// existing consumers and publishers write them, against the SDK.
package interop
