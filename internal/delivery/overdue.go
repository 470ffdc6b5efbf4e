package delivery

import "time"

const (
	// overtime is how long a handler may take to notice that its context ended.
	overtime = 500 * time.Millisecond
	// watchEvery is how often it is looked for handlers that do not.
	watchEvery = 100 * time.Millisecond
)

// watch looks for calls that ignore the end of their context.
func (e *Engine) watch() {
	e.calls.watched = e.calls.open > 0
	if !e.calls.watched {
		return
	}
	e.after(watchEvery, e.watch)
	latest := int64(time.Since(e.made) - e.cfg.HandlerTimeout - overtime)
	for _, c := range e.workers.underWay() {
		if since := c.since.Load(); since > 0 && since <= latest && !c.replaced {
			e.overdue(c)
		}
	}
}

// overdue gives away the slot of a call that ignores the end of its context.
// Its lanes stay busy until it returns: two events of one entity must never
// run at once. As many as Config.Concurrency slots are given away; then the
// pool waits.
func (e *Engine) overdue(c *call) {
	stuck := e.calls.stuck >= e.cfg.Concurrency
	if stuck && c.overdue {
		return // told already
	}
	c.overdue = true
	attrs := append(about(c.items[0].message.Envelope), "timeout", e.cfg.HandlerTimeout, "attempt", c.items[0].message.Attempt)
	if stuck {
		e.log.Error("handler ignores its timeout, as do as many others as there are slots: no more handlers start", attrs...)
		return
	}
	if !e.workers.replace(c) {
		return // it has just ended
	}
	e.log.Error("handler ignores its timeout: its entity waits for it", attrs...)
	e.calls.stuck++
	e.calls.slots--
	if c.probe {
		c.probe = false
		e.outage.probing = false
		e.probeFailed()
	}
}
