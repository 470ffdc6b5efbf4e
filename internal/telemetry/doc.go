// Package telemetry is what `freshet run` tells of itself and of the groups
// beside it: metrics for Prometheus, traces over OTLP, answers to health
// probes, and notifications of systemd.
package telemetry
