package delivery

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// sizes returns the sizes of the batches in order.
func (r *recorder) sizes() (sizes []int) {
	call := 0
	for _, a := range r.attempts() {
		if a.call != call {
			call = a.call
			sizes = append(sizes, a.batch)
		}
	}
	return sizes
}

func TestBatchSizes(t *testing.T) {
	for _, tt := range []struct {
		name     string
		entities int
		events   int
		want     []int
	}{
		{"full batches and a rest", 25, 25, []int{10, 10, 5}},
		{"one entity", 1, 25, []int{10, 10, 5}},
		{"few", 3, 4, []int{4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				for i := range tt.events {
					s.publish("s", entity(i%tt.entities), "batch")
				}
				rec := newRecorder(t, nil)
				settleAll(t, config(&client{server: s, name: "c"}, rec))
				if got := rec.sizes(); !slices.Equal(got, tt.want) {
					t.Errorf("batches of %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// TestBatchWait: a batch that is not full waits for more, but not for long.
func TestBatchWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		rec := newRecorder(t, nil)
		cfg := config(&client{server: s, name: "c"}, rec)
		r := start(t, cfg)
		pass(time.Second)
		began := time.Now()
		s.publish("s", "a", "batch")
		pass(2 * time.Millisecond)
		s.publish("s", "b", "batch")
		pass(time.Second)
		r.drainCleanly()
		got := rec.attempts()
		if len(got) != 2 || got[0].batch != 2 || got[0].at.Sub(began) != 5*time.Millisecond {
			t.Errorf("attempts %+v, began %v", got, began)
		}
	})
}

// TestBatchKeepsOrder: events of other routes in between split the run of an
// entity, and one batch of a route is under way at a time.
func TestBatchKeepsOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		var want []wire.Ref
		for i := range 30 {
			kind := "batch"
			if i%7 == 3 {
				kind = "single"
			}
			want = append(want, s.publish("s", "a", kind))
		}
		rec := newRecorder(t, func(context.Context, *Message) error { time.Sleep(time.Second); return nil })
		settleAll(t, config(&client{server: s, name: "c"}, rec))
		if got := refsOf(rec.attempts()); !slices.Equal(got, want) {
			t.Errorf("handled %v", got)
		}
		if rec.most != 1 {
			t.Errorf("%d calls at once", rec.most)
		}
	})
}

// TestBatchPoison: a failed batch is handled one by one, so that the poison
// event fails alone, and nothing that was with it is dead-lettered.
func TestBatchPoison(t *testing.T) {
	for _, attempts := range []int{1, 2, 5} {
		for _, err := range []error{errHandler, Permanent(errHandler)} {
			t.Run("", func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s := newServer("s")
					var poison wire.Ref
					for i := range 10 {
						ref := s.publish("s", entity(i/2), "batch")
						if i == 4 {
							poison = ref
						}
					}
					rec := newRecorder(t, func(_ context.Context, m *Message) error {
						if m.Entry.Ref() == poison {
							return err
						}
						return nil
					})
					cfg := config(&client{server: s, name: "c"}, rec)
					cfg.MaxAttempts = attempts
					e := settleAll(t, cfg)
					if len(s.letters) != 1 || s.letters[0].Entry.Ref() != poison {
						t.Errorf("dead letters %+v", s.letters)
					}
					if n := e.Stats().Handled; n != 9 {
						t.Errorf("%d handled", n)
					}
					got := rec.attempts()
					if got[0].batch != 10 {
						t.Fatalf("first batch of %d", got[0].batch)
					}
					for _, a := range got[10:] {
						if a.batch != 1 || a.attempt > attempts {
							t.Errorf("handled again with attempt %d in a batch of %d", a.attempt, a.batch)
						}
					}
				})
			})
		}
	}
}

// TestBatchAfterCrashes: what crashed twice is handled alone, with one call
// to begin a batch's attempts.
func TestBatchAfterCrashes(t *testing.T) {
	for _, tt := range []struct{ deliveries, maxAttempts, batch int }{
		{1, 5, 10}, {2, 5, 1}, {4, 5, 1}, {1, 2, 1},
	} {
		bubble(t, func(t *testing.T) {
			s := newServer("s")
			for i := range 10 {
				s.deliver("c", tt.deliveries, s.publish("s", entity(i), "batch"))
			}
			c := &client{server: s, name: "c"}
			rec := newRecorder(t, nil)
			cfg := config(c, rec)
			cfg.MaxAttempts = tt.maxAttempts
			settleAll(t, cfg)
			got := rec.attempts()
			if len(got) != 10 {
				t.Fatalf("%d handled", len(got))
			}
			for _, a := range got {
				if a.batch != tt.batch || a.attempt != tt.deliveries+1 {
					t.Errorf("%+v: attempt %d in a batch of %d", tt, a.attempt, a.batch)
				}
			}
			if n := c.calls("Begin"); n != 10/tt.batch {
				t.Errorf("%+v: %d calls of Begin", tt, n)
			}
		})
	}
}

// TestBatchLosesEntry: an entry that is another consumer's is left out of
// the batch, and the failure of the rest is not put down to it.
func TestBatchLosesEntry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		var refs []wire.Ref
		for i := range 3 {
			refs = append(refs, s.publish("s", entity(i), "batch"))
		}
		s.deliver("c", 1, refs...)
		c := &client{server: s, name: "c"}
		c.setFault(func(call string) error {
			if call == "lost Own" {
				s.steal(refs[0], "other")
			}
			return nil
		})
		obs := &observer{}
		var failed atomic.Bool
		rec := newRecorder(t, func(context.Context, *Message) error {
			if !failed.Swap(true) {
				return errHandler
			}
			return nil
		})
		cfg := config(c, rec)
		cfg.Observer = obs
		r := start(t, cfg)
		pass(5 * time.Second)
		if got := refsOf(rec.attempts()); !slices.Equal(got, []wire.Ref{refs[1], refs[2], refs[1], refs[2]}) {
			t.Errorf("handled %v", got)
		}
		if n := s.pendingCount(); n != 1 {
			t.Errorf("%d pending, want the other's", n)
		}
		r.drainCleanly()
	})
}

// TestBatchUnavailable: an outage pauses a batch route without handling its
// events one by one, and counts no attempt.
func TestBatchUnavailable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		var refs []wire.Ref
		for i := range 10 {
			refs = append(refs, s.publish("s", entity(i), "batch"))
		}
		var down atomic.Bool
		down.Store(true)
		rec := newRecorder(t, func(context.Context, *Message) error {
			if down.Load() {
				return Unavailable(errHandler)
			}
			return nil
		})
		r := start(t, config(&client{server: s, name: "c"}, rec))
		pass(10 * time.Minute)
		probes := rec.attempts()[10:]
		if len(probes) < 10 || len(probes) > 100 {
			t.Errorf("%d probes in 10 minutes", len(probes))
		}
		for _, a := range probes {
			if a.batch != 1 {
				t.Errorf("a probe of %d events", a.batch)
			}
		}
		down.Store(false)
		pass(time.Minute)
		r.drainCleanly()
		for _, a := range rec.attempts() {
			if a.attempt != 1 {
				t.Errorf("attempt %d counts", a.attempt)
			}
		}
		if n := r.engine.Stats().Handled; n != 10 {
			t.Errorf("%d of %d handled", n, len(refs))
		}
	})
}

// TestBatchRetryAfter: the events of a batch that asks for time wait for it.
func TestBatchRetryAfter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for i := range 4 {
			s.publish("s", entity(i/2), "batch")
		}
		var failed atomic.Bool
		rec := newRecorder(t, func(context.Context, *Message) error {
			if !failed.Swap(true) {
				return RetryAfter(errHandler, time.Minute)
			}
			return nil
		})
		settleAll(t, config(&client{server: s, name: "c"}, rec))
		got := rec.attempts()
		if len(got) != 8 {
			t.Fatalf("%d attempts", len(got))
		}
		if d := got[4].at.Sub(got[0].at); d != time.Minute {
			t.Errorf("waited %v", d)
		}
	})
}

// TestBatchOfOneIsKept: what a batch handler was given is its own.
func TestBatchOfOneIsKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		cfg := config(&client{server: s, name: "c"}, newRecorder(t, nil))
		var kept [][]*Message
		var want []wire.Ref
		route := &Route{Name: "b", BatchSize: 1, BatchWait: time.Millisecond, HandleBatch: func(_ context.Context, ms []*Message) error {
			kept = append(kept, ms)
			return nil
		}}
		cfg.Route = func(*events.Envelope) (*Route, Disposition) { return route, Handle }
		for i := range 3 {
			want = append(want, s.publish("s", entity(i), "batch"))
		}
		settleAll(t, cfg)
		if len(kept) != len(want) {
			t.Fatalf("%d batches", len(kept))
		}
		for i, ms := range kept {
			if ms[0].Entry.Ref() != want[i] {
				t.Errorf("batch %d has become %v", i, ms[0].Entry.Ref())
			}
		}
	})
}
