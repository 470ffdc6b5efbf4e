package delivery

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// TestDrain: what is in hand is finished and acknowledged, what waits for a
// retry is not waited for, and nothing new is read.
func TestDrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		failing := s.publish("s", "failing", "single")
		behind := s.publish("s", "failing", "single")
		for i := range 20 {
			s.publish("s", entity(i), []string{"single", "batch"}[i%2])
		}
		var ended atomic.Bool
		rec := newRecorder(t, func(ctx context.Context, m *Message) error {
			if m.Envelope.Entity.ID == "failing" {
				return RetryAfter(errHandler, time.Minute)
			}
			time.Sleep(time.Second)
			if ctx.Err() != nil {
				ended.Store(true)
			}
			return nil
		})
		r := start(t, config(&client{server: s, name: "c"}, rec))
		pass(500 * time.Millisecond)
		r.stop()
		pass(time.Millisecond)
		late := s.publish("s", "late", "single")
		began := time.Now()
		if err := r.wait(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if d := time.Since(began); d > 15*time.Second {
			t.Errorf("drained in %v", d)
		}
		if n := r.engine.Stats().Handled; n != 20 || ended.Load() {
			t.Errorf("%d handled, a handler's context had ended: %v", n, ended.Load())
		}
		if s.pendingCount() != 2 || s.deliveries(failing) != 1 || s.deliveries(behind) != 1 {
			t.Errorf("%d pending", s.pendingCount())
		}
		if len(rec.of(late)) != 0 {
			t.Error("a new entry was read")
		}
	})
}

func TestDrainOfIdleEngineIsImmediate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := start(t, config(&client{server: newServer("s"), name: "c"}, newRecorder(t, nil)))
		pass(500 * time.Millisecond)
		began := time.Now()
		r.drainCleanly()
		if d := time.Since(began); d > 0 {
			t.Errorf("took %v", d)
		}
	})
}

// TestDrainFindsStrandedEntries: the reply of the read that the drain cut off
// was lost; its entries are handled all the same.
func TestDrainFindsStrandedEntries(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s1", "s2")
		c := &client{server: s, name: "c"}
		rec := newRecorder(t, nil)
		r := start(t, config(c, rec))
		pass(time.Second)
		c.setFault(func(call string) error {
			if call == "lost Read" {
				r.stop()
				time.Sleep(time.Millisecond)
				return context.Canceled
			}
			return nil
		})
		for i := range 10 {
			s.publish([]string{"s1", "s2"}[i%2], entity(i), "single")
		}
		if err := r.wait(); err != nil {
			t.Errorf("Run: %v", err)
		}
		if n := s.pendingCount(); n != 0 {
			t.Errorf("%d pending", n)
		}
	})
}

// TestDrainTimeout: handlers that take too long are cancelled, and what they
// left is pending and counted.
func TestDrainTimeout(t *testing.T) {
	for _, heeds := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			s := newServer("s")
			for i := range 7 {
				s.publish("s", entity(i), "single")
			}
			release := make(chan struct{})
			var cause atomic.Value
			rec := newRecorder(t, func(ctx context.Context, _ *Message) error {
				if heeds {
					<-ctx.Done()
					cause.Store(context.Cause(ctx))
					return ctx.Err()
				}
				<-release
				return nil
			})
			cfg := config(&client{server: s, name: "c"}, rec)
			cfg.MaxAttempts = 1
			cfg.DrainTimeout = 2 * time.Second
			r := start(t, cfg)
			pass(time.Second)
			began := time.Now()
			r.stop()
			err := r.wait()
			if err == nil || !strings.Contains(err.Error(), "7 entries not finished within 2s") {
				t.Errorf("Run: %v", err)
			}
			if d := time.Since(began); d < cfg.DrainTimeout || d > cfg.DrainTimeout+3*lastWait {
				t.Errorf("took %v", d)
			}
			if heeds && !errors.Is(cause.Load().(error), errDrainTimeout) {
				t.Errorf("handlers were cancelled with %v", cause.Load())
			}
			if n := s.pendingCount(); n != 7 || len(s.letters) != 0 {
				t.Errorf("%d pending, dead letters %v", n, s.reasons())
			}
			close(release)
		})
	}
}

// TestDrainWithoutServer: acknowledgments that cannot be sent are tried for
// the time there is.
func TestDrainWithoutServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		s.publish("s", "a", "single")
		c := &client{server: s, name: "c"}
		c.setFault(func(call string) error {
			if call == "Ack" {
				return errNetwork
			}
			return nil
		})
		cfg := config(c, newRecorder(t, nil))
		r := start(t, cfg)
		pass(time.Second)
		r.stop()
		pass(cfg.DrainTimeout / 2)
		c.setFault(nil)
		if err := r.wait(); err != nil || s.pendingCount() != 0 {
			t.Errorf("Run: %v, %d pending", err, s.pendingCount())
		}
	})
}

// TestDrainWhilePaused: an outage does not prolong it.
func TestDrainWhilePaused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for i := range 30 {
			s.publish("s", entity(i), "single")
		}
		r := start(t, config(&client{server: s, name: "c"}, newRecorder(t, always(Unavailable(errHandler)))))
		pass(time.Minute)
		began := time.Now()
		r.drainCleanly()
		if d := time.Since(began); d > time.Second {
			t.Errorf("took %v", d)
		}
		if n := s.pendingCount(); n != 30 {
			t.Errorf("%d pending", n)
		}
	})
}

// TestAbort: handlers are cancelled at once and nothing more is settled.
func TestAbort(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for i := range 10 {
			s.publish("s", entity(i), "single")
		}
		lost := errors.New("the lease was lost")
		var cause atomic.Value
		rec := newRecorder(t, func(ctx context.Context, m *Message) error {
			<-ctx.Done()
			cause.Store(context.Cause(ctx))
			return nil
		})
		obs := &observer{}
		c := &client{server: s, name: "c"}
		cfg := config(c, rec)
		cfg.Observer = obs
		r := start(t, cfg)
		pass(time.Second)
		r.engine.Abort(lost)
		began := time.Now()
		if err := r.wait(); !errors.Is(err, lost) {
			t.Errorf("Run: %v", err)
		}
		if d := time.Since(began); d > 0 || !errors.Is(cause.Load().(error), lost) {
			t.Errorf("took %v, handlers were cancelled with %v", d, cause.Load())
		}
		if s.pendingCount() != 10 || len(obs.settled) != 0 || c.calls("Ack") != 0 {
			t.Errorf("%d pending, %d settled", s.pendingCount(), len(obs.settled))
		}
		r.stop()
	})
}

func TestAbortBeforeRun(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e, err := New(config(&client{server: newServer("s"), name: "c"}, newRecorder(t, nil)))
		if err != nil {
			t.Fatal(err)
		}
		e.Abort(errHandler)
		if err := e.Run(t.Context()); !errors.Is(err, errHandler) {
			t.Errorf("Run: %v", err)
		}
	})
}

// TestContextValues: handlers see the values of Run's context.
func TestContextValues(t *testing.T) {
	type key struct{}
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		s.publish("s", "a", "single")
		var got any
		cfg := config(&client{server: s, name: "c"}, newRecorder(t, func(ctx context.Context, _ *Message) error {
			got = ctx.Value(key{})
			return nil
		}))
		cfg.StopWhenDrained = true
		e, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Run(context.WithValue(t.Context(), key{}, 7)); err != nil || got != 7 {
			t.Errorf("Run: %v, value %v", err, got)
		}
	})
}

// TestStopWhenDrained: Run returns once everything is settled, retries and
// what other consumers hold included.
func TestStopWhenDrained(t *testing.T) {
	for _, tt := range []struct {
		name     string
		prepare  func(s *server)
		do       func(m *Message) error
		atLeast  time.Duration
		atMost   time.Duration
		handled  int64
		deadLive int64
	}{
		{"nothing there", func(*server) {}, nil, 0, time.Second, 0, 0},
		{"new entries", func(s *server) {
			for i := range 500 {
				s.publish("s", entity(i), "single")
			}
		}, nil, 0, time.Second, 500, 0},
		{"retries", func(s *server) { s.publish("s", "a", "single") }, func(m *Message) error {
			if m.Attempt == 1 {
				return RetryAfter(errHandler, time.Hour/2)
			}
			return nil
		}, time.Hour / 2, time.Hour/2 + time.Second, 1, 0},
		{"dead letters", func(s *server) { s.publish("s", "a", "bad") }, nil, 0, time.Second, 0, 1},
		{"another's pending entries", func(s *server) {
			s.deliver("dead", 1, s.publish("s", "a", "single"))
			time.Sleep(7 * time.Second) // of a lease of 30 s
		}, nil, 23 * time.Second, 25 * time.Second, 1, 0},
		{"another settles", func(s *server) {
			ref := s.publish("s", "a", "single")
			s.deliver("other", 1, ref)
			go func() {
				time.Sleep(10 * time.Second)
				s.mu.Lock()
				delete(s.pending, ref)
				s.mu.Unlock()
			}()
		}, nil, 10 * time.Second, 12 * time.Second, 0, 0},
		{"published meanwhile", func(s *server) {
			s.publish("s", "a", "single")
			go func() {
				time.Sleep(5 * time.Second)
				s.publish("s", "b", "single")
			}()
		}, func(m *Message) error {
			if m.Envelope.Entity.ID == "a" {
				time.Sleep(10 * time.Second)
			}
			return nil
		}, 10 * time.Second, 11 * time.Second, 2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				tt.prepare(s)
				rec := newRecorder(t, func(_ context.Context, m *Message) error {
					if tt.do == nil {
						return nil
					}
					return tt.do(m)
				})
				began := time.Now()
				e := settleAll(t, config(&client{server: s, name: "c"}, rec))
				if d := time.Since(began); d < tt.atLeast || d > tt.atMost {
					t.Errorf("took %v", d)
				}
				if n := s.pendingCount(); n != 0 {
					t.Errorf("%d pending", n)
				}
				if got := e.Stats(); got.Handled != tt.handled || got.DeadLettered != tt.deadLive {
					t.Errorf("stats %+v", got)
				}
			})
		})
	}
}

// TestStopWhenDrainedTakesOver: with TakeOver it does not wait for the lease.
func TestStopWhenDrainedTakesOver(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		var want []wire.Ref
		for i := range 250 {
			ref := s.publish("s", "a", "single")
			if i < 230 {
				s.deliver("dead", 1, ref)
			}
			want = append(want, ref)
		}
		rec := newRecorder(t, nil)
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.TakeOver = true
		began := time.Now()
		settleAll(t, cfg)
		if d := time.Since(began); d > time.Second {
			t.Errorf("took %v", d)
		}
		if got := refsOf(rec.attempts()); len(got) != len(want) || got[0] != want[0] || got[249] != want[249] {
			t.Errorf("handled %d", len(got))
		}
	})
}

// TestDrainDoesNotWaitForBatches: a batch that waits for more goes at once.
func TestDrainDoesNotWaitForBatches(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for i := range 3 {
			s.publish("s", entity(i), "batch")
		}
		rec := newRecorder(t, nil)
		cfg := config(&client{server: s, name: "c"}, rec)
		route := &Route{HandleBatch: rec.handleBatch, BatchSize: 10, BatchWait: time.Minute}
		cfg.Route = func(*events.Envelope) (*Route, Disposition) { return route, Handle }
		r := start(t, cfg)
		pass(time.Second)
		began := time.Now()
		r.drainCleanly()
		if n, d := r.engine.Stats().Handled, time.Since(began); n != 3 || d > 0 {
			t.Errorf("%d handled in %v", n, d)
		}
	})
}

// TestStopWhenDrainedOfUnevenStreams: streams that are empty do not slow down
// the drain of those that are not.
func TestStopWhenDrainedOfUnevenStreams(t *testing.T) {
	for _, inFlight := range []int{100, 300} {
		bubble(t, func(t *testing.T) {
			s := newServer()
			for i := range 2000 {
				s.publish(entity(min(i%100, 19)), entity(i), "single")
			}
			rec := newRecorder(t, func(context.Context, *Message) error { time.Sleep(time.Millisecond); return nil })
			cfg := config(&client{server: s, name: "c"}, rec)
			cfg.MaxInFlight = inFlight
			began := time.Now()
			settleAll(t, cfg)
			if d := time.Since(began); d > 700*time.Millisecond {
				t.Errorf("took %v with %d in flight", d, inFlight)
			}
		})
	}
}
