package delivery

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// drain is how Run ends.
type drain struct {
	on        bool // Run's context ended: nothing new is read
	cut       bool // a fetch was under way then; its end is awaited
	stranded  bool // it failed: what its reply held is pending with us, and fetched
	over      bool // the time is up: handlers were cancelled
	cancelled bool // one of them failed then
	late      bool // one of them did not return either

	// With Config.StopWhenDrained.
	checking bool // the transport is being asked what is unsettled
	polls    int  // that found entries pending with others
	complete bool // all is settled
}

var errDrainTimeout = errors.New("the consumer stops, and the time to finish is up")

// startDrain stops reading and finishes what is in hand and ready.
func (e *Engine) startDrain() {
	e.drain.on = true
	e.draining.Store(true)
	e.drain.cut = e.reader.busy
	e.reader.cancel()
	e.after(e.cfg.DrainTimeout, func() {
		e.drain.over = true
		e.withdrawAll()
		e.cancel(errDrainTimeout)
		e.after(lastWait, func() { e.drain.late = true })
	})
	e.reader.notBefore = time.Time{}
	e.releaseAll()
	for _, b := range e.batches {
		e.whenDue(b)
	}
	e.flush()
}

// fetchStranded fetches this consumer's own pending entries after a fetch was
// cut off: the reply may have been lost on its way.
func (e *Engine) fetchStranded() {
	if !e.drain.stranded {
		return
	}
	own := slices.DeleteFunc(inPhase(e.reader.sources, owning), func(s *source) bool { return s.gone })
	if free := e.most() - e.inHand; len(own) > 0 && free > 0 {
		e.fetchOwn(e.reader.pages(own, free))
		return
	}
	e.drain.stranded = false
	e.releaseAll()
}

// finished reports whether Run is to return, and with what.
func (e *Engine) finished() (bool, error) {
	d := &e.drain
	if e.cfg.StopWhenDrained && !d.on {
		e.checkDrained()
		return d.complete, nil
	}
	if !d.on {
		return false, nil
	}
	atWork := e.calls.open > 0 || e.working > 0 || e.owed > 0
	waiting := len(e.ready) > 0 && !e.outage.paused
	switch {
	case d.late || d.over && !atWork && (waiting || d.cancelled):
		return true, fmt.Errorf("drain: %d entries not finished within %v stay pending", e.inHand, e.cfg.DrainTimeout)
	case atWork || waiting:
		return false, nil
	}
	if n := e.inHand; n > 0 {
		e.log.Info("stopped; entries that wait for a retry stay pending", "count", n)
	}
	return true, nil
}

// checkDrained asks, once nothing is in hand and a read found nothing, what
// the group has unsettled.
func (e *Engine) checkDrained() {
	d, r := &e.drain, &e.reader
	if d.checking || r.busy || !r.empty || e.inHand > 0 || r.sweeping() {
		return
	}
	d.checking = true
	e.async(func() func() {
		ctx, cancel := e.transportContext()
		defer cancel()
		pending, unread, err := e.cfg.Transport.Unsettled(ctx)
		return func() {
			d.checking = false
			r.empty = false
			switch {
			case err != nil:
				e.fetchFailed(err)
			case pending > 0: // with others, until they settle or their leases end
				d.polls++
				r.nextSweep = time.Time{}
			case unread:
				r.notBefore = time.Time{}
			default:
				d.complete = true
			}
		}
	})
}

// pollWait returns how long to wait before reading again what was empty.
func (d *drain) pollWait() time.Duration {
	return doubled(d.polls+1, 100*time.Millisecond, time.Second)
}
