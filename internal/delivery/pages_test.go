package delivery

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// distant is a client far from its server, which notes the pages of pending
// entries that are fetched at once.
type distant struct {
	*client
	atOnce, most int
	asked, sum   int // entries that those ask for together
}

const distance = 10 * time.Millisecond

func (d *distant) fetch(count int) (end func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.atOnce, d.asked = d.atOnce+1, d.asked+count
	d.most, d.sum = max(d.most, d.atOnce), max(d.sum, d.asked)
	return func() {
		time.Sleep(distance)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.atOnce, d.asked = d.atOnce-1, d.asked-count
	}
}

func (d *distant) Own(ctx context.Context, stream string, after wire.ID, count int) (Pending, error) {
	defer d.fetch(count)()
	return d.client.Own(ctx, stream, after, count)
}

func (d *distant) Reclaim(ctx context.Context, stream string, minIdle time.Duration, cursor wire.ID, count int) (Pending, error) {
	defer d.fetch(count)()
	return d.client.Reclaim(ctx, stream, minIdle, cursor, count)
}

func (d *distant) Read(ctx context.Context, streams []string, count int, block time.Duration) ([]wire.Entry, bool, error) {
	time.Sleep(distance)
	return d.client.Read(ctx, streams, count, block)
}

func manyStreams(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("s%03d", i))
	}
	return names
}

// TestManyStreamsBeginSoon: a consumer of many streams begins, and ends, within
// few round trips, not some for each stream, and the server is not asked for
// too much at once.
func TestManyStreamsBeginSoon(t *testing.T) {
	const streams = 300
	const few = 2*(streams/pagesAtOnce+1) + 5 // pages of own ones, and of a sweep
	for _, room := range []int{streams, 10 * streams} {
		bubble(t, func(t *testing.T) {
			s := newServer(manyStreams(streams)...)
			ref := s.publish("s150", "a", "single")
			d := &distant{client: &client{server: s, name: "c", bound: room}}
			rec := newRecorder(t, nil)
			cfg := config(d.client, rec)
			cfg.Transport, cfg.MaxInFlight, cfg.StopWhenDrained = d, room, false
			began := time.Now()
			r := start(t, cfg)
			pass(10 * time.Second)
			got := rec.of(ref)
			if len(got) != 1 {
				t.Fatalf("handled %d times", len(got))
			}
			if took := got[0].at.Sub(began); room > streams && took > few*distance {
				t.Errorf("the first event was handled after %v, want at most %v", took, few*distance)
			}
			stopped := time.Now()
			r.drainCleanly()
			if took := time.Since(stopped); took > few*distance {
				t.Errorf("it took %v to stop, want at most %v", took, few*distance)
			}
			if room > streams && d.most != pagesAtOnce || d.most > pagesAtOnce || d.sum > max(pageSize, pagesAtOnce) {
				t.Errorf("%d pages at once, of %d entries", d.most, d.sum)
			}
			if d.over {
				t.Error("more entries were in hand than may be")
			}
		})
	}
}

// TestPendingOfManyStreams: what is pending on many streams, with this consumer
// or with one that died, is handled in the order of the ids, with what is new,
// however little room there is.
func TestPendingOfManyStreams(t *testing.T) {
	for _, room := range []int{45, 60, 400} {
		for _, owner := range []string{"c", "dead"} {
			bubble(t, func(t *testing.T) {
				const streams, each = 40, 12
				names := manyStreams(streams)
				s := newServer(names...)
				var want []wire.Ref
				for i := range streams * each {
					want = append(want, s.publish(names[i*7%streams], "a", "single"))
				}
				pending := want[:len(want)/2]
				s.deliver(owner, 1, pending...)
				d := &distant{client: &client{server: s, name: "c"}}
				rec := newRecorder(t, nil)
				cfg := config(d.client, rec)
				cfg.Transport, cfg.MaxInFlight, cfg.TakeOver = d, room, true
				if owner == "c" {
					d.bound = room + len(pending) // they are pending with it from the beginning
				} else {
					d.bound = room
				}
				settleAll(t, cfg)
				if got := refsOf(rec.attempts()); !slices.Equal(got, want) {
					t.Errorf("room for %d, pending with %s: %d handled, or in another order", room, owner, len(got))
				}
				if d.over {
					t.Error("more entries were in hand than may be")
				}
			})
		}
	}
}

// TestTrimmedOnSeveralStreams: the log names each stream that has lost entries.
func TestTrimmedOnSeveralStreams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s0", "s1")
		var refs []wire.Ref
		for i := range 6 {
			refs = append(refs, s.publish(fmt.Sprintf("s%d", i%3/2), "a", "single"))
		}
		s.deliver("c", 1, refs...)
		for _, ref := range refs {
			s.trim(ref)
		}
		var logged bytes.Buffer
		cfg := config(&client{server: s, name: "c"}, newRecorder(t, nil))
		cfg.Log = slog.New(slog.NewTextHandler(&logged, nil))
		if got := settleAll(t, cfg).Stats().LostTrimmed; got != 6 {
			t.Errorf("%d counted as lost", got)
		}
		for _, want := range []string{"stream=s0 count=4 first_id=1-0", "stream=s1 count=2 first_id=3-0"} {
			if !strings.Contains(logged.String(), want) {
				t.Errorf("%q is not in the log:\n%s", want, logged.String())
			}
		}
	})
}

// TestPagesOfWhichOneFails: what the others brought is in hand, and nothing is
// lost or handled twice.
func TestPagesOfWhichOneFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer(manyStreams(20)...)
		var want []wire.Ref
		for i := range 100 {
			want = append(want, s.publish(fmt.Sprintf("s%03d", i%20), "a", "single"))
		}
		s.deliver("c", 1, want...)
		c := &client{server: s, name: "c"}
		calls := 0
		c.setFault(func(call string) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			if call == "lost Own" {
				if calls++; calls == 7 {
					return errNetwork
				}
			}
			return nil
		})
		rec := newRecorder(t, nil)
		settleAll(t, config(c, rec))
		if got := refsOf(rec.attempts()); !slices.Equal(got, want) {
			t.Errorf("%d handled, or in another order", len(got))
		}
	})
}

// narrow is a client on a line that takes its time for each pending entry: of
// the pages that are fetched at once, all come as late as the last. What is
// given up is on the line all the same.
type narrow struct {
	*client
	each time.Duration
	busy time.Time // until then
}

func (d *narrow) fetch(ctx context.Context, p Pending, err error) (Pending, error) {
	d.mu.Lock()
	if now := time.Now(); d.busy.Before(now) {
		d.busy = now
	}
	d.busy = d.busy.Add(d.each * time.Duration(len(p.Entries)))
	d.mu.Unlock()
	for err == nil {
		d.mu.Lock()
		wait := time.Until(d.busy)
		d.mu.Unlock()
		if wait <= 0 {
			return p, nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return Pending{}, err
}

func (d *narrow) Own(ctx context.Context, stream string, after wire.ID, count int) (Pending, error) {
	p, err := d.client.Own(ctx, stream, after, count)
	return d.fetch(ctx, p, err)
}

func (d *narrow) Reclaim(ctx context.Context, stream string, minIdle time.Duration, cursor wire.ID, count int) (Pending, error) {
	p, err := d.client.Reclaim(ctx, stream, minIdle, cursor, count)
	return d.fetch(ctx, p, err)
}

// onNarrow is a consumer of many streams, on each of which an entry is pending
// with its owner: "c", which is the consumer itself, or one that died.
func onNarrow(t *testing.T, owner string, each time.Duration) (cfg Config, rec *recorder, want []wire.Ref) {
	names := manyStreams(pagesAtOnce + 8)
	d := &narrow{client: &client{server: newServer(names...), name: "c"}, each: each}
	for _, name := range names {
		want = append(want, d.publish(name, "a", "single"))
	}
	d.deliver(owner, 1, want...)
	rec = newRecorder(t, nil)
	cfg = config(d.client, rec)
	cfg.Transport = d
	return cfg, rec, want
}

// TestPagesOnASlowLine: where many at once take longer than they are waited for,
// they come one at a time.
func TestPagesOnASlowLine(t *testing.T) {
	for _, tt := range []struct {
		owner    string
		takeOver bool
	}{{"c", false}, {"dead", true}, {"dead", false}} {
		bubble(t, func(t *testing.T) {
			cfg, rec, want := onNarrow(t, tt.owner, 400*time.Millisecond)
			cfg.TakeOver = tt.takeOver
			began := time.Now()
			settleAll(t, cfg)
			if got := refsOf(rec.attempts()); !slices.Equal(got, want) {
				t.Errorf("%+v: %d handled, or in another order", tt, len(got))
			}
			if took := time.Since(began); took > time.Minute { // of which the dead one's lease is a half
				t.Errorf("%+v: took %v", tt, took)
			}
		})
	}
}

// TestStopDuringPagesOnASlowLine: what the server has handed over in pages that
// the stop cut off is found, one page at a time where many come too late.
func TestStopDuringPagesOnASlowLine(t *testing.T) {
	const each = 40 * time.Millisecond
	for owner, n := range map[string]int{"c": pagesAtOnce + 8, "dead": pagesAtOnce} {
		bubble(t, func(t *testing.T) {
			cfg, rec, want := onNarrow(t, owner, each)
			time.Sleep(cfg.Lease)
			r := start(t, cfg)
			pass(pagesAtOnce * each * 2 / 3)
			if got := rec.attempts(); len(got) > 0 {
				t.Errorf("pending with %s: %d handled before the stop", owner, len(got))
			}
			r.drainCleanly()
			if got := refsOf(rec.attempts()); !slices.Equal(got, want[:n]) {
				t.Errorf("pending with %s: %d handled, want %d, or in another order", owner, len(got), n)
			}
		})
	}
}

// takeovers counts take-overs (Reclaim with no least idle time) by stream; the
// first one of stream "b" fails.
type takeovers struct {
	*client
	mu     sync.Mutex
	n      map[string]int
	failed bool
}

func (d *takeovers) Reclaim(ctx context.Context, stream string, minIdle time.Duration, cursor wire.ID, count int) (Pending, error) {
	if minIdle == 0 {
		d.mu.Lock()
		d.n[stream]++
		fail := stream == "b" && !d.failed
		if fail {
			d.failed = true
		}
		d.mu.Unlock()
		if fail {
			time.Sleep(5 * time.Second)
			return Pending{}, errNetwork
		}
	}
	return d.client.Reclaim(ctx, stream, minIdle, cursor, count)
}

// TestTakeOverOnceThoughAnotherFails: a stream whose take-over ended is not taken over a second
// time because another stream's failed.
func TestTakeOverOnceThoughAnotherFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("a", "b")
		old := s.publish("a", "x", "single")
		s.deliver("dead", 1, old)
		d := &takeovers{client: &client{server: s, name: "c"}, n: map[string]int{}}
		rec := newRecorder(t, nil)
		cfg := config(d.client, rec)
		cfg.Transport, cfg.TakeOver = d, true
		var stolen wire.Ref
		r := start(t, cfg)
		time.Sleep(2 * time.Second) // a's page has come; b's call hangs
		// The next consumer to be active reads meanwhile (this one's lease ran out).
		stolen = s.publish("a", "y", "single")
		s.deliver("next", 1, stolen)
		pass(20 * time.Second)
		if n := d.n["a"]; n != 1 {
			t.Errorf("stream a was taken over %d times", n)
		}
		if len(rec.of(stolen)) > 0 {
			t.Errorf("the entry that the next consumer has in hand was taken from it, %v after it got it", time.Second)
		}
		r.drainCleanly()
	})
}
