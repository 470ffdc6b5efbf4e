package delivery

import (
	"context"
	"testing"
	"time"
)

// TestFullMaxInFlightRecovers: entries that fail fill all the room there is,
// and the rest is handled all the same once they succeed.
func TestFullMaxInFlightRecovers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for i := range 100 {
			s.publish("s", entity(i), "single")
		}
		full := time.Now().Add(10 * time.Minute)
		c := &client{server: s, name: "c", bound: 10}
		cfg := config(c, newRecorder(t, func(context.Context, *Message) error {
			if time.Now().Before(full) {
				return RetryAfter(errHandler, time.Minute)
			}
			return nil
		}))
		cfg.MaxInFlight, cfg.MaxAttempts = 10, 1000
		r := start(t, cfg)
		pass(9 * time.Minute)
		if n := s.pendingCount(); n != 10 {
			t.Errorf("%d in hand, want all the room there is", n)
		}
		pass(5 * time.Minute)
		if n := r.engine.Stats().Handled; n != 100 || c.over {
			t.Errorf("%d handled, bound exceeded: %t", n, c.over)
		}
		r.drainCleanly()
	})
}
