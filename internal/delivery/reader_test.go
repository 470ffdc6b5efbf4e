package delivery

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// TestLostReadReply: what a lost reply held is fetched before anything newer,
// so the order of an entity is kept.
func TestLostReadReply(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s1", "s2")
		var want []wire.Ref
		for i := range 50 {
			want = append(want, s.publish([]string{"s1", "s2"}[i%2], "a", "single"))
		}
		c := &client{server: s, name: "c"}
		reads := 0
		c.setFault(func(call string) error {
			if call == "lost Read" {
				if reads++; reads%2 == 1 && reads < 10 {
					return errNetwork
				}
			}
			return nil
		})
		rec := newRecorder(t, nil)
		cfg := config(c, rec)
		cfg.MaxInFlight = 8
		settleAll(t, cfg)
		if got := refsOf(rec.attempts()); !slices.Equal(got, want) {
			t.Errorf("handled %v", got)
		}
	})
}

// TestLostReclaimReply: entries that were taken over by a call whose reply
// was lost are not left to wait for another lease.
func TestLostReclaimReply(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		ref := s.publish("s", "a", "single")
		s.deliver("dead", 1, ref)
		c := &client{server: s, name: "c"}
		lost := false
		c.setFault(func(call string) error {
			if call == "lost Reclaim" && s.pending[ref].consumer == "c" && !lost {
				lost = true
				return errNetwork
			}
			return nil
		})
		rec := newRecorder(t, nil)
		began := time.Now()
		cfg := config(c, rec)
		settleAll(t, cfg)
		if got := rec.of(ref); !lost || len(got) != 1 || got[0].at.Sub(began) > cfg.Lease+cfg.Lease/2+time.Second {
			t.Errorf("handled %v, began %v", got, began)
		}
	})
}

// TestReadFails: it is tried again with backoff, logged once, and ends by
// itself.
func TestReadFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		c := &client{server: s, name: "c"}
		var down atomic.Bool
		c.setFault(func(string) error {
			if down.Load() {
				return errNetwork
			}
			return nil
		})
		var logged bytes.Buffer
		rec := newRecorder(t, nil)
		cfg := config(c, rec)
		cfg.Log = slog.New(slog.NewTextHandler(&logged, nil))
		r := start(t, cfg)
		pass(time.Second)
		down.Store(true)
		pass(2 * time.Second)
		before := c.sentCount()
		pass(10 * time.Minute)
		if n := c.sentCount() - before; n < 300 || n > 700 {
			t.Errorf("%d calls in 10 minutes", n)
		}
		ref := s.publish("s", "a", "single")
		down.Store(false)
		pass(3 * time.Second)
		if len(rec.of(ref)) != 1 {
			t.Error("it did not go on")
		}
		r.drainCleanly()
		if out := logged.String(); strings.Count(out, "reading fails") != 1 || strings.Count(out, "reading works again") != 1 {
			t.Errorf("logged:\n%s", out)
		}
	})
}

// TestReadRefused: a server may refuse reads and grant the rest, for example
// by a permission.
func TestReadRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s1", "s2")
		c := &client{server: s, name: "c"}
		c.setFault(func(call string) error {
			if call == "Read" {
				return errNetwork
			}
			return nil
		})
		var logged bytes.Buffer
		cfg := config(c, newRecorder(t, nil))
		cfg.Log = slog.New(slog.NewTextHandler(&logged, nil))
		r := start(t, cfg)
		pass(10 * time.Minute)
		if n := c.calls("Read"); n < 300 || n > 500 {
			t.Errorf("%d reads in 10 minutes", n)
		}
		r.drainCleanly()
		if out := logged.String(); strings.Count(out, "reading") != 1 {
			t.Errorf("logged:\n%.1000s", out)
		}
	})
}

// TestGroupLost: the transport has re-created the group; reading goes on at
// once, and what is in hand is not handled twice.
func TestGroupLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		ref := s.publish("s", "a", "single")
		c := &client{server: s, name: "c"}
		rec := newRecorder(t, func(context.Context, *Message) error { time.Sleep(10 * time.Second); return nil })
		r := start(t, config(c, rec))
		pass(time.Second)
		lost := false
		c.setFault(func(call string) error {
			if call == "Read" && !lost {
				lost = true
				s.mu.Lock()
				clear(s.pending)
				clear(s.cursor)
				s.mu.Unlock()
				return fmt.Errorf("read: %w", ErrLost)
			}
			return nil
		})
		pass(2 * time.Second)
		next := s.publish("s", "b", "single")
		pass(20 * time.Millisecond)
		if len(rec.of(next)) != 1 {
			t.Error("reading did not go on at once")
		}
		pass(time.Minute)
		if !lost || len(rec.of(ref)) != 1 || s.pendingCount() != 0 {
			t.Errorf("attempts %v, %d pending", rec.attempts(), s.pendingCount())
		}
		r.drainCleanly()
	})
}

// TestGroupLostForGood: it does not spin.
func TestGroupLostForGood(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := &client{server: newServer("s"), name: "c"}
		c.setFault(func(string) error { return ErrLost })
		r := start(t, config(c, newRecorder(t, nil)))
		pass(time.Minute)
		if n := len(c.sent); n > 100 {
			t.Errorf("%d calls in a minute", n)
		}
		r.drainCleanly()
	})
}

// TestSweep: entries of a consumer that died are taken over when their lease
// ends, those of one that lives are not, and a long list stalls nothing.
func TestSweep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for i := range 1000 {
			s.deliver("dead", 1, s.publish("s", entity(i), "single"))
		}
		live := s.publish("s", "live", "single")
		s.deliver("live", 1, live)
		c := &client{server: s, name: "c", bound: 100}
		rec := newRecorder(t, func(context.Context, *Message) error { time.Sleep(10 * time.Millisecond); return nil })
		cfg := config(c, rec)
		r := start(t, cfg)
		for range int(cfg.Lease * 2 / time.Second) {
			ref := s.publish("s", "new", "single")
			pass(time.Second)
			if len(rec.of(ref)) != 1 {
				t.Fatal("a new entry was not handled within a second")
			}
			s.steal(live, "live") // renews
		}
		if n := s.pendingCount(); n != 1 || s.pending[live].consumer != "live" || c.over {
			t.Errorf("%d pending", n)
		}
		r.drainCleanly()
	})
}

// TestIdleCalls: an engine without work makes few calls.
func TestIdleCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := &client{server: newServer("s1", "s2"), name: "c"}
		cfg := config(c, newRecorder(t, nil))
		r := start(t, cfg)
		pass(time.Minute)
		if n := c.calls("Read"); n > 61 {
			t.Errorf("%d reads in a minute", n)
		}
		if n := len(c.sent) - c.calls("Read"); n > 2+2*5 { // own once, then a sweep every half lease
			t.Errorf("%d other calls", n)
		}
		r.drainCleanly()
	})
}

// TestTrimmed: entries that were pending and are gone are counted, logged
// once a page without a word about each, and never handled.
func TestTrimmed(t *testing.T) {
	for _, owner := range []string{"c", "dead"} {
		t.Run(owner, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				var refs []wire.Ref
				for i := range 10 {
					refs = append(refs, s.publish("s", entity(i), "single"))
				}
				s.deliver(owner, 1, refs...)
				for _, ref := range refs[2:9] {
					s.trim(ref)
				}
				var logged bytes.Buffer
				rec := newRecorder(t, nil)
				cfg := config(&client{server: s, name: "c"}, rec)
				cfg.Log = slog.New(slog.NewTextHandler(&logged, nil))
				e := settleAll(t, cfg)
				if want := (Stats{Handled: 3, LostTrimmed: 7}); e.Stats() != want {
					t.Errorf("stats %+v", e.Stats())
				}
				if out := logged.String(); strings.Count(out, "lost") != 1 || !strings.Contains(out, "count=7 first_id=3-0") {
					t.Errorf("logged:\n%s", out)
				}
			})
		})
	}
}

// TestTrimmedInHand: an entry that is found trimmed while it is in hand is no
// loss when its handler succeeds, and is counted when it cannot go on.
func TestTrimmedInHand(t *testing.T) {
	busy := func(err error) func(context.Context, *Message) error {
		return func(context.Context, *Message) error {
			time.Sleep(3 * time.Second)
			return err
		}
	}
	for _, tt := range []struct {
		name, kind string
		do         func(context.Context, *Message) error
		late       time.Duration // of the answer that tells
		want       Stats
	}{
		{"succeeds", "single", busy(nil), 0, Stats{Handled: 1}},
		{"has succeeded when the answer comes", "single", busy(nil), 4 * time.Second, Stats{Handled: 1}},
		{"fails", "single", busy(errHandler), 0, Stats{Retried: 1, LostTrimmed: 1}},
		{"waits for its next attempt", "single", always(RetryAfter(errHandler, time.Minute)), 0, Stats{Retried: 1, LostTrimmed: 1}},
		{"cannot be dead-lettered", "bad", nil, 0, Stats{LostTrimmed: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				c := &client{server: s, name: "c"}
				refuses := func(call string) error {
					if call == "Bury" {
						return errNetwork
					}
					return nil
				}
				c.setFault(refuses)
				r := start(t, config(c, newRecorder(t, tt.do)))
				ref := s.publish("s", "a", tt.kind)
				pass(time.Second)
				s.trim(ref)
				c.setFault(func(call string) error {
					switch call {
					case "Read":
						return errNetwork // so that the own entries are listed
					case "lost Own":
						c.setFault(refuses)
						time.Sleep(tt.late)
					}
					return refuses(call)
				})
				s.publish("s", "b", "skip") // ends the read
				pass(10 * time.Second)
				c.setFault(nil)
				pass(5 * time.Minute)
				stats := r.engine.Stats()
				stats.Ignored = 0
				if stats != tt.want {
					t.Errorf("stats %+v, want %+v", stats, tt.want)
				}
				r.drainCleanly()
			})
		})
	}
}

// TestStreamsChange: a stream that appears is read, one that goes is not
// waited for.
func TestStreamsChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer()
		c := &client{server: s, name: "c"}
		rec := newRecorder(t, nil)
		r := start(t, config(c, rec))
		pass(5 * time.Second)
		for i := range 3 {
			ref := s.publish(entity(i), "a", "single")
			pass(3 * time.Second)
			if len(rec.of(ref)) != 1 {
				t.Fatalf("stream %d was not read", i)
			}
		}
		s.mu.Lock()
		delete(s.streams, entity(0))
		s.mu.Unlock()
		pass(3 * time.Second)
		ref := s.publish(entity(1), "a", "single")
		pass(time.Second)
		if len(rec.of(ref)) != 1 {
			t.Error("the streams that are left were not read")
		}
		r.drainCleanly()
	})
}

// setAside is a transport whose streams that were set aside answer with an
// error, as a key does that holds something else.
type setAside struct{ *client }

func (c setAside) Own(ctx context.Context, stream string, after wire.ID, count int) (Pending, error) {
	if !slices.Contains(c.Streams(), stream) {
		return Pending{}, errNetwork
	}
	return c.client.Own(ctx, stream, after, count)
}

// TestStreamSetAsideByAFailure: a stream that the transport sets aside because
// a read failed is not asked for this consumer's own entries for ever.
func TestStreamSetAsideByAFailure(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s1", "s2")
		c := &client{server: s, name: "c"}
		failed := false
		c.setFault(func(call string) error {
			if call != "Read" || failed {
				return nil
			}
			failed = true
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.streams, "s1")
			return errNetwork
		})
		rec := newRecorder(t, nil)
		cfg := config(c, rec)
		cfg.Transport = setAside{c}
		r := start(t, cfg)
		pass(5 * time.Second)
		ref := s.publish("s2", "a", "single")
		pass(5 * time.Second)
		if len(rec.of(ref)) != 1 {
			t.Error("the stream that is left was not read")
		}
		r.drainCleanly()
	})
}

// TestMaxInFlight: with handlers that never end, no more is read than fits.
func TestMaxInFlight(t *testing.T) {
	for _, streams := range []int{1, 3, 7} {
		t.Run(fmt.Sprint(streams), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer()
				for i := range 700 {
					ref := s.publish(entity(i%streams), entity(i), "single")
					if i < 140 {
						s.deliver("dead", 1, ref)
					}
				}
				c := &client{server: s, name: "c", bound: 100}
				rec := newRecorder(t, func(ctx context.Context, _ *Message) error { time.Sleep(time.Second); return nil })
				e := settleAll(t, config(c, rec))
				if c.over {
					t.Error("more than MaxInFlight in hand")
				}
				if n := e.Stats().Handled; n != 700 {
					t.Errorf("%d handled", n)
				}
				if rec.most != 4 {
					t.Errorf("%d handlers at once", rec.most)
				}
			})
		})
	}
}

// TestStalePage: a page of pending entries that was made before one of them
// was settled does not settle it again.
func TestStalePage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		s.publish("s", "a", "skip")
		c := &client{server: s, name: "c"}
		reads, owns := 0, 0
		c.setFault(func(call string) error {
			switch call {
			case "Ack":
				time.Sleep(200 * time.Millisecond) // pending until after the page is made
			case "Read":
				if reads++; reads == 2 {
					return errNetwork
				}
			case "lost Own":
				if owns++; owns == 2 {
					time.Sleep(time.Second) // the page comes after the acknowledgment
				}
			}
			return nil
		})
		obs := &observer{}
		cfg := config(c, newRecorder(t, nil))
		cfg.Observer = obs
		r := start(t, cfg)
		pass(5 * time.Second)
		if owns != 2 || s.pendingCount() != 0 {
			t.Fatalf("%d pages, %d pending", owns, s.pendingCount())
		}
		if got := obs.outcomes()[Ignored]; got != 1 || r.engine.Stats().Ignored != 1 {
			t.Errorf("settled %d times", got)
		}
		r.drainCleanly()
	})
}

// TestTakeOverOnce: entries are taken from live consumers at the start only,
// not again after a fault of the network: the next to be active may have
// begun meanwhile.
func TestTakeOverOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		before := s.publish("s", "a", "single")
		s.deliver("before", 1, before)
		c := &client{server: s, name: "c"}
		rec := newRecorder(t, nil)
		cfg := config(c, rec)
		cfg.TakeOver = true
		r := start(t, cfg)
		pass(time.Second)
		if len(rec.of(before)) != 1 {
			t.Error("nothing was taken over at the start")
		}
		after := s.publish("s", "", "skip")
		pass(time.Second)
		s.deliver("next", 1, after)
		failed := false
		c.setFault(func(call string) error {
			if call == "Read" && !failed {
				failed = true
				return errNetwork
			}
			return nil
		})
		pass(5 * time.Second)
		if p := s.pending[after]; !failed || p == nil || p.consumer != "next" {
			t.Errorf("taken over: %+v", p)
		}
		r.drainCleanly()
	})
}
