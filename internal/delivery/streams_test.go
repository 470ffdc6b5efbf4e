package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// unsubscribing is a client that may have no streams.
type unsubscribing struct {
	*client
	asked, read atomic.Int64
	none        atomic.Bool
}

func (u *unsubscribing) Streams() []string {
	u.asked.Add(1)
	if u.none.Load() {
		return nil
	}
	return u.client.Streams()
}

func (u *unsubscribing) Read(ctx context.Context, streams []string, count int, block time.Duration) ([]wire.Entry, bool, error) {
	u.read.Add(1)
	return u.client.Read(ctx, streams, count, block)
}

// TestStreamsAreLookedForWhereThereAreNone: it is reading that finds them, so
// it goes on, and does not spin, whether or not something is in hand.
func TestStreamsAreLookedForWhereThereAreNone(t *testing.T) {
	for _, held := range []bool{false, true} {
		t.Run(fmt.Sprintf("held %t", held), func(t *testing.T) {
			s := newServer("s")
			letGo := make(chan struct{})
			rec := newRecorder(t, func(context.Context, *Message) error {
				<-letGo
				return nil
			})
			c := &unsubscribing{client: &client{server: s, name: "c"}}
			cfg := config(c.client, rec)
			cfg.Transport, cfg.Block = c, 50*time.Millisecond
			if held {
				s.publish("s", "a", "single")
			} else {
				c.none.Store(true)
			}
			r := start(t, cfg)
			for held && s.pendingCount() == 0 {
				time.Sleep(time.Millisecond)
			}
			c.none.Store(true)
			time.Sleep(200 * time.Millisecond)
			began, asked, read := time.Now(), c.asked.Load(), c.read.Load()
			time.Sleep(500 * time.Millisecond)
			// A busy machine may have slept for longer.
			if n, took := c.asked.Load()-asked, time.Since(began); n > int64(took/(10*time.Millisecond)) {
				t.Errorf("asked %d times for streams in %v", n, took)
			}
			if n := c.read.Load() - read; n == 0 {
				t.Error("nothing was read any more, which finds streams")
			}
			close(letGo)
			c.none.Store(false)
			late := s.publish("s", "b", "single")
			for deadline := time.Now().Add(5 * time.Second); len(rec.of(late)) == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("a stream that came back is not read")
				}
			}
			r.drainCleanly()
		})
	}
}

// TestOrderWithLittleRoom: the order over streams holds with room for hardly
// more than an entry of each.
func TestOrderWithLittleRoom(t *testing.T) {
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 1))
		var names []string
		for i := range 3 + r.IntN(6) {
			names = append(names, fmt.Sprintf("s%d", i))
		}
		busy := make([]string, 0, 60) // some more than others
		for _, name := range names {
			busy = append(busy, slices.Repeat([]string{name}, 1+r.IntN(3)*r.IntN(5))...)
		}
		inFlight, total := len(names)+r.IntN(8), 40+r.IntN(150)
		before := r.IntN(total)
		var want, got []wire.Ref
		bubble(t, func(t *testing.T) {
			s := newServer(names...)
			publish := func() {
				want = append(want, s.publish(busy[r.IntN(len(busy))], "a", []string{"single", "batch"}[r.IntN(2)]))
			}
			for range before {
				publish()
			}
			rec := newRecorder(t, func(_ context.Context, m *Message) error {
				time.Sleep(time.Duration(m.Entry.ID.Ms*7%3) * 2 * time.Millisecond)
				return nil
			})
			cfg := config(&client{server: s, name: "c"}, rec)
			cfg.MaxInFlight = inFlight
			run := start(t, cfg)
			for range total - before {
				time.Sleep(time.Duration(r.IntN(4)) * time.Millisecond)
				publish()
			}
			pass(time.Minute)
			run.drainCleanly()
			got = refsOf(rec.attempts())
		})
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d: %d streams, MaxInFlight %d: %d of %d handled, or in another order", seed, len(names), inFlight, len(got), len(want))
		}
	}
}

// TestOrderOverADrain: of consumers that are active one after the other, one
// that stops handles nothing before what it has not read yet.
func TestOrderOverADrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("busy", "quiet")
		var want []wire.Ref
		for range 20 {
			want = append(want, s.publish("busy", "a", "single"))
		}
		want = append(want, s.publish("quiet", "a", "single"))
		rec := newRecorder(t, func(context.Context, *Message) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		for _, active := range []time.Duration{250 * time.Millisecond, time.Minute} {
			cfg := config(&client{server: s, name: active.String()}, rec)
			cfg.MaxInFlight, cfg.TakeOver = 8, true
			r := start(t, cfg)
			pass(active)
			r.drainCleanly()
		}
		if got := refsOf(rec.attempts()); !slices.Equal(got, want) {
			t.Errorf("handled %v, want %v", got, want)
		}
	})
}
