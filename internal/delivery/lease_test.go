package delivery

import (
	"context"
	"slices"
	"testing"
	"time"
)

// TestLeaseIsRenewed: entries in hand keep their lease for as long as it
// takes, whether they are being handled, wait behind others, or for a retry.
func TestLeaseIsRenewed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		s.publish("s", "slow", "single")
		s.publish("s", "slow", "single")
		s.publish("s", "retry", "single")
		rec := newRecorder(t, func(ctx context.Context, m *Message) error {
			if m.Envelope.Entity.ID == "retry" {
				return RetryAfter(errHandler, time.Hour)
			}
			time.Sleep(19 * time.Second)
			return errHandler
		})
		c := &client{server: s, name: "c"}
		cfg := config(c, rec)
		r := start(t, cfg)
		for range 60 {
			pass(time.Second)
			s.mu.Lock()
			for ref, p := range s.pending {
				if idle := time.Since(p.delivered); idle >= cfg.Lease*5/6 {
					t.Errorf("%v idle for %v of %v", ref, idle, cfg.Lease)
				}
			}
			s.mu.Unlock()
		}
		if n := c.calls("Renew"); n == 0 || n > 7 {
			t.Errorf("%d renewals in 2 leases", n)
		}
		r.drainCleanly()
	})
}

// TestLeaseRenewalIsChunked: no call renews more than 500 entries.
func TestLeaseRenewalIsChunked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for range 1201 {
			s.publish("s", "a", "single")
		}
		c := &client{server: s, name: "c"}
		cfg := config(c, newRecorder(t, always(RetryAfter(errHandler, time.Hour))))
		cfg.MaxInFlight = 2000
		r := start(t, cfg)
		pass(cfg.Lease/3 + time.Second)
		if n := c.calls("Renew"); n != 3 {
			t.Errorf("1201 entries renewed by %d calls", n)
		}
		r.drainCleanly()
	})
}

// TestLeaseRenewalFails: it is tried again before the lease is over.
func TestLeaseRenewalFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		ref := s.publish("s", "a", "single")
		c := &client{server: s, name: "c"}
		fails := 2
		c.setFault(func(call string) error {
			if call == "Renew" && fails > 0 {
				fails--
				return errNetwork
			}
			return nil
		})
		cfg := config(c, newRecorder(t, always(RetryAfter(errHandler, time.Hour))))
		r := start(t, cfg)
		pass(cfg.Lease - time.Second)
		if idle := time.Since(s.pending[ref].delivered); fails > 0 || idle > cfg.Lease/2 {
			t.Errorf("idle for %v, %d failures left", idle, fails)
		}
		r.drainCleanly()
	})
}

// TestLostLease: an entry that another consumer took over is dropped; one
// that is being handled is acknowledged when that succeeds, and neither
// retried nor dead-lettered when it fails.
func TestLostLease(t *testing.T) {
	for _, tt := range []struct {
		name    string
		outcome error
		pending int
	}{
		{"handler succeeds", nil, 1},
		{"handler fails", errHandler, 2},
		{"handler fails for good", Permanent(errHandler), 2},
		{"dependency is down", Unavailable(errHandler), 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				running := s.publish("s", "a", "single")
				waiting := s.publish("s", "a", "single")
				other := s.publish("s", "b", "single")
				release := make(chan struct{})
				rec := newRecorder(t, func(_ context.Context, m *Message) error {
					if m.Entry.Ref() == running {
						<-release
						return tt.outcome
					}
					return nil
				})
				cfg := config(&client{server: s, name: "c"}, rec)
				r := start(t, cfg)
				pass(time.Second)
				s.steal(running, "other")
				s.steal(waiting, "other")
				pass(cfg.Lease / 2)
				close(release)
				pass(cfg.Lease / 2)
				if len(rec.of(running)) != 1 || len(rec.of(waiting)) != 0 || len(rec.of(other)) != 1 {
					t.Errorf("attempts %v", rec.attempts())
				}
				if n := s.pendingCount(); n != tt.pending || len(s.letters) > 0 {
					t.Errorf("%d pending, dead letters %v", n, s.reasons())
				}
				// The entity goes on with what is ours.
				later := s.publish("s", "a", "single")
				pass(time.Minute)
				if len(rec.of(later)) != 1 {
					t.Error("the entity did not go on")
				}
				r.drainCleanly()
			})
		})
	}
}

// TestLapsedLease: entries that waited while the process stood still, or was
// cut off, are not handled before the group confirms that they are ours.
func TestLapsedLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		first := s.publish("s", "a", "single")
		taken := s.publish("s", "a", "single")
		ours := s.publish("s", "a", "single")
		c := &client{server: s, name: "c"}
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			if m.Entry.Ref() == first {
				time.Sleep(31 * time.Second) // the process stands still
			}
			return nil
		})
		c.setFault(func(call string) error {
			if call == "Renew" {
				return errNetwork
			}
			return nil
		})
		r := start(t, config(c, rec))
		pass(30500 * time.Millisecond)
		s.steal(taken, "other")
		pass(20 * time.Second)
		if got := refsOf(rec.attempts()); slices.Contains(got, taken) || !slices.Contains(got, ours) {
			t.Errorf("handled %v", got)
		}
		for _, a := range rec.attempts() {
			if a.attempt != 1 {
				t.Errorf("attempt %d", a.attempt)
			}
		}
		r.drainCleanly()
	})
}

// TestLostBetweenAttempts: the second attempt does not start when another
// consumer has the entry by then.
func TestLostBetweenAttempts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		ref := s.publish("s", "a", "single")
		next := s.publish("s", "a", "single")
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			if m.Entry.Ref() == ref {
				s.steal(ref, "other")
				return errHandler
			}
			return nil
		})
		r := start(t, config(&client{server: s, name: "c"}, rec))
		pass(10 * time.Second)
		if len(rec.of(ref)) != 1 || len(rec.of(next)) != 1 || len(s.letters) != 0 {
			t.Errorf("attempts %v, dead letters %v", rec.attempts(), s.reasons())
		}
		r.drainCleanly()
	})
}

// TestLostWhileWaiting: an entry that another consumer took while it waited
// here is not handled here, and holds nothing up.
func TestLostWhileWaiting(t *testing.T) {
	t.Run("for a retry", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := newServer("s")
			ref := s.publish("s", "a", "single")
			next := s.publish("s", "a", "single")
			rec := newRecorder(t, func(_ context.Context, m *Message) error {
				if m.Entry.Ref() == ref {
					return RetryAfter(errHandler, time.Hour)
				}
				return nil
			})
			cfg := config(&client{server: s, name: "c"}, rec)
			r := start(t, cfg)
			pass(time.Second)
			s.steal(ref, "other")
			pass(cfg.Lease * 5 / 6)
			if len(rec.of(ref)) != 1 || len(rec.of(next)) != 1 {
				t.Errorf("attempts %v", rec.attempts())
			}
			r.drainCleanly()
		})
	})
	t.Run("for older ones of another stream", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := newServer("s1", "s2")
			for range 3 {
				s.publish("s1", "slow", "single")
			}
			held := s.publish("s2", "a", "single")
			rec := newRecorder(t, func(_ context.Context, m *Message) error {
				if m.Envelope.Entity.ID == "slow" {
					time.Sleep(12 * time.Second) // released after 24 s, before its lease is over here
				}
				return nil
			})
			cfg := config(&client{server: s, name: "c"}, rec)
			cfg.MaxInFlight = 3 // one of s1 and one of s2, then another of s1
			r := start(t, cfg)
			pass(time.Second)
			if s.deliveries(held) != 1 || len(rec.of(held)) != 0 {
				t.Fatal("the entry is not held back")
			}
			s.steal(held, "other")
			pass(60 * time.Second)
			if got := rec.of(held); len(got) != 1 || got[0].attempt != 2 {
				t.Errorf("attempts %v, want one after the other's lease", got)
			}
			r.drainCleanly()
		})
	})
}
