package delivery

import "time"

// outage is what the engine believes about the dependencies that handlers
// share. While it lasts no handler starts but one probe at a time, of
// different entities in turn, and no attempt counts: a database that is down
// must not dead-letter the world. Reading and leases go on.
type outage struct {
	failing map[laneKey]bool // entities that failed in a row, with no success in between
	paused  bool
	probing bool // a probe is under way
	probes  int  // that failed
	probeAt time.Time
}

// longestProbeWait bounds how long an outage outlives its cause.
const longestProbeWait = 30 * time.Second

// sawFailure notes a failed call, and reports whether it is put down to an
// outage.
func (e *Engine) sawFailure(c *call, err error, entity laneKey) bool {
	o := &e.outage
	switch {
	case o.paused:
		if c.probe {
			e.probeFailed()
		}
		return true
	case isUnavailable(err):
		e.pause(err)
		return true
	}
	o.failing[entity] = true
	if len(o.failing) >= e.cfg.OutageThreshold {
		e.pause(err)
	}
	return false
}

// sawSuccess notes a successful call. Only a probe ends an outage: the other
// calls began before it did.
func (e *Engine) sawSuccess(probe bool) {
	o := &e.outage
	clear(o.failing)
	if o.paused && probe {
		o.paused = false
		e.paused.clear()
		if e.cfg.Observer != nil {
			e.cfg.Observer.Resumed()
		}
	}
}

func (e *Engine) pause(err error) {
	o := &e.outage
	o.paused = true
	e.paused.set(err)
	o.probes = 0
	clear(o.failing)
	e.withdrawAll()
	wait := e.probeFailed()
	if e.cfg.Observer != nil {
		e.cfg.Observer.Paused(err, wait)
	}
}

// probeFailed sets the time of the next probe.
func (e *Engine) probeFailed() time.Duration {
	o := &e.outage
	o.probes++
	wait := backoff(o.probes, e.cfg.BackoffMin, max(e.cfg.BackoffMin, longestProbeWait))
	o.probeAt = time.Now().Add(wait)
	e.after(wait, func() {}) // wakes the loop
	return wait
}

// mayProbe reports whether a probe can start now. If so, it brings forward
// an entity that has not failed yet: what failed may have itself to blame.
func (e *Engine) mayProbe(ready []starter) bool {
	o := &e.outage
	if o.probing || time.Now().Before(o.probeAt) {
		return false
	}
	for i, s := range ready {
		l, ok := s.(*lane)
		if ok && len(l.queue) > 0 && l.queue[0].attempts+l.queue[0].setbacks == 0 {
			ready[0], ready[i] = ready[i], ready[0]
			break
		}
	}
	return true
}
