package delivery

import (
	"context"
	"testing"
	"time"
)

// TestOverdueLater: a call that was overdue when as many slots as may be had
// been given away gives its own away when one of those returns.
func TestOverdueLater(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		s.publish("s", "a", "single")
		s.publish("s", "b", "single")
		third := s.publish("s", "c", "single")
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			switch m.Envelope.Entity.ID {
			case "a":
				time.Sleep(100 * time.Second)
			case "b":
				time.Sleep(40 * time.Minute)
			}
			return nil
		})
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.Concurrency = 1
		r := start(t, cfg)
		pass(5 * time.Minute)
		if len(rec.of(third)) != 1 {
			t.Errorf("attempts %v", rec.attempts())
		}
		pass(time.Hour)
		r.drainCleanly()
	})
}
