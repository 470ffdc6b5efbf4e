package delivery

import (
	"strings"
	"testing"
	"time"
)

func TestNewRefusesConfig(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*Config)
		rule   string
	}{
		{"no transport", func(c *Config) { c.Transport = nil }, "Transport"},
		{"no decoder", func(c *Config) { c.Decode = nil }, "Decode"},
		{"no routes", func(c *Config) { c.Route = nil }, "Route"},
		{"no slots", func(c *Config) { c.Concurrency = 0 }, "Concurrency is 0"},
		{"nothing in flight", func(c *Config) { c.MaxInFlight = -1 }, "MaxInFlight is -1"},
		{"no attempts", func(c *Config) { c.MaxAttempts = 0 }, "MaxAttempts is 0"},
		{"no threshold", func(c *Config) { c.OutageThreshold = 0 }, "OutageThreshold is 0"},
		{"no timeout", func(c *Config) { c.HandlerTimeout = 0 }, "HandlerTimeout is 0s"},
		{"no block", func(c *Config) { c.Block = 0 }, "Block is 0s"},
		{"no time to drain", func(c *Config) { c.DrainTimeout = 0 }, "DrainTimeout is 0s"},
		{"no backoff", func(c *Config) { c.BackoffMin = 0 }, "BackoffMin is 0s"},
		{"backoff upside down", func(c *Config) { c.BackoffMin = c.BackoffMax + 1 }, "must not exceed BackoffMax"},
		{"lease not above timeout", func(c *Config) { c.Lease = c.HandlerTimeout }, "must exceed HandlerTimeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(&client{server: newServer()}, newRecorder(t, nil))
			tt.change(&cfg)
			if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tt.rule) {
				t.Errorf("New: %v, want %q", err, tt.rule)
			}
		})
	}
}

func TestRunTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, config(&client{server: newServer("s"), name: "c"}, newRecorder(t, nil)))
		pass(time.Second)
		if err := r.engine.Run(t.Context()); err == nil {
			t.Error("a second Run did not fail")
		}
		r.drainCleanly()
	})
}

func TestStatsPlus(t *testing.T) {
	a := Stats{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	if got, want := a.Plus(a), (Stats{2, 4, 6, 8, 10, 12, 14, 16, 18, 20}); got != want {
		t.Errorf("sum = %+v", got)
	}
}
