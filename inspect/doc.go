// Package inspect looks at a suite's bus and changes nothing: what is on the
// streams now, and as it comes.
package inspect
