package delivery

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// TestOutage: a dependency that is down for an hour, however the handlers
// say so, dead-letters nothing; probes go to different entities with growing
// waits; the first success resumes all.
func TestOutage(t *testing.T) {
	for name, err := range map[string]error{"unavailable": Unavailable(errHandler), "plain errors": errHandler} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				for i := range 60 {
					s.publish("s", entity(i), "single")
				}
				var down atomic.Bool
				down.Store(true)
				rec := newRecorder(t, func(context.Context, *Message) error {
					if down.Load() {
						return err
					}
					return nil
				})
				obs := &observer{}
				cfg := config(&client{server: s, name: "c"}, rec)
				cfg.Observer = obs
				r := start(t, cfg)

				pass(time.Second)
				if len(obs.paused) != 1 {
					t.Fatalf("paused %d times", len(obs.paused))
				}
				pass(time.Hour)
				probes := rec.attempts()[14:] // at most 10 failures and 4 slots before the pause
				if len(probes) < 100 || len(probes) > 400 {
					t.Errorf("%d probes in an hour", len(probes))
				}
				entities := map[string]bool{}
				for i, p := range probes[:40] {
					entities[p.entity] = true
					if i > 0 && p.at.Sub(probes[i-1].at) > longestProbeWait {
						t.Errorf("no probe for %v", p.at.Sub(probes[i-1].at))
					}
				}
				if len(entities) < 40 {
					t.Errorf("40 probes went to %d entities", len(entities))
				}
				if rec.most > cfg.Concurrency {
					t.Errorf("%d handlers at once", rec.most)
				}
				for _, a := range rec.attempts() {
					if a.attempt > 2 {
						t.Fatalf("attempt %d counted during the outage", a.attempt)
					}
				}

				down.Store(false)
				pass(2*longestProbeWait + cfg.BackoffMax)
				if n := r.engine.Stats().Handled; n != 60 || obs.resumed != 1 {
					t.Errorf("%d handled, resumed %d times", n, obs.resumed)
				}
				if len(s.letters) != 0 {
					t.Errorf("dead letters: %v", s.reasons())
				}
				r.drainCleanly()
			})
		})
	}
}

// TestOutageAcrossRestarts: a process that is restarted again and again while
// a dependency is down does not use up the attempts.
func TestOutageAcrossRestarts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		ref := s.publish("s", "a", "single")
		for range 20 {
			rec := newRecorder(t, always(Unavailable(errHandler)))
			cfg := config(&client{server: s, name: "c"}, rec)
			r := start(t, cfg)
			pass(time.Minute)
			if len(rec.attempts()) < 2 {
				t.Fatal("no probes")
			}
			r.drainCleanly()
		}
		if n := s.deliveries(ref); n != 1 {
			t.Errorf("%d attempts count", n)
		}
		e := settleAll(t, config(&client{server: s, name: "c"}, newRecorder(t, nil)))
		if e.Stats().Handled != 1 {
			t.Errorf("stats %+v", e.Stats())
		}
	})
}

// TestNoOutage: failures with successes in between, the same entity failing
// again and again, and events that are bad themselves pause nothing.
func TestNoOutage(t *testing.T) {
	for _, tt := range []struct {
		name    string
		publish func(s *server, i int) wire.Ref
		do      func(m *Message) error
	}{
		{"successes in between", func(s *server, i int) wire.Ref { return s.publish("s", entity(i), "single") },
			func(m *Message) error {
				if m.Entry.ID.Ms%3 > 0 && m.Attempt == 1 {
					return errHandler
				}
				return nil
			}},
		{"one entity", func(s *server, _ int) wire.Ref { return s.publish("s", "a", "single") },
			func(*Message) error { return errHandler }},
		{"permanent failures", func(s *server, i int) wire.Ref { return s.publish("s", entity(i), "single") },
			func(*Message) error { return Permanent(errHandler) }},
		{"refused", func(s *server, i int) wire.Ref { return s.publish("s", entity(i), "bad") }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				for i := range 60 {
					tt.publish(s, i)
				}
				obs := &observer{}
				cfg := config(&client{server: s, name: "c"}, newRecorder(t, func(_ context.Context, m *Message) error { return tt.do(m) }))
				cfg.Concurrency, cfg.Observer = 1, obs
				settleAll(t, cfg)
				if len(obs.paused) > 0 {
					t.Errorf("paused %d times", len(obs.paused))
				}
				if len(obs.settled) != 60 {
					t.Errorf("%d settled", len(obs.settled))
				}
			})
		})
	}
}

// TestPoisonInOutageOfItsOwn: ten entities that fail by their own fault look
// like an outage until one succeeds; new events are probed first, and the
// bad ones are dead-lettered in the end.
func TestPoisonInOutageOfItsOwn(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for i := range 10 {
			s.publish("s", entity(i), "single")
		}
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			if m.Entry.ID.Ms <= 10 {
				return errHandler
			}
			return nil
		})
		obs := &observer{}
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.Observer = obs
		r := start(t, cfg)
		pass(time.Hour)
		if len(s.letters) != 0 || len(obs.paused) != 1 {
			t.Fatalf("%d dead letters, paused %d times", len(s.letters), len(obs.paused))
		}
		for i := range 100 {
			good := s.publish("s", entity(100+i), "single")
			pass(longestProbeWait + time.Second)
			if len(rec.of(good)) != 1 {
				t.Fatalf("the good event waited for more than a probe")
			}
			if len(s.letters) == 10 {
				break
			}
		}
		if len(s.letters) != 10 {
			t.Errorf("%d dead letters in the end", len(s.letters))
		}
		r.drainCleanly()
	})
}

// TestOutageKeepsReading: while paused, entries are taken in hand up to
// MaxInFlight, keep their lease, and bad ones are dead-lettered.
func TestOutageKeepsReading(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		s.publish("s", "first", "single")
		c := &client{server: s, name: "c", bound: 100}
		cfg := config(c, newRecorder(t, always(Unavailable(errHandler))))
		r := start(t, cfg)
		pass(time.Second)
		for i := range 200 {
			s.publish("s", entity(i), "single")
		}
		s.publish("s2", "bad", "bad")
		pass(time.Hour)
		if n := s.pendingCount(); n != 100 || c.over {
			t.Errorf("%d in hand", n)
		}
		s.mu.Lock()
		for ref, p := range s.pending {
			if time.Since(p.delivered) >= cfg.Lease {
				t.Errorf("the lease of %v ran out", ref)
			}
		}
		s.mu.Unlock()
		if len(s.letters) != 0 { // there was no room to read it
			t.Errorf("dead letters %v", s.reasons())
		}
		r.drainCleanly()
	})
}

// TestStuckProbe: a probe that never returns does not keep others from
// probing.
func TestStuckProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for i := range 5 {
			s.publish("s", entity(i), "single")
		}
		release := make(chan struct{})
		var calls atomic.Int32
		rec := newRecorder(t, func(context.Context, *Message) error {
			switch calls.Add(1) {
			case 1:
				return Unavailable(errHandler)
			case 2:
				<-release
			}
			return nil
		})
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.Concurrency = 1
		r := start(t, cfg)
		pass(2 * time.Minute)
		if n := r.engine.Stats().Handled; n != 4 {
			t.Errorf("%d handled while a probe is stuck", n)
		}
		close(release)
		r.drainCleanly()
	})
}

// TestOutageIsNotEndedByOlderCalls: the success of a call that began before
// the outage says nothing about now.
func TestOutageIsNotEndedByOlderCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		s.publish("s", "slow", "single")
		for i := range 20 {
			s.publish("s", entity(i), "single")
		}
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			if m.Envelope.Entity.ID == "slow" {
				time.Sleep(10 * time.Second)
				return nil
			}
			return Unavailable(errHandler)
		})
		obs := &observer{}
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.Observer = obs
		r := start(t, cfg)
		pass(time.Minute)
		if len(obs.paused) != 1 || obs.resumed != 0 || r.engine.Stats().Handled != 1 {
			t.Errorf("paused %d times, resumed %d times", len(obs.paused), obs.resumed)
		}
		r.drainCleanly()
	})
}

// TestOneEntityUnavailable: an entity whose own dependency is down pauses the
// others ever more rarely.
func TestOneEntityUnavailable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		bad := s.publish("s", "bad", "single")
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			if m.Entry.Ref() == bad {
				return Unavailable(errHandler)
			}
			return nil
		})
		cfg := config(&client{server: s, name: "c"}, rec)
		r := start(t, cfg)
		for i := range 3000 {
			s.publish("s", entity(i), "single")
			pass(200 * time.Millisecond)
		}
		if n := len(rec.of(bad)); n < 60 || n > 300 { // 10 minutes, BackoffMax is 10 s
			t.Errorf("%d tries", n)
		}
		if n := r.engine.Stats().Handled; n < 2990 {
			t.Errorf("%d of 3000 others handled", n)
		}
		r.drainCleanly()
	})
}
