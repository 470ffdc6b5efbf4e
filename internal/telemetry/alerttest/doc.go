// Package alerttest has Prometheus's own tool tell which alerts fire on what
// tests have scraped.
package alerttest
