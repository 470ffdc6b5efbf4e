// Package redistest starts private redis-server processes for tests and
// examples.
package redistest
