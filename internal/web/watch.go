package web

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/freshet/freshet/inspect"
)

const (
	watchEvery   = 5 * time.Second
	watchTimeout = 10 * time.Second
	watchWhile   = 30 * time.Second // after the last page that asked
	watchKept    = 120              // samples: ten minutes
)

// watch is what the dashboard last saw of the whole bus. Pages about all of it
// show that, and so cost the server nothing. While nobody asks, nothing is
// looked at.
type watch struct {
	mu    sync.Mutex
	first chan struct{} // closed after the first look since somebody asks
	asked time.Time     // by a page
	wake  chan struct{} // holds one when somebody has asked
	seen
}

func newWatch() watch {
	return watch{first: make(chan struct{}), wake: make(chan struct{}, 1)}
}

// seen is one look, and what is remembered of those before.
type seen struct {
	Diagnosis *inspect.Diagnosis // the last that there is; nil: none
	Rates     *inspect.Rates     // nil until there are two looks
	At        time.Time          // of the last look, by this machine's clock
	Err       error              // of the last look
	Failing   time.Time          // since when looks fail; zero: they do not
	Samples   []sample           // the oldest first
	since     map[string]time.Time
}

// sample is what sparklines are drawn of.
type sample struct {
	In, Settled float64 // events a second
	Lag         float64 // events
	Age         float64 // seconds, of the oldest event that a group has not settled
	Dead        float64 // dead letters
}

// keep looks at the bus while somebody asks, until ctx ends.
func (w *watch) keep(ctx context.Context, look func(context.Context) (*inspect.Diagnosis, error)) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if !w.wanted() {
			select {
			case <-w.wake:
				tick.Reset(watchEvery) // rates are those of a whole interval
			case <-ctx.Done():
				return
			}
		}
		looking, cancel := context.WithTimeout(ctx, watchTimeout)
		diagnosis, err := look(looking)
		cancel()
		if ctx.Err() != nil {
			return
		}
		w.put(diagnosis, err)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// wanted tells whether somebody has asked lately. If not, what was seen is
// forgotten: the next who asks is shown how it is then.
func (w *watch) wanted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.asked) < watchWhile {
		return true
	}
	select {
	case <-w.wake: // by who asked before
	default:
	}
	select {
	case <-w.first:
		w.first, w.seen = make(chan struct{}), seen{}
	default:
	}
	return false
}

// ask has the bus looked at, and returns what is closed when it was.
func (w *watch) ask() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = time.Now()
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return w.first
}

func (w *watch) put(diagnosis *inspect.Diagnosis, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.Diagnosis
	w.At, w.Err = time.Now(), err
	switch {
	case err != nil:
		if w.Failing.IsZero() {
			w.Failing = w.At
		}
	default:
		w.Failing, w.Diagnosis = time.Time{}, diagnosis
		w.remember(diagnosis.Findings)
		if s := diagnosis.Snapshot; s != nil {
			w.Rates = nil
			if before != nil && before.Snapshot != nil {
				rates := inspect.RatesBetween(before.Snapshot, s)
				w.Rates = &rates
			}
			if len(w.Samples) == watchKept {
				w.Samples = w.Samples[1:]
			}
			w.Samples = append(w.Samples, sampleOf(s, w.Rates))
		} else if before != nil {
			kept := *diagnosis
			kept.Snapshot = before.Snapshot // what was last known
			w.Diagnosis = &kept
		}
	}
	select {
	case <-w.first:
	default:
		close(w.first)
	}
}

// remember keeps since when each finding was seen.
func (w *watch) remember(findings []inspect.Finding) {
	since := make(map[string]time.Time, len(findings))
	for _, f := range findings {
		key := f.Check + "\x00" + f.Subject
		if at, ok := w.since[key]; ok {
			since[key] = at
		} else {
			since[key] = time.Now()
		}
	}
	w.since = since
}

// look returns what was last seen, and waits for it where nobody asked before.
func (d *Dashboard) look(ctx context.Context) (seen, error) {
	select {
	case <-d.watch.ask():
	case <-ctx.Done():
		return seen{}, ctx.Err()
	}
	d.watch.mu.Lock()
	defer d.watch.mu.Unlock()
	s := d.watch.seen
	s.Samples = append([]sample(nil), s.Samples...)
	return s, nil
}

// snapshot returns what was last seen of the streams.
func (d *Dashboard) snapshot(ctx context.Context) (*inspect.Snapshot, seen, error) {
	s, err := d.look(ctx)
	switch {
	case err != nil:
		return nil, s, err
	case s.Diagnosis != nil && s.Diagnosis.Snapshot != nil:
		return s.Diagnosis.Snapshot, s, nil
	case s.Err != nil:
		return nil, s, s.Err
	}
	return nil, s, errors.New("the Redis server was not reached yet")
}

// stale says so when what is shown is not what there is now.
func (s seen) stale() []string {
	switch {
	case !s.Failing.IsZero():
		return []string{"This is how it was " + ago(time.Since(s.Failing)) + ". Since then the bus could not be looked at: " + s.Err.Error()}
	case s.Diagnosis != nil && s.Diagnosis.Unreachable:
		return []string{"The Redis server is not reached. What is shown of streams and groups is what was last known."}
	}
	return nil
}

func sampleOf(s *inspect.Snapshot, rates *inspect.Rates) (p sample) {
	for _, stream := range s.Streams {
		for _, g := range stream.Groups {
			p.Lag += float64(g.Lag.N)
			p.Dead += float64(max(g.DeadLetters, 0))
			if at := oldestOf(&g); !at.IsZero() {
				p.Age = max(p.Age, s.At.Sub(at).Seconds())
			}
		}
	}
	if rates != nil {
		for _, r := range rates.In {
			p.In += r.PerSecond
		}
		for _, r := range rates.Settled {
			p.Settled += r.PerSecond
		}
	}
	return p
}
