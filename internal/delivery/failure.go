package delivery

import (
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// failed decides what becomes of an item whose handler returned an error.
func (e *Engine) failed(c *call, it *item, err error) {
	it.lastFailed = time.Now()
	if it.firstFailed.IsZero() {
		it.firstFailed = it.lastFailed
	}
	switch {
	case isPermanent(err):
		it.attempts++
		e.bury(it, verdict{ReasonPermanent, err})
	case e.sawFailure(c, err, it.lane.key):
		it.setbacks++
		e.takeBack([]*item{it}, func() { e.retry(it, err) })
	default:
		it.attempts++
		if it.attempts >= e.cfg.MaxAttempts {
			e.bury(it, verdict{ReasonExhausted, err})
			return
		}
		wait := e.retry(it, err)
		e.tellRetried(&it.message, err, wait)
	}
}

// batchFailed has the items of a failed batch handled one by one, so that
// the one that fails it fails alone. The batch is no attempt of any of them:
// it does not tell which has failed.
func (e *Engine) batchFailed(c *call, items []*item, err error) {
	if isUnavailable(err) || e.outage.paused {
		e.sawFailure(c, err, items[0].lane.key)
		for _, it := range items {
			it.setbacks++
		}
		e.takeBack(items, func() {})
		return
	}
	e.log.Warn("batch failed, its events are handled one by one", append(about(items[0].message.Envelope), "events", len(items), "error", err)...)
	wait, asked := retryAfter(err)
	for _, it := range items {
		it.alone = true
		if asked && it.lane.state == idle {
			e.park(it.lane, wait)
		}
	}
}

// retry lets the item's lane wait for its next attempt.
func (e *Engine) retry(it *item, err error) time.Duration {
	wait, asked := retryAfter(err)
	if !asked {
		wait = backoff(it.attempts+it.setbacks, e.cfg.BackoffMin, e.cfg.BackoffMax)
	}
	e.park(it.lane, wait)
	return wait
}

func (e *Engine) tellRetried(m *Message, err error, wait time.Duration) {
	e.stats.retried.Add(1)
	if e.cfg.Observer != nil {
		e.cfg.Observer.Retried(m, err, wait)
	}
}

// takeBack undoes the group's count of an attempt that does not count: else
// a process that is restarted while a dependency is down would use up the
// attempts. Then it runs then, if an item is still ours. When it cannot be
// undone, the attempt counts only if the process ends before the next.
func (e *Engine) takeBack(items []*item, then func()) {
	var refs []wire.Ref
	var attempts []int
	for _, it := range items {
		if it.attempts > 0 {
			refs = append(refs, it.ref())
			attempts = append(attempts, it.attempts)
		}
	}
	if len(refs) == 0 {
		then()
		return
	}
	taken := map[*lane]int{}
	for _, it := range items {
		taken[it.lane]++
	}
	for l, n := range taken {
		l.take(n, running)
	}
	e.async(func() func() {
		ctx, cancel := e.transportContext()
		defer cancel()
		_, _ = e.cfg.Transport.Begin(ctx, refs, attempts)
		return func() {
			for l := range taken {
				l.untake()
			}
			then()
			for l := range taken {
				if l.state == idle {
					e.advance(l)
				}
			}
		}
	})
}
