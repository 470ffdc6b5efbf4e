package web

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/freshet/freshet/inspect"
)

// countsFresh is for how long a count of the dead letters is shown. Counting
// looks at every key of the server.
const countsFresh = 2 * time.Second

// deadCounts shares one count of the dead letters between requests.
type deadCounts struct {
	mu   sync.Mutex
	last *countsLook // nil: nothing is known
}

// countsLook is one count, under way until done is closed.
type countsLook struct {
	done   chan struct{}
	ended  time.Time
	counts []inspect.DeadLetterCount
	err    error
}

// forget has the next request count anew: the dead letters were changed.
func (c *deadCounts) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = nil
}

// deadLetterCounts counts the dead letters, or returns what was counted just
// now. The result is the caller's.
func (d *Dashboard) deadLetterCounts(ctx context.Context) ([]inspect.DeadLetterCount, error) {
	look := d.countsLook()
	select {
	case <-look.done:
		return slices.Clone(look.counts), look.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// countsLook returns the count that is under way or fresh, or begins one. That
// goes on when the request which began it is given up: others wait for it.
func (d *Dashboard) countsLook() *countsLook {
	c := &d.dead
	c.mu.Lock()
	defer c.mu.Unlock()
	if look := c.last; look != nil {
		select {
		case <-look.done:
			if look.err == nil && time.Since(look.ended) < countsFresh {
				return look
			}
		default:
			return look
		}
	}
	look := &countsLook{done: make(chan struct{})}
	c.last = look
	d.parts.Go(func() {
		ctx, cancel := context.WithTimeout(d.ctx, requestTimeout)
		defer cancel()
		look.counts, look.err = d.cfg.Inspector.DeadLetterCounts(ctx)
		look.ended = time.Now()
		close(look.done)
	})
	return look
}
