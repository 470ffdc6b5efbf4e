package delivery

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

var errHandler = errors.New("handler failed")

func always(err error) func(context.Context, *Message) error {
	return func(context.Context, *Message) error { return err }
}

// TestRetrySchedule: each wait is at most double the one before, and the
// group's count follows the attempts.
func TestRetrySchedule(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		ref := s.publish("s", "a", "single")
		var counts []int
		rec := newRecorder(t, func(context.Context, *Message) error {
			counts = append(counts, s.deliveries(ref))
			time.Sleep(time.Second)
			return errHandler
		})
		obs := &observer{}
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.BackoffMin, cfg.BackoffMax = 100*time.Millisecond, 300*time.Millisecond
		cfg.Observer = obs
		e := settleAll(t, cfg)

		most := []time.Duration{100, 200, 300, 300} // ms
		got := rec.attempts()
		if len(got) != 5 {
			t.Fatalf("%d attempts, want 5", len(got))
		}
		for i, a := range got {
			if a.attempt != i+1 || counts[i] != i+1 {
				t.Errorf("call %d was attempt %d, count %d in the group", i+1, a.attempt, counts[i])
			}
			if i == 0 {
				continue
			}
			wait := a.at.Sub(got[i-1].at) - time.Second
			if wait <= 0 || wait > most[i-1]*time.Millisecond || wait != obs.retried[i-1] {
				t.Errorf("wait %d was %v, observer told %v", i, wait, obs.retried[i-1])
			}
		}
		l := s.letters[0]
		if l.Reason != ReasonExhausted || l.Attempts != 5 || l.Detail != errHandler.Error() {
			t.Errorf("letter %+v", l)
		}
		if !l.FirstFailed.Equal(got[0].at.Add(time.Second)) || !l.LastFailed.Equal(got[4].at.Add(time.Second)) {
			t.Errorf("failed from %v to %v", l.FirstFailed, l.LastFailed)
		}
		if want := (Stats{DeadLettered: 1, Retried: 4}); e.Stats() != want {
			t.Errorf("stats %+v", e.Stats())
		}
	})
}

func TestBackoffIsBounded(t *testing.T) {
	for n := 1; n < 100; n++ {
		for range 20 {
			if d := backoff(n, time.Second, time.Hour); d <= 0 || d > time.Hour || n < 10 && d > time.Second<<(n-1) {
				t.Fatalf("backoff %d is %v", n, d)
			}
			if d := retryWait(n); d < 25*time.Millisecond || d > 2*time.Second {
				t.Fatalf("wait %d is %v", n, d)
			}
		}
	}
}

func TestHandlerErrors(t *testing.T) {
	for _, tt := range []struct {
		name     string
		do       func(ctx context.Context, m *Message) error
		attempts int
		reason   string // "" when the last attempt succeeds
		detail   string
	}{
		{"success", nil, 1, "", ""},
		{"success at the third attempt", func(_ context.Context, m *Message) error {
			if m.Attempt < 3 {
				return errHandler
			}
			return nil
		}, 3, "", ""},
		{"permanent", always(Permanent(errHandler)), 1, ReasonPermanent, "handler failed"},
		{"permanent after a failure", func(_ context.Context, m *Message) error {
			if m.Attempt < 2 {
				return errHandler
			}
			return Permanent(errHandler)
		}, 2, ReasonPermanent, "handler failed"},
		{"panic with text", func(context.Context, *Message) error { panic("boom\nsecond line") }, 5, ReasonExhausted, "panic: string: boom"},
		{"panic with long text", func(context.Context, *Message) error { panic(strings.Repeat("é", 500)) }, 5, ReasonExhausted, "panic: string: " + strings.Repeat("é", 100) + "…"},
		{"panic with error", func(_ context.Context, m *Message) error { panic(fmt.Errorf("attempt %d", m.Attempt)) }, 5, ReasonExhausted, "panic: *errors.errorString: attempt 5"},
		{"panic with nil", func(context.Context, *Message) error { panic(nil) }, 5, ReasonExhausted, "panic: *runtime.PanicNilError: panic called with nil argument"},
		{"end of the goroutine", func(context.Context, *Message) error { runtime.Goexit(); return nil }, 5, ReasonExhausted, "the handler ended its goroutine"},
		{"timeout", func(ctx context.Context, _ *Message) error { <-ctx.Done(); return ctx.Err() }, 5, ReasonExhausted, "context deadline exceeded"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				ref := s.publish("s", "a", "single")
				after := s.publish("s", "a", "single")
				rec := newRecorder(t, func(ctx context.Context, m *Message) error {
					if m.Entry.Ref() == after || tt.do == nil {
						return nil
					}
					return tt.do(ctx, m)
				})
				settleAll(t, config(&client{server: s, name: "c"}, rec))
				if n := len(rec.of(ref)); n != tt.attempts {
					t.Errorf("%d attempts, want %d", n, tt.attempts)
				}
				if n := len(rec.of(after)); n != 1 {
					t.Errorf("the entity's next event had %d attempts, want 1", n)
				}
				var reason, detail string
				if len(s.letters) > 0 {
					reason, detail = s.letters[0].Reason, s.letters[0].Detail
				}
				if reason != tt.reason || detail != tt.detail {
					t.Errorf("dead letter %q, %q; want %q, %q", reason, detail, tt.reason, tt.detail)
				}
			})
		})
	}
}

func TestRetryAfter(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		s.publish("s", "a", "single")
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			if m.Attempt == 1 {
				return RetryAfter(errHandler, 7*time.Minute)
			}
			return nil
		})
		settleAll(t, config(&client{server: s, name: "c"}, rec))
		got := rec.attempts()
		if len(got) != 2 || got[1].at.Sub(got[0].at) != 7*time.Minute {
			t.Errorf("attempts %v", got)
		}
	})
}

// TestCrashedAttempts: attempts whose process died count.
func TestCrashedAttempts(t *testing.T) {
	for _, tt := range []struct {
		deliveries, attempt int // 0: not handled
	}{{1, 2}, {3, 4}, {4, 5}, {5, 0}, {9, 0}} {
		for _, owner := range []string{"c", "dead"} {
			t.Run(fmt.Sprintf("%d deliveries to %s", tt.deliveries, owner), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s := newServer("s")
					ref := s.publish("s", "a", "single")
					next := s.publish("s", "a", "single")
					s.deliver(owner, tt.deliveries, ref)
					counted := 0
					rec := newRecorder(t, func(_ context.Context, m *Message) error {
						if m.Entry.Ref() == ref {
							counted = s.deliveries(ref)
						}
						return nil
					})
					settleAll(t, config(&client{server: s, name: "c"}, rec))
					var got int
					if tries := rec.of(ref); len(tries) > 0 {
						got = tries[0].attempt
					}
					if got != tt.attempt || counted != tt.attempt {
						t.Errorf("attempt %d, counted %d, want %d", got, counted, tt.attempt)
					}
					if tt.attempt == 0 && !slices.Equal(s.reasons(), []string{ReasonCrashed}) {
						t.Errorf("dead letters %v", s.reasons())
					}
					if len(rec.of(next)) != 1 {
						t.Error("the entity's next event was not handled")
					}
				})
			})
		}
	}
}

// TestOneAttempt: an entry that was delivered once may only have waited. It is
// no crash, even where one attempt is all there is.
func TestOneAttempt(t *testing.T) {
	for deliveries, wantCalls := range []int{1, 1, 0} {
		t.Run(fmt.Sprintf("%d deliveries", deliveries), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				ref := s.publish("s", "a", "single")
				if deliveries > 0 {
					s.deliver("dead", deliveries, ref)
				}
				rec := newRecorder(t, always(errors.New("no")))
				cfg := config(&client{server: s, name: "c"}, rec)
				cfg.MaxAttempts = 1
				settleAll(t, cfg)
				want := ReasonExhausted
				if wantCalls == 0 {
					want = ReasonCrashed
				}
				if len(rec.of(ref)) != wantCalls || !slices.Equal(s.reasons(), []string{want}) {
					t.Errorf("called %d times, dead letters %v, want %d and %s", len(rec.of(ref)), s.reasons(), wantCalls, want)
				}
			})
		})
	}
}

// TestNilPointerAsError: an error that cannot even say what it is must not
// end the process.
func TestNilPointerAsError(t *testing.T) {
	for _, kind := range []string{"single", "batch"} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				s.publish("s", "a", kind)
				var none *textError
				rec := newRecorder(t, always(none))
				settleAll(t, config(&client{server: s, name: "c"}, rec))
				if !slices.Equal(s.reasons(), []string{ReasonExhausted}) || !strings.Contains(s.letters[0].Detail, "nil pointer") {
					t.Errorf("dead letters %+v", s.letters)
				}
			})
		})
	}
}

type textError struct{ text string }

func (e *textError) Error() string { return e.text }

// TestPoison: one event that always fails holds up nothing but its entity.
func TestPoison(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		var poison wire.Ref
		for i := range 1000 {
			ref := s.publish("s", entity(i), "single")
			if i == 500 {
				poison = ref
			}
		}
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			if m.Entry.Ref() == poison {
				return errHandler
			}
			return nil
		})
		began := time.Now()
		c := &client{server: s, name: "c"}
		e := settleAll(t, config(c, rec))
		last := began
		for _, a := range rec.attempts() {
			if a.ref != poison && a.at.After(last) {
				last = a.at
			}
		}
		if d := last.Sub(began); d > time.Second {
			t.Errorf("the good ones took %v", d)
		}
		if n := len(rec.of(poison)); n != 5 {
			t.Errorf("%d attempts at the poison", n)
		}
		if want := (Stats{Handled: 999, DeadLettered: 1, Retried: 4}); e.Stats() != want {
			t.Errorf("stats %+v", e.Stats())
		}
	})
}

// TestStuckHandler: a handler that ignores its timeout keeps its entity, but
// not its slot.
func TestStuckHandler(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		release := make(chan struct{})
		stuck := s.publish("s", "stuck", "single")
		behind := s.publish("s", "stuck", "single")
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			if m.Entry.Ref() == stuck && m.Attempt == 1 {
				<-release
				return errHandler
			}
			return nil
		})
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.Concurrency = 1
		r := start(t, cfg)
		pass(time.Second)
		other := s.publish("s", "other", "single")
		pass(cfg.HandlerTimeout - 2*time.Second)
		if len(rec.of(other)) != 0 {
			t.Fatal("two handlers at once with one slot")
		}
		pass(2 * time.Second)
		if len(rec.of(other)) != 1 {
			t.Fatal("the slot was not given away")
		}
		pass(5 * cfg.Lease)
		if len(rec.of(behind)) != 0 || len(rec.of(stuck)) != 1 {
			t.Fatal("the stuck handler's entity was handled meanwhile")
		}
		if owner := s.pending[stuck].consumer; owner != "c" || time.Since(s.pending[stuck].delivered) >= cfg.Lease {
			t.Error("the lease of the stuck entry ran out")
		}
		close(release)
		pass(time.Second)
		if got := rec.of(stuck); len(got) != 2 || got[1].attempt != 2 {
			t.Errorf("attempts at the stuck event: %v", got)
		}
		if len(rec.of(behind)) != 1 {
			t.Error("the entity did not go on")
		}
		r.drainCleanly()
		if n := s.pendingCount(); n != 0 {
			t.Errorf("%d pending", n)
		}
	})
}

// TestStuckHandlersAreBounded: no more slots are given away than there are.
func TestStuckHandlersAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for i := range 10 {
			s.publish("s", entity(i), "single")
		}
		release := make(chan struct{})
		rec := newRecorder(t, func(context.Context, *Message) error { <-release; return nil })
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.Concurrency = 3
		r := start(t, cfg)
		pass(10 * cfg.HandlerTimeout)
		if n := len(rec.attempts()); n != 6 {
			t.Errorf("%d handlers are stuck, want 6", n)
		}
		close(release)
		pass(time.Second)
		if n := r.engine.Stats().Handled; n != 10 {
			t.Errorf("%d handled in the end, want 10", n)
		}
		r.drainCleanly()
	})
}
