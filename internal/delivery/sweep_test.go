package delivery

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// crowd is a client whose server looks at ten times as many pending entries as
// a page may bring.
type crowd struct {
	*client
	latency time.Duration
	reads   int
	swept   map[string]int // pages of each stream
	endless string         // streams that begin so have no end of entries pending with another consumer
}

func newCrowd(s *server) *crowd {
	return &crowd{client: &client{server: s, name: "c"}, latency: 100 * time.Microsecond, swept: map[string]int{}}
}

func (c *crowd) Read(ctx context.Context, streams []string, count int, block time.Duration) ([]wire.Entry, bool, error) {
	time.Sleep(c.latency)
	c.mu.Lock()
	c.reads++
	c.mu.Unlock()
	return c.client.Read(ctx, streams, count, block)
}

func (c *crowd) Reclaim(ctx context.Context, stream string, minIdle time.Duration, cursor wire.ID, count int) (p Pending, err error) {
	time.Sleep(c.latency)
	c.mu.Lock()
	c.swept[stream]++
	c.mu.Unlock()
	if c.endless != "" && strings.HasPrefix(stream, c.endless) {
		return Pending{Next: wire.ID{Ms: cursor.Ms + 1}}, nil
	}
	err = c.call(ctx, "Reclaim", func() {
		refs := c.sorted(stream, cursor)
		last := wire.ID{}
		if len(refs) > 10*count {
			refs = refs[:10*count]
			last = refs[len(refs)-1].ID
		}
		p = c.page(refs, count, func(pe *pendingEntry) bool {
			if time.Since(pe.delivered) < minIdle {
				return false
			}
			pe.consumer, pe.delivered = c.name, time.Now()
			return true
		})
		if p.Next == (wire.ID{}) {
			p.Next = last
		}
	})
	return p, err
}

func (c *crowd) pages(stream string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.swept[stream]
}

// TestSweepLeavesTheServerAlone: pages that bring nothing are few, however many
// entries others have pending, and what is published is handled meanwhile.
func TestSweepLeavesTheServerAlone(t *testing.T) {
	for _, drained := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			s := newServer("s")
			c := newCrowd(s)
			c.endless = "s"
			rec := newRecorder(t, nil)
			cfg := config(c.client, rec)
			cfg.Transport, cfg.StopWhenDrained = c, drained
			r := start(t, cfg)
			pass(time.Second)
			late := s.publish("s", "late", "single")
			pass(15 * time.Millisecond)
			if len(rec.of(late)) != 1 {
				t.Error("an event waited for the sweep")
			}
			for i := range 1000 {
				s.publish("s", entity(i), "single")
				pass(time.Millisecond)
			}
			if n, most := c.pages("s"), 2*int(time.Second/emptyPage); n < most/2 || n > most+10 {
				t.Errorf("%d pages in two seconds", n)
			}
			r.drainCleanly()
			if c.reads > 2000 {
				t.Errorf("%d reads in two seconds", c.reads)
			}
		})
	}
}

// sweepMany starts a consumer of many streams, while those that begin so are
// swept without end. What is published to one of them is handled soon.
func sweepMany(t *testing.T, endless string, drained bool, lease, soon time.Duration) (*crowd, *consumer) {
	t.Helper()
	s := newServer(manyStreams(500)...)
	c := newCrowd(s)
	c.endless = endless
	rec := newRecorder(t, nil)
	cfg := config(c.client, rec)
	cfg.Transport, cfg.StopWhenDrained, cfg.MaxInFlight = c, drained, 1000
	cfg.Lease, cfg.HandlerTimeout = lease, lease/3
	r := start(t, cfg)
	pass(500 * time.Millisecond)
	late := s.publish("s007", "late", "single")
	pass(soon)
	if len(rec.of(late)) != 1 {
		t.Error("an event waited for the sweep")
	}
	return c, r
}

// TestSweepOfOneStreamOfMany: only the streams that have more pages to come
// slow it down.
func TestSweepOfOneStreamOfMany(t *testing.T) {
	for _, drained := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			c, r := sweepMany(t, "s000", drained, 3*time.Second, 20*time.Millisecond)
			from := c.pages("s000")
			pass(9 * time.Second)
			if n := c.pages("s000") - from; n < 5*int(time.Second/emptyPage) { // of nine seconds
				t.Errorf("%d pages of the stream that has many, in nine seconds", n)
			}
			r.drainCleanly()
		})
	}
}

// TestSweepOfManyStreams: what is published does not wait for all of them.
func TestSweepOfManyStreams(t *testing.T) {
	for _, drained := range []bool{false, true} {
		bubble(t, func(t *testing.T) {
			_, r := sweepMany(t, "s", drained, 30*time.Second, 200*time.Millisecond)
			r.drainCleanly()
		})
	}
}

// TestSweepWithLittleRoom: small pages are followed sooner, so what a dead
// consumer held behind what others hold is taken over in time.
func TestSweepWithLittleRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for range 3000 {
			s.deliver("busy", 1, s.publish("s", "x", "single"))
		}
		dead := s.publish("s", "dead", "single")
		s.deliver("dead", 1, dead)
		c := newCrowd(s)
		rec := newRecorder(t, nil)
		cfg := config(c.client, rec)
		cfg.Transport, cfg.MaxInFlight, cfg.Concurrency = c, 1, 1
		cfg.Lease, cfg.HandlerTimeout = time.Second, 500*time.Millisecond
		r := start(t, cfg)
		for range 10 { // the busy one renews its leases
			pass(200 * time.Millisecond)
			s.mu.Lock()
			for _, pe := range s.pending {
				if pe.consumer == "busy" {
					pe.delivered = time.Now()
				}
			}
			s.mu.Unlock()
		}
		if len(rec.of(dead)) != 1 {
			t.Errorf("not taken over in two leases, in %d pages", c.pages("s"))
		}
		r.drainCleanly()
	})
}
