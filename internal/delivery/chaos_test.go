package delivery

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// moody is a client of a server that fails over now and then: it has forgotten
// how far it had read, or has only moved.
type moody struct {
	*client
	random  *rand.Rand
	latency time.Duration
}

func (c *moody) Read(ctx context.Context, streams []string, count int, block time.Duration) ([]wire.Entry, bool, error) {
	entries, atOnce, err := c.client.Read(ctx, streams, count, block)
	time.Sleep(c.latency)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil || len(entries) == 0 || c.random.IntN(8) > 0 {
		return entries, atOnce, err
	}
	if own := c.sorted("s", wire.ID{}); len(own) > 0 && c.random.IntN(2) == 0 {
		c.cursor["s"] = wire.ID{Ms: own[0].ID.Ms - 1}
	}
	return entries, atOnce, fmt.Errorf("another server: %w", ErrLost)
}

// TestChaos: whatever is lost on the way, wherever the server moves and however
// often a consumer stops and another starts, everything is handled, each
// entity's events for the first time in their order.
func TestChaos(t *testing.T) {
	for seed := range uint64(60) {
		bubble(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			some := func(of ...time.Duration) time.Duration { return of[random.IntN(len(of))] }
			most := []int{1, 2, 3, 5, 20, 100}[random.IntN(6)]
			latency, takes := some(0, 100*time.Microsecond, time.Millisecond), some(0, 100*time.Microsecond, 5*time.Millisecond)
			s := newServer("s")
			rec := newRecorder(t, func(context.Context, *Message) error {
				time.Sleep(takes)
				return nil
			})
			var published []wire.Ref
			var publishing sync.WaitGroup
			publishing.Go(func() {
				random := rand.New(rand.NewPCG(seed, 1))
				for range 1500 {
					time.Sleep(time.Duration(random.IntN(3)) * 300 * time.Microsecond)
					published = append(published, s.publish("s", entity(random.IntN(9)), "single"))
				}
			})
			faults := rand.New(rand.NewPCG(seed, 2))
			rate := 3 + random.IntN(20)
			consumer := func() Config {
				c := &moody{client: &client{server: s, name: "c"}, random: rand.New(rand.NewPCG(seed, 3)), latency: latency}
				c.fault = func(call string) error {
					s.mu.Lock()
					defer s.mu.Unlock()
					if (call == "Read" || call == "lost Read" || call == "lost Own") && faults.IntN(rate) == 0 {
						return errNetwork
					}
					return nil
				}
				cfg := config(c.client, rec)
				cfg.Transport, cfg.MaxInFlight, cfg.TakeOver = c, most, seed%3 == 0
				if seed%2 == 0 {
					cfg.Lease, cfg.HandlerTimeout = 300*time.Millisecond, 100*time.Millisecond
				}
				if seed%5 == 0 {
					cfg.Block = 2 * time.Millisecond
				}
				return cfg
			}
			for range 6 {
				r := start(t, consumer())
				pass(time.Duration(random.IntN(300)) * time.Millisecond)
				r.drainCleanly()
			}
			publishing.Wait()
			settleAll(t, consumer())

			handled := map[wire.Ref]bool{}
			last := map[string]wire.Ref{}
			for _, a := range rec.attempts() {
				if !handled[a.ref] && a.ref.ID.Compare(last[a.entity].ID) < 0 {
					t.Errorf("seed %d: %s: %v after %v", seed, a.entity, a.ref, last[a.entity])
				}
				if !handled[a.ref] {
					last[a.entity] = a.ref
				}
				handled[a.ref] = true
			}
			if len(handled) != len(published) {
				t.Errorf("seed %d: %d of %d were handled", seed, len(handled), len(published))
			}
			if n := s.pendingCount(); n > 0 {
				t.Errorf("seed %d: %d are pending", seed, n)
			}
		})
	}
}
