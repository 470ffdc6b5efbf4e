package delivery

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// TestSettlements: every entry is settled once, whatever becomes of it.
func TestSettlements(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s1", "s2")
		for i := range 30 {
			s.publish("s1", entity(i), []string{"single", "batch", "skip", "other", "unknown", "bad"}[i%6])
		}
		obs := &observer{}
		cfg := config(&client{server: s, name: "c"}, newRecorder(t, nil))
		cfg.Observer = obs
		e := settleAll(t, cfg)
		if want := (Stats{Handled: 10, Ignored: 5, Filtered: 5, DeadLettered: 10}); e.Stats() != want {
			t.Errorf("stats %+v", e.Stats())
		}
		for outcome, want := range map[Outcome]int{Handled: 10, Ignored: 5, Filtered: 5, DeadLettered: 10} {
			if got := obs.outcomes()[outcome]; got != want {
				t.Errorf("%d told %s, want %d", got, outcome, want)
			}
		}
		if n := s.pendingCount(); n != 0 {
			t.Errorf("%d pending", n)
		}
		reasons := s.reasons()
		slices.Sort(reasons)
		if got := slices.Compact(reasons); !slices.Equal(got, []string{string(wire.BadJSON), string(wire.UnknownType)}) {
			t.Errorf("reasons %v", got)
		}
		for _, l := range s.letters {
			if l.Attempts != 1 || l.Detail == "" || l.FirstFailed.IsZero() || l.Entry.Fields.Len() != 2 {
				t.Errorf("letter %+v", l)
			}
		}
	})
}

// TestAcksAreBatched: many are sent at once, few within milliseconds.
func TestAcksAreBatched(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		c := &client{server: s, name: "c"}
		cfg := config(c, newRecorder(t, nil))
		cfg.MaxInFlight = 5000
		r := start(t, cfg)
		pass(time.Second)
		s.publish("s", "a", "single")
		pass(ackDelay)
		if s.pendingCount() != 0 || c.calls("Ack") != 1 {
			t.Errorf("%d pending after %v", s.pendingCount(), ackDelay)
		}
		s.mu.Lock()
		for i := range 3000 {
			s.seq++
			s.add("s", wire.ID{Ms: s.seq}, entity(i), "single")
		}
		s.mu.Unlock()
		pass(time.Second)
		if n := c.calls("Ack"); s.pendingCount() != 0 || n > 20 {
			t.Errorf("%d calls for 3000 acknowledgments", n)
		}
		r.drainCleanly()
	})
}

// TestAckFails: it is tried until it works, and the effect is not repeated.
func TestAckFails(t *testing.T) {
	for _, when := range []string{"Ack", "lost Ack"} {
		t.Run(when, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				ref := s.publish("s", "a", "single")
				next := s.publish("s", "a", "single")
				c := &client{server: s, name: "c"}
				fails := 7
				c.setFault(func(call string) error {
					if call == when && fails > 0 {
						fails--
						return errNetwork
					}
					return nil
				})
				rec := newRecorder(t, nil)
				settleAll(t, config(c, rec))
				if got := refsOf(rec.attempts()); fails > 0 || !slices.Equal(got, []wire.Ref{ref, next}) {
					t.Errorf("handled %v, %d failures left", got, fails)
				}
			})
		})
	}
}

// TestObserverRefuses: an entry is acknowledged only after the observer took
// its settlement; its effect is not repeated, and others go on.
func TestObserverRefuses(t *testing.T) {
	for _, kind := range []string{"single", "batch", "skip", "bad"} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				ref := s.publish("s", "a", kind)
				other := s.publish("s", "b", kind)
				var refusing atomic.Bool
				refusing.Store(true)
				obs := &observer{refuse: func(st Settlement) error {
					if refusing.Load() && st.Message.Entry.Ref() == ref {
						return errHandler
					}
					return nil
				}}
				rec := newRecorder(t, nil)
				cfg := config(&client{server: s, name: "c"}, rec)
				cfg.Observer = obs
				r := start(t, cfg)
				pass(2 * cfg.Lease)
				if s.deliveries(ref) == 0 || s.deliveries(other) != 0 {
					t.Errorf("%d pending", s.pendingCount())
				}
				refusing.Store(false)
				pass(5 * time.Second)
				if s.pendingCount() != 0 || len(obs.settled) != 2 {
					t.Errorf("%d pending, %d settled", s.pendingCount(), len(obs.settled))
				}
				if n := len(rec.of(ref)); n > 1 {
					t.Errorf("handled %d times", n)
				}
				r.drainCleanly()
			})
		})
	}
}

// TestBuryFails: a dead letter that cannot be stored keeps its entry pending
// and its entity waiting; others go on; it is announced once.
func TestBuryFails(t *testing.T) {
	for _, kind := range []string{"bad", "single"} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				ref := s.publish("s", "a", kind)
				next := s.publish("s", "a", "single")
				other := s.publish("s", "b", "single")
				c := &client{server: s, name: "c"}
				var full atomic.Bool
				full.Store(true)
				c.setFault(func(call string) error {
					if call == "Bury" && full.Load() {
						return errors.New("OOM")
					}
					return nil
				})
				rec := newRecorder(t, func(_ context.Context, m *Message) error {
					if m.Entry.Ref() == ref {
						return Permanent(errHandler)
					}
					return nil
				})
				obs := &observer{}
				cfg := config(c, rec)
				cfg.Observer = obs
				r := start(t, cfg)
				pass(10 * time.Minute)
				if s.deliveries(ref) == 0 || len(rec.of(next)) != 0 || len(rec.of(other)) != 1 {
					t.Errorf("attempts %v", rec.attempts())
				}
				if n := c.calls("Bury"); n < 100 || n > 1000 {
					t.Errorf("%d tries in 10 minutes", n)
				}
				full.Store(false)
				pass(5 * time.Second)
				if s.pendingCount() != 0 || len(s.letters) != 1 || len(rec.of(next)) != 1 {
					t.Errorf("%d pending, %d letters", s.pendingCount(), len(s.letters))
				}
				if n := obs.outcomes()[DeadLettered]; n != 1 {
					t.Errorf("announced %d times", n)
				}
				r.drainCleanly()
			})
		})
	}
}

// TestBuryAnswerLost: the second try finds the entry settled and changes
// nothing.
func TestBuryAnswerLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		s.publish("s", "a", "bad")
		next := s.publish("s", "a", "single")
		c := &client{server: s, name: "c"}
		lost := 0
		c.setFault(func(call string) error {
			if call == "lost Bury" && lost == 0 {
				lost++
				return errNetwork
			}
			return nil
		})
		rec := newRecorder(t, nil)
		settleAll(t, config(c, rec))
		if lost != 1 || len(s.letters) != 1 || len(rec.of(next)) != 1 {
			t.Errorf("%d letters, attempts %v", len(s.letters), rec.attempts())
		}
	})
}

// TestBeginFails: an attempt starts only once it is recorded.
func TestBeginFails(t *testing.T) {
	for _, when := range []string{"Begin", "lost Begin"} {
		t.Run(when, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				ref := s.publish("s", "a", "single")
				c := &client{server: s, name: "c"}
				fails := 5
				c.setFault(func(call string) error {
					if call == when && fails > 0 {
						fails--
						return errNetwork
					}
					return nil
				})
				var counted []int
				rec := newRecorder(t, func(_ context.Context, m *Message) error {
					counted = append(counted, s.deliveries(ref))
					if m.Attempt < 3 {
						return errHandler
					}
					return nil
				})
				settleAll(t, config(c, rec))
				if fails > 0 || !slices.Equal(counted, []int{1, 2, 3}) {
					t.Errorf("attempts counted %v, %d failures left", counted, fails)
				}
			})
		})
	}
}

// TestAcksWaitForTheServer: while acknowledging fails, events that go on
// being handled do not hurry it.
func TestAcksWaitForTheServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		c := &client{server: s, name: "c"}
		c.setFault(func(call string) error {
			if call == "Ack" {
				return errNetwork
			}
			return nil
		})
		cfg := config(c, newRecorder(t, nil))
		cfg.MaxInFlight = 10000
		r := start(t, cfg)
		for i := range 1000 {
			s.publish("s", entity(i), "single")
			pass(100 * time.Millisecond)
		}
		if n := c.calls("Ack"); n < 50 || n > 120 {
			t.Errorf("%d tries in 100 s", n)
		}
		c.setFault(nil)
		r.drainCleanly()
		if s.pendingCount() != 0 {
			t.Errorf("%d pending", s.pendingCount())
		}
	})
}
