package delivery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// TestNoCallWaitsBehindASlowOne: as long as one worker is free, all that is not
// slow is handled at once, wherever in the queue it stands.
func TestNoCallWaitsBehindASlowOne(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		slots := rapid.IntRange(2, 6).Draw(rt, "slots")
		slow := rapid.SliceOfNDistinct(rapid.IntRange(0, 89), 0, slots-1, rapid.ID[int]).Draw(rt, "slow")
		var handled int64
		bubble(t, func(t *testing.T) {
			s := newServer("s")
			for i := range 90 {
				name := entity(i)
				if slices.Contains(slow, i) {
					name = "slow" + name
				}
				s.publish("s", name, "single")
			}
			rec := newRecorder(t, func(_ context.Context, m *Message) error {
				if strings.HasPrefix(m.Envelope.Entity.ID, "slow") {
					time.Sleep(15 * time.Second)
				}
				return nil
			})
			cfg := config(&client{server: s, name: "c"}, rec)
			cfg.Concurrency = slots
			r := start(t, cfg)
			pass(10 * time.Millisecond)
			handled = r.engine.Stats().Handled
			if n := s.pendingCount(); n != len(slow) {
				t.Errorf("%d pending, %d are slow", n, len(slow))
			}
			r.drainCleanly()
		})
		if handled != int64(90-len(slow)) {
			rt.Fatalf("%d handled, %d are slow", handled, len(slow))
		}
	})
}

// TestShortCallIsSettledBesideSlowOnes: while all workers are busy for long, and
// calls wait, what ended before is acknowledged all the same.
func TestShortCallIsSettledBesideSlowOnes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			if m.Envelope.Entity.ID == "slow" {
				time.Sleep(10 * time.Second)
			}
			return nil
		})
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.Concurrency = 1
		r := start(t, cfg)
		for range 3 {
			pass(time.Minute)
			s.mu.Lock()
			for _, name := range []string{"short", "slow", "other"} {
				s.seq++
				s.add("s", wire.ID{Ms: s.seq}, name, "single")
			}
			s.mu.Unlock()
			pass(3 * ackDelay)
			if n, calls := s.pendingCount(), len(rec.attempts()); n != 2 || calls%3 != 2 {
				t.Errorf("%d pending, %d handlers called", n, calls)
			}
		}
		r.drainCleanly()
	})
}

// TestFailuresHoldTheQueue: when a dependency goes down, no more handlers are
// called than were running, however many calls wait; those are made afterwards
// in the order in which they came.
func TestFailuresHoldTheQueue(t *testing.T) {
	for name, err := range map[string]error{"unavailable": Unavailable(errHandler), "plain errors": errHandler} {
		for _, slots := range []int{1, 4} {
			t.Run(fmt.Sprintf("%s, %d slots", name, slots), func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s := newServer("s")
					for i := range 500 {
						s.publish("s", entity(i%100), "single")
					}
					var calls atomic.Int32
					var down atomic.Bool
					rec := newRecorder(t, func(context.Context, *Message) error {
						if calls.Add(1) == 50 {
							down.Store(true)
						}
						if down.Load() {
							return err
						}
						return nil
					})
					obs := &observer{}
					cfg := config(&client{server: s, name: "c"}, rec)
					cfg.MaxInFlight, cfg.Concurrency, cfg.Observer = 1000, slots, obs
					r := start(t, cfg)
					synctest.Wait() // no time passes: the first probe comes at random
					most := 49 + slots
					if name == "plain errors" {
						most += cfg.OutageThreshold - 1
					}
					before := len(rec.attempts())
					if len(obs.paused) != 1 || before < 50 || before > most {
						t.Errorf("paused %d times, %d calls, want at most %d", len(obs.paused), before, most)
					}
					down.Store(false)
					pass(time.Minute)
					if n := r.engine.Stats().Handled; n != 500 {
						t.Errorf("%d handled", n)
					}
					var waited []wire.Ref
					failed := map[string]bool{}
					for i, a := range rec.attempts() {
						if i >= 49 && i < before {
							failed[a.entity] = true
						} else if i >= before && !failed[a.entity] {
							waited = append(waited, a.ref)
						}
					}
					if slots == 1 && !slices.IsSortedFunc(waited, compareRefs) {
						t.Errorf("handled %v", waited)
					}
					r.drainCleanly()
				})
			})
		}
	}
}

// TestWaitingCallsEndWithTheDrain: what has not started when the time is up
// does not start any more.
func TestWaitingCallsEndWithTheDrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for i := range 60 {
			s.publish("s", entity(i), "single")
		}
		rec := newRecorder(t, func(context.Context, *Message) error { time.Sleep(time.Second); return nil })
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.Concurrency, cfg.DrainTimeout = 3, 5500*time.Millisecond
		r := start(t, cfg)
		pass(time.Millisecond)
		r.stop()
		err := r.wait()
		if err == nil || !strings.Contains(err.Error(), "42 entries not finished") { // 6 rounds of 3 succeeded
			t.Errorf("Run: %v", err)
		}
		if n := len(rec.attempts()); n != 18 || s.pendingCount() != 42 {
			t.Errorf("%d handlers called, %d pending", n, s.pendingCount())
		}
	})
}

// TestWaitingCallsEndWithAnAbort is the same for the loss of the group.
func TestWaitingCallsEndWithAnAbort(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for i := range 60 {
			s.publish("s", entity(i), "single")
		}
		rec := newRecorder(t, func(ctx context.Context, _ *Message) error { <-ctx.Done(); return nil })
		cfg := config(&client{server: s, name: "c"}, rec)
		r := start(t, cfg)
		pass(time.Second)
		r.engine.Abort(errHandler)
		if err := r.wait(); !errors.Is(err, errHandler) {
			t.Errorf("Run: %v", err)
		}
		pass(time.Minute)
		if n := len(rec.attempts()); n != cfg.Concurrency || s.pendingCount() != 60 {
			t.Errorf("%d handlers called, %d pending", n, s.pendingCount())
		}
		r.stop()
	})
}

// TestNoCallAfterTheEnd: a worker that took a call just before handlers were
// cancelled does not call its handler.
func TestNoCallAfterTheEnd(t *testing.T) {
	rec := newRecorder(t, nil)
	e, err := New(config(&client{server: newServer("s"), name: "c"}, rec))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errDrainTimeout)
	e.handling = ctx
	c := &call{route: &Route{Handle: rec.handle}, items: []*item{{}}}
	e.perform(&worker{}, c)
	if len(rec.attempts()) != 0 || !errors.Is(c.err, errDrainTimeout) {
		t.Errorf("%d calls, error %v", len(rec.attempts()), c.err)
	}
}

// TestSlotOfAnEndedCall: a call that ended just before its slot was to be given
// away keeps the count right.
func TestSlotOfAnEndedCall(t *testing.T) {
	w := newWorkers(1, func(*worker) {})
	me, c := &worker{}, &call{}
	w.add([]*call{c})
	if w.next(me) != c {
		t.Fatal("no call")
	}
	w.left(me)
	if w.replace(c) || w.withdraw(c) || w.running != 0 {
		t.Errorf("an ended call was replaced or withdrawn, %d running", w.running)
	}
}

// TestLostWhileItsCallWaits: an entry that another consumer took while all
// workers were busy is not handled here.
func TestLostWhileItsCallWaits(t *testing.T) {
	for _, kind := range []string{"single", "batch"} {
		t.Run(kind, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				s.publish("s", "slow", "single")
				taken := s.publish("s", "a", kind)
				ours := s.publish("s", "b", kind)
				rec := newRecorder(t, func(_ context.Context, m *Message) error {
					if m.Envelope.Entity.ID == "slow" {
						time.Sleep(19 * time.Second)
					}
					return nil
				})
				cfg := config(&client{server: s, name: "c"}, rec)
				cfg.Concurrency = 1
				r := start(t, cfg)
				pass(time.Second)
				s.steal(taken, "other")
				pass(20 * time.Second)
				if len(rec.of(taken)) != 0 || len(rec.of(ours)) != 1 {
					t.Errorf("attempts %v", rec.attempts())
				}
				r.drainCleanly()
			})
		})
	}
}

// TestLostWhileDecoding is the same for an entry that is not decoded yet.
func TestLostWhileDecoding(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		taken := s.publish("s", "a", "single")
		ours := s.publish("s", "a", "single")
		for i := range 58 {
			s.publish("s", entity(i), "single")
		}
		rec := newRecorder(t, nil)
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.Decode = func(e *wire.Entry) (*events.Envelope, *wire.Refusal) {
			time.Sleep(cfg.Lease / 120)
			return decode(e)
		}
		r := start(t, cfg)
		pass(time.Second)
		s.steal(taken, "other")
		pass(cfg.Lease)
		if len(rec.of(taken)) != 0 || len(rec.of(ours)) != 1 {
			t.Errorf("attempts %v", rec.attempts())
		}
		r.drainCleanly()
	})
}

// TestKeptContextHasEnded: a handler's context that somebody keeps stays
// ended, whatever calls follow.
func TestKeptContextHasEnded(t *testing.T) {
	for _, kind := range []string{"single", "batch"} {
		t.Run(kind, func(t *testing.T) {
			s := newServer("s")
			for i := range 300 {
				s.publish("s", entity(i), kind)
			}
			type kept struct {
				ctx  context.Context
				done <-chan struct{} // nil: not asked for
				at   time.Time
			}
			var mu sync.Mutex
			var all []kept
			check := func() {
				mu.Lock()
				defer mu.Unlock()
				for _, k := range all {
					at, _ := k.ctx.Deadline()
					if !errors.Is(k.ctx.Err(), context.Canceled) || !at.Equal(k.at) {
						t.Errorf("error %v, deadline %v, was %v", k.ctx.Err(), at, k.at)
					}
					select {
					case <-k.ctx.Done():
					default:
						t.Error("not done")
					}
				}
			}
			rec := newRecorder(t, func(ctx context.Context, m *Message) error {
				k := kept{ctx: ctx}
				k.at, _ = ctx.Deadline()
				if m.Entry.ID.Ms%3 == 0 {
					k.done = ctx.Done()
				}
				if ctx.Err() != nil || time.Until(k.at) < 19*time.Second {
					t.Errorf("error %v, deadline %v", ctx.Err(), k.at)
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, k)
				return nil
			})
			settleAll(t, config(&client{server: s, name: "c"}, rec))
			if len(all) != 300 {
				t.Errorf("%d calls", len(all))
			}
			check()
		})
	}
}

// TestConcurrency: whatever handlers do, no more run at once than may, none
// beside another of its entity, and each event's attempts are as many as they
// must be.
func TestConcurrency(t *testing.T) {
	for _, slots := range []int{1, 2, 7, 32} {
		s := newServer("s1", "s2")
		for i := range 3000 {
			s.publish([]string{"s1", "s2"}[i%2], entity(rand.IntN(400)), []string{"single", "single", "single", "batch"}[i%4])
		}
		var failed sync.Map
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			switch n := m.Entry.ID.Ms % 100; {
			case n < 5:
				time.Sleep(time.Duration(n) * 50 * time.Microsecond)
			case n < 10:
				runtime.Gosched()
			case n < 13:
				if _, again := failed.LoadOrStore(m.Entry.ID.Ms, true); !again {
					switch n {
					case 10:
						panic("no luck")
					case 11:
						runtime.Goexit()
					}
					return errHandler
				}
			}
			return nil
		})
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.Concurrency, cfg.MaxInFlight, cfg.OutageThreshold = slots, 500, 1000
		cfg.BackoffMin, cfg.BackoffMax = time.Millisecond, 5*time.Millisecond
		cfg.Observer = &observer{}
		e := settleAll(t, cfg)
		if n := e.Stats().Handled; n != 3000 || rec.most > slots {
			t.Errorf("%d handled, %d handlers at once with %d slots", n, rec.most, slots)
		}
		if n := len(cfg.Observer.(*observer).settled); n != 3000 {
			t.Errorf("%d settlements", n)
		}
	}
}

// TestOrderUnderTheQueue: events of an entity begin in the order of their ids,
// and none before the one before has ended, with retries, entries that a dead
// consumer left, and handlers that take all kinds of time.
func TestOrderUnderTheQueue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		on := rapid.SliceOfN(rapid.IntRange(0, 12), 1, 150).Draw(rt, "entities")
		times := rapid.SliceOfN(rapid.SampledFrom([]time.Duration{0, 0, 0, 0, time.Microsecond, time.Millisecond, time.Second}), 1, 30).Draw(rt, "times")
		failing := rapid.SliceOfN(rapid.IntRange(0, len(on)-1), 0, 10).Draw(rt, "failing")
		left := rapid.IntRange(0, len(on)).Draw(rt, "left behind")
		slots := rapid.IntRange(1, 8).Draw(rt, "slots")
		inFlight := rapid.IntRange(1, 200).Draw(rt, "inFlight")
		var got []attempt
		want := map[string][]wire.Ref{}
		bubble(t, func(t *testing.T) {
			s := newServer("s")
			for i, n := range on {
				ref := s.publish("s", entity(n), "single")
				if i < left {
					s.deliver("c", 1, ref)
				}
				want[entity(n)] = append(want[entity(n)], ref)
			}
			rec := newRecorder(t, func(_ context.Context, m *Message) error {
				n := int(m.Entry.ID.Ms)
				time.Sleep(times[n%len(times)])
				if slices.Contains(failing, n-1) && m.Attempt < 3 {
					return errHandler
				}
				return nil
			})
			cfg := config(&client{server: s, name: "c"}, rec)
			cfg.Concurrency, cfg.MaxInFlight, cfg.OutageThreshold = slots, inFlight, 100
			settleAll(t, cfg)
			got = rec.attempts()
			if rec.most > slots {
				t.Errorf("%d handlers at once with %d slots", rec.most, slots)
			}
		})
		order := map[string][]wire.Ref{}
		for _, a := range got {
			order[a.entity] = append(order[a.entity], a.ref)
		}
		for entity, refs := range want {
			if got := slices.Compact(order[entity]); !slices.Equal(got, refs) {
				rt.Fatalf("%s: %v, want %v", entity, got, refs)
			}
		}
	})
}
