package delivery

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

// ErrStuck is what Ready returns when the loop has stopped turning, which no
// fault of the server or of a dependency makes it do.
var ErrStuck = errors.New("the loop is stuck")

// Ready returns nil while the engine makes progress, and otherwise what keeps
// it from that. It may be called at any time.
func (e *Engine) Ready() error {
	beat := time.Duration(e.beat.Load())
	switch {
	case beat == 0:
		return errors.New("not started")
	case beat < 0:
		return errEnded
	case time.Since(e.made)-beat > e.longestBeat():
		return fmt.Errorf("%w for %v", ErrStuck, (time.Since(e.made) - beat).Round(time.Second))
	case e.draining.Load():
		return errors.New("stopping")
	}
	for _, t := range []struct {
		what    string
		trouble *trouble
	}{
		{"handlers are paused, a dependency of theirs fails", &e.paused},
		{"reading fails", &e.reader.fault},
		{"beginning attempts fails", &e.beginning},
		{"acknowledging fails", &e.acks.fault},
	} {
		if p := t.trouble.now.Load(); p != nil {
			return fmt.Errorf("%s since %s: %w", t.what, p.since.UTC().Format(time.RFC3339), p.err)
		}
	}
	return nil
}

// longestBeat bounds the time between two turns of the loop: the renewal of
// leases wakes it where nothing else does.
func (e *Engine) longestBeat() time.Duration { return e.cfg.Lease/3 + 5*time.Second }

// trouble is a fault that lasts: it is logged when it begins, when its cause
// turns out to be another, and when it is over, not every time in between.
type trouble struct{ now atomic.Pointer[problem] }

type problem struct {
	since time.Time
	err   error     // the one that was told last
	told  time.Time // when
}

func (t *trouble) begin(log *slog.Logger, what string, err error) {
	if t.set(err) {
		log.Warn(what+" fails, will try until it works", "error", err)
		return
	}
	// Another text is told after twice the time, so that those that always
	// differ do not fill the log.
	p := t.now.Load()
	if p == nil || p.err.Error() == err.Error() || time.Since(p.told) < max(time.Second, p.told.Sub(p.since)) {
		return
	}
	if t.now.CompareAndSwap(p, &problem{p.since, err, time.Now()}) {
		log.Warn(what+" still fails", "since", p.since.UTC().Format(time.RFC3339), "error", err)
	}
}

func (t *trouble) end(log *slog.Logger, what string) {
	if t.clear() {
		log.Info(what + " works again")
	}
}

// set notes an error, and reports whether it is the first.
func (t *trouble) set(err error) (first bool) {
	now := time.Now()
	return t.now.CompareAndSwap(nil, &problem{now, err, now})
}

// clear reports whether there was one.
func (t *trouble) clear() (was bool) { return t.now.Load() != nil && t.now.Swap(nil) != nil }
