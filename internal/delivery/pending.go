package delivery

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// pageSize bounds pages of pending entries. The server looks at ten times as
// many to find them, for which more would keep it for over a millisecond.
const pageSize = 50

// pagesAtOnce bounds the streams of which pages are fetched at once. Together
// they ask for no more entries than a page may have, or one each: on a slow line
// all come as late as the last.
const pagesAtOnce = 32

// emptyPage is for how long no sweep goes on after a page of pageSize that
// brought nothing: it takes the server a twentieth of that, and nothing is read
// meanwhile. What lies behind a million entries of consumers that live is found
// after 40 s.
const emptyPage = 20 * time.Millisecond

// inPhase returns those of the sources that are in a phase.
func inPhase(sources []*source, p phase) (those []*source) {
	for _, s := range sources {
		if s.phase == p {
			those = append(those, s)
		}
	}
	return those
}

// pages decides of which of the sources pages are fetched now, and of how many
// entries each, where there is room for so many. Where fetches fail there is one
// at a time: the line may be too slow for more.
func (r *reader) pages(of []*source, room int) (now []*source, count int) {
	atOnce := pagesAtOnce
	if r.failures > 0 {
		atOnce = 1
	}
	now = of[:min(len(of), atOnce, max(1, room))]
	return now, max(1, min(pageSize, room)/len(now))
}

func (e *Engine) fetchOwn(sources []*source, count int) {
	e.fetchPending(sources, func(ctx context.Context, s *source) (Pending, error) {
		return e.cfg.Transport.Own(ctx, s.stream, s.after, count)
	}, func(s *source, p Pending) {
		s.after = p.Next
		if p.Next == (wire.ID{}) {
			s.phase = reading
			if e.cfg.TakeOver && !s.took {
				s.phase = taking
			}
		}
	})
}

func (e *Engine) takeOver(sources []*source, count int) {
	e.fetchPending(sources, func(ctx context.Context, s *source) (Pending, error) {
		p, err := e.cfg.Transport.Reclaim(ctx, s.stream, 0, s.after, count)
		// Whatever becomes of the others, or of what comes after.
		s.took = s.took || err == nil && p.Next == wire.ID{}
		return p, err
	}, func(s *source, p Pending) {
		s.after = p.Next
		if p.Next == (wire.ID{}) {
			s.phase = reading
		}
	})
}

func (e *Engine) sweep(sources []*source, count int) {
	e.fetchPending(sources, func(ctx context.Context, s *source) (Pending, error) {
		return e.cfg.Transport.Reclaim(ctx, s.stream, e.cfg.Lease, s.swept, count)
	}, func(s *source, p Pending) {
		s.swept = p.Next
		s.sweeping = p.Next != wire.ID{}
		e.reader.restAfter(s, p, count)
	})
}

// fetchPending fetches a page of pending entries of each of the sources, which
// stay as they are meanwhile, and when all worked runs then for each.
func (e *Engine) fetchPending(sources []*source, fetch func(context.Context, *source) (Pending, error), then func(*source, Pending)) {
	e.reader.settled = map[wire.Ref]bool{}
	found, errs := make([]Pending, len(sources)), make([]error, len(sources))
	e.ask(func(ctx context.Context) (p page, err error) {
		p.asked = int64(time.Since(e.made))
		var calls sync.WaitGroup
		for i, s := range sources {
			calls.Go(func() { found[i], errs[i] = fetch(ctx, s) })
		}
		calls.Wait()
		for i, f := range found {
			p.items = append(p.items, e.newItems(f.Entries, f.Deliveries)...)
			p.trimmed = append(p.trimmed, f.Trimmed...)
			// One error tells it for all, best one that was not mended.
			if errs[i] != nil && (err == nil || errors.Is(err, ErrLost)) {
				err = errs[i]
			}
		}
		return p, err
	}, func(page) {
		for i, s := range sources {
			then(s, found[i])
		}
	})
}

// planRound begins a sweep when one is due, and plans one page of each stream
// that is being swept.
func (e *Engine) planRound() {
	r := &e.reader
	r.planned = true
	now := time.Now()
	due := !now.Before(r.nextSweep)
	if due {
		r.nextSweep = now.Add(e.cfg.Lease / 2)
	} else if now.Before(r.nextRound) {
		return
	}
	for _, s := range r.sources {
		if due && !s.sweeping {
			s.sweeping, s.swept = true, wire.ID{}
		}
		if s.sweeping && !s.gone {
			r.round = append(r.round, s)
		}
	}
}

// restAfter puts the next round off after a page of so many entries that
// brought none, if the stream has more of them: the server looked at ten times
// as many for it, and consumers that live may have a million pending.
func (r *reader) restAfter(s *source, p Pending, count int) {
	switch now := time.Now(); {
	case len(p.Entries)+len(p.Trimmed) > 0:
		r.nextRound = time.Time{}
	case s.sweeping:
		if r.nextRound.Before(now) {
			r.nextRound = now
		}
		r.nextRound = r.nextRound.Add(emptyPage * time.Duration(count) / pageSize)
	}
}

// roomToSweep reports whether there is room for a page of the sweep that is
// worth a call.
func (e *Engine) roomToSweep() bool {
	free := e.most() - e.inHand
	return free-len(e.reader.hungry()) > e.most()/16 || e.inHand == 0
}

// sweeping reports whether a sweep has pages to come.
func (r *reader) sweeping() bool {
	return slices.ContainsFunc(r.sources, func(s *source) bool { return s.sweeping && !s.gone })
}
