package delivery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// shards is a client of a cluster in which every stream has a server of its
// own: a read is a command to each, and waits for all, in short rounds.
type shards struct {
	*client
	latency func() time.Duration // of a command; nil: none
	read    atomic.Int64
}

const shardPoll = 100 * time.Millisecond

func (c *shards) Read(ctx context.Context, streams []string, count int, block time.Duration) ([]wire.Entry, bool, error) {
	c.read.Add(1)
	deadline := time.Now().Add(block)
	for wait := time.Duration(0); ; {
		found, errs := make([][]wire.Entry, len(streams)), make([]error, len(streams))
		var calls sync.WaitGroup
		for i, stream := range streams {
			var late time.Duration
			if c.latency != nil {
				late = c.latency()
			}
			calls.Go(func() {
				time.Sleep(late)
				found[i], _, errs[i] = c.client.Read(ctx, []string{stream}, count, wait)
			})
		}
		calls.Wait()
		entries, err := slices.Concat(found...), errors.Join(errs...)
		if wait = min(time.Until(deadline), shardPoll); err != nil || len(entries) > 0 || wait <= 0 {
			return entries, len(streams) == 1, err
		}
	}
}

// TestEntriesBetweenShards: what comes to a shard after its part of a read is
// over is older than what another shard's part brings later, and goes first.
func TestEntriesBetweenShards(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s1", "s2")
		rec := newRecorder(t, nil)
		c := &client{server: s, name: "c"}
		cfg := config(c, rec)
		cfg.Transport = &shards{client: c}
		r := start(t, cfg)
		pass(50 * time.Millisecond) // the read blocks, for 50 ms more
		want := []wire.Ref{s.publish("s1", "a", "single")}
		pass(20 * time.Millisecond)
		want = append(want, s.publish("s1", "b", "single"))
		pass(20 * time.Millisecond)
		want = append(want, s.publish("s2", "b", "single"))
		pass(time.Second)
		got := refsOf(rec.attempts())
		got = slices.DeleteFunc(got, func(r wire.Ref) bool { return r == want[0] }) // another entity's: at any time
		if !slices.Equal(got, want[1:]) {
			t.Errorf("handled %v, want %v", got, want[1:])
		}
		r.drainCleanly()
	})
}

// TestOrderOverShards: the order over streams holds whenever the commands of a
// read come to their shards, and with little room too.
func TestOrderOverShards(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		names := manyStreams(2 + random.IntN(4))
		total := 20 + random.IntN(150)
		most := len(names) + random.IntN(60)
		var want, got []wire.Ref
		bubble(t, func(t *testing.T) {
			s := newServer(names...)
			rec := newRecorder(t, nil)
			c := &client{server: s, name: "c"}
			cfg := config(c, rec)
			late := rand.New(rand.NewPCG(seed, 1))
			cfg.Transport = &shards{client: c, latency: func() time.Duration {
				return time.Duration(late.IntN(10)) * 777 * time.Microsecond
			}}
			cfg.MaxInFlight = most
			run := start(t, cfg)
			for range total {
				time.Sleep(time.Duration(random.IntN(4)*random.IntN(8)) * time.Millisecond)
				want = append(want, s.publish(names[random.IntN(len(names))], "a", "single"))
			}
			pass(time.Minute)
			run.drainCleanly()
			got = refsOf(rec.attempts())
		})
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: %d streams, MaxInFlight %d: %d of %d handled, or in another order", seed, len(names), most, len(got), len(want))
		}
	}
}

// TestReadsOfEventsOnManyShards: what a read brings of many streams is released
// by one more, not by one for each stream.
func TestReadsOfEventsOnManyShards(t *testing.T) {
	bubble(t, func(t *testing.T) {
		names := manyStreams(20)
		s := newServer(names...)
		c := &shards{client: &client{server: s, name: "c"}}
		rec := newRecorder(t, nil)
		cfg := config(c.client, rec)
		cfg.Transport = c
		cfg.MaxInFlight = 1000
		r := start(t, cfg)
		pass(time.Minute + time.Millisecond)
		before := c.read.Load()
		var want []wire.Ref
		for _, name := range names {
			want = append(want, s.publish(name, "a", "single"))
		}
		pass(200 * time.Millisecond)
		if n := c.read.Load() - before; n > 3 {
			t.Errorf("%d reads", n)
		}
		if got := refsOf(rec.attempts()); !slices.Equal(got, want) {
			t.Errorf("handled %v, want %v", got, want)
		}
		r.drainCleanly()
	})
}

// TestReadsOfABacklogOnManyShards: streams that run empty one after the other are
// read together there too.
func TestReadsOfABacklogOnManyShards(t *testing.T) {
	reads := func(apart bool) int64 {
		var n int64
		bubble(t, func(t *testing.T) {
			names := manyStreams(50)
			s := newServer(names...)
			c := &client{server: s, name: "c"}
			rec := newRecorder(t, nil)
			cfg := config(c, rec)
			cfg.MaxInFlight = 200
			one, several := &unsubscribing{client: c}, &shards{client: c}
			cfg.Transport = one
			if apart {
				cfg.Transport = several
			}
			for range 40 {
				for _, name := range names {
					s.publish(name, name, "single")
				}
			}
			r := start(t, cfg)
			pass(time.Minute)
			if got := len(rec.attempts()); got != 40*len(names) {
				t.Fatalf("%d handled", got)
			}
			r.drainCleanly()
			n = one.read.Load() + several.read.Load()
		})
		return n
	}
	one, several := reads(false), reads(true)
	if several > 2*one+20 {
		t.Errorf("%d reads, and %d where one command reads all", several, one)
	}
}

// TestReadsOfAnEvent: where a read looks at all streams at once, an event needs
// no other; of shards, those that were looked at before are read once more. An
// idle consumer does not read more often for it.
func TestReadsOfAnEvent(t *testing.T) {
	for _, apart := range []bool{false, true} {
		t.Run(fmt.Sprintf("shards %t", apart), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s1", "s2", "s3")
				c := &client{server: s, name: "c"}
				rec := newRecorder(t, nil)
				cfg := config(c, rec)
				one, several := &unsubscribing{client: c}, &shards{client: c}
				read, want := &one.read, int64(1) // the next, which blocks
				cfg.Transport = one
				if apart {
					read, want = &several.read, 2
					cfg.Transport = several
				}
				r := start(t, cfg)
				pass(time.Minute + time.Millisecond)
				before := read.Load()
				pass(time.Minute)
				if n := read.Load() - before; n > 60 {
					t.Errorf("%d reads in a minute without events, each of which waits a second", n)
				}
				before = read.Load()
				ref := s.publish("s1", "a", "single")
				pass(200 * time.Millisecond) // of shards, those that have none end their round
				if n := read.Load() - before; len(rec.of(ref)) != 1 || n != want {
					t.Errorf("handled %d times, and %d reads began, want %d", len(rec.of(ref)), n, want)
				}
				r.drainCleanly()
			})
		})
	}
}
