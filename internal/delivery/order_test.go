package delivery

import (
	"context"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshet/freshet/internal/wire"
)

func refsOf(attempts []attempt) (refs []wire.Ref) {
	for _, a := range attempts {
		refs = append(refs, a.ref)
	}
	return refs
}

// TestEntityWaitsForItsFailure: later events of an entity wait for one that
// failed; other entities do not.
func TestEntityWaitsForItsFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		a1 := s.publish("s", "a", "single")
		a2 := s.publish("s", "a", "single")
		b1 := s.publish("s", "b", "single")
		a3 := s.publish("s", "a", "single")
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			if m.Entry.Ref() == a1 && m.Attempt < 3 {
				return errHandler
			}
			return nil
		})
		cfg := config(&client{server: s, name: "c"}, rec)
		cfg.Concurrency = 1
		settleAll(t, cfg)
		want := []wire.Ref{a1, b1, a1, a1, a2, a3}
		if got := refsOf(rec.attempts()); !slices.Equal(got, want) {
			t.Errorf("handled %v, want %v", got, want)
		}
	})
}

func TestEntitiesRunInParallel(t *testing.T) {
	for _, slots := range []int{1, 3, 20} {
		bubble(t, func(t *testing.T) {
			s := newServer("s")
			for i := range 20 {
				s.publish("s", entity(i%10), "single")
			}
			rec := newRecorder(t, func(context.Context, *Message) error { time.Sleep(time.Second); return nil })
			cfg := config(&client{server: s, name: "c"}, rec)
			cfg.Concurrency = slots
			settleAll(t, cfg)
			if want := min(slots, 10); rec.most != want {
				t.Errorf("%d handlers at once, want %d", rec.most, want)
			}
		})
	}
}

// TestEntityIsTenantTypeAndID: the same id of another tenant, or of none, is
// another entity; an event of no entity waits for nothing.
func TestEventsWithoutEntityRunInParallel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for range 4 {
			s.publish("s", "", "single")
		}
		rec := newRecorder(t, func(context.Context, *Message) error { time.Sleep(time.Second); return nil })
		settleAll(t, config(&client{server: s, name: "c"}, rec))
		if rec.most != 4 {
			t.Errorf("%d handlers at once, want 4", rec.most)
		}
	})
}

// TestOrderOverStreams: one entity's events on several streams are handled
// in the order of their ids, however unevenly they are spread, and also when
// they were left behind by a consumer before.
func TestOrderOverStreams(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		streams := []string{"s1", "s2", "s3", "s4"}
		on := rapid.SliceOfN(rapid.SampledFrom([]string{"s1", "s1", "s1", "s1", "s2", "s2", "s3", "s4"}), 1, 120).Draw(rt, "streams")
		left := rapid.IntRange(0, len(on)).Draw(rt, "left behind")
		owner := rapid.SampledFrom([]string{"c", "dead"}).Draw(rt, "owner")
		kind := rapid.SampledFrom([]string{"single", "batch"}).Draw(rt, "kind")
		inFlight := rapid.IntRange(4, 40).Draw(rt, "inFlight")
		var want, got []wire.Ref
		bubble(t, func(t *testing.T) {
			s := newServer(streams...)
			for i, stream := range on {
				ref := s.publish(stream, "a", kind)
				if i < left {
					s.deliver(owner, 1, ref)
				}
				want = append(want, ref)
			}
			rec := newRecorder(t, nil)
			cfg := config(&client{server: s, name: "c"}, rec)
			cfg.MaxInFlight, cfg.TakeOver = inFlight, true
			settleAll(t, cfg)
			got = refsOf(rec.attempts())
		})
		if !slices.Equal(got, want) {
			rt.Fatalf("handled %v, want %v", got, want)
		}
	})
}

// TestMoreStreamsThanRoom: with less room than streams the order over them
// cannot be held, but everything is handled.
func TestMoreStreamsThanRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer()
		for i := range 20 {
			for range 5 {
				s.publish(entity(i), entity(i), "single")
			}
		}
		c := &client{server: s, name: "c", bound: 3}
		cfg := config(c, newRecorder(t, nil))
		cfg.MaxInFlight = 3
		e := settleAll(t, cfg)
		if n := e.Stats().Handled; n != 100 || c.over {
			t.Errorf("%d handled, bound exceeded: %v", n, c.over)
		}
	})
}

// TestReclaimedEntryGoesFirst: an older event that is taken over late goes
// before the newer ones that have not started.
func TestReclaimedEntryGoesFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		old := s.publish("s", "a", "single")
		s.deliver("dead", 1, old)
		running := s.publish("s", "a", "single")
		waiting := s.publish("s", "a", "single")
		rec := newRecorder(t, func(_ context.Context, m *Message) error {
			if m.Entry.Ref() == running {
				time.Sleep(15 * time.Second) // each attempt ends in time; the lease of old does not
				if m.Attempt < 4 {
					return errHandler
				}
			}
			return nil
		})
		cfg := config(&client{server: s, name: "c"}, rec)
		settleAll(t, cfg)
		got := refsOf(rec.attempts())
		i, j := slices.Index(got, old), slices.Index(got, waiting)
		if i < 1 || j < i || got[0] != running {
			t.Errorf("handled %v", got)
		}
		if i := slices.Index(got, old); len(got) > i+1 && got[i+1] == old {
			t.Errorf("handled twice: %v", got)
		}
	})
}

// TestOlderEventOfAnotherKind: it goes first also when it is handled in
// another way than the one that waits for a slot.
func TestOlderEventOfAnotherKind(t *testing.T) {
	for _, older := range []string{"single", "batch", "bad"} {
		for _, newer := range []string{"single", "batch"} {
			t.Run(older+" before "+newer, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					s := newServer("s")
					old := s.publish("s", "a", older)
					s.deliver("dead", 1, old)
					for i := range 3 {
						s.publish("s", entity(i), "single") // keep the slot for 57 s
					}
					next := s.publish("s", "a", newer)
					rec := newRecorder(t, func(_ context.Context, m *Message) error {
						if m.Envelope.Entity.ID != "a" {
							time.Sleep(19 * time.Second)
						}
						return nil
					})
					cfg := config(&client{server: s, name: "c"}, rec)
					cfg.Concurrency = 1
					settleAll(t, cfg)
					got := refsOf(rec.attempts())
					want := []wire.Ref{old, next}
					if older == "bad" {
						want = want[1:]
					}
					if got = got[3:]; !slices.Equal(got, want) {
						t.Errorf("handled %v, want %v", got, want)
					}
				})
			})
		}
	}
}

// TestEntriesBetweenReads: what comes into a stream after it was read is
// older than what a later read of another stream brings, and goes first.
func TestEntriesBetweenReads(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("busy", "quiet")
		var want []wire.Ref
		for _, stream := range []string{"busy", "busy", "busy", "quiet"} {
			want = append(want, s.publish(stream, "a", "single"))
		}
		c := &client{server: s, name: "c"}
		reads := 0
		c.setFault(func(call string) error {
			if call == "Read" {
				if reads++; reads == 2 { // of the busy stream: its part of the first was full
					want = append(want, s.publish("quiet", "a", "single"), s.publish("busy", "a", "single"))
				}
			}
			return nil
		})
		rec := newRecorder(t, nil)
		cfg := config(c, rec)
		cfg.MaxInFlight = 6
		settleAll(t, cfg)
		if got := refsOf(rec.attempts()); !slices.Equal(got, want) {
			t.Errorf("handled %v, want %v", got, want)
		}
	})
}

// TestSweepKeepsOrder: what a dead consumer left on several streams is
// handled in order when its lease is over.
func TestSweepKeepsOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s1", "s2", "s3")
		var want []wire.Ref
		for i := range 30 {
			ref := s.publish([]string{"s3", "s2", "s1"}[i%3], "a", "single")
			s.deliver("dead", 1, ref)
			want = append(want, ref)
		}
		rec := newRecorder(t, nil)
		settleAll(t, config(&client{server: s, name: "c"}, rec))
		if got := refsOf(rec.attempts()); !slices.Equal(got, want) {
			t.Errorf("handled %v, want %v", got, want)
		}
	})
}
