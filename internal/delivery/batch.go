package delivery

import (
	"slices"
	"time"
)

// batcher collects the events of a batch route. One batch of it is under way
// at a time.
type batcher struct {
	route   *Route
	lanes   []*lane // ready, and begin with an event of the route
	waiting int     // events in them, at most: later ones may be of other routes
	due     time.Time
	queued  bool // for a slot
	busy    bool // a batch is under way
}

// gather lets a lane that begins with an event of a batch route wait for the
// batch.
func (e *Engine) gather(l *lane) {
	route := l.queue[0].route
	b := e.batches[route]
	if b == nil {
		b = &batcher{route: route}
		e.batches[route] = b
	}
	if len(b.lanes) == 0 {
		b.due = time.Now().Add(route.BatchWait)
		e.after(route.BatchWait, func() { e.whenDue(b) })
	}
	b.lanes = append(b.lanes, l)
	b.waiting += len(l.queue)
	e.whenDue(b)
}

// whenDue queues the batcher for a slot when its batch is full, or has
// waited long enough.
func (e *Engine) whenDue(b *batcher) {
	if b.queued || b.busy || len(b.lanes) == 0 {
		return
	}
	now := e.drain.on || b.lanes[0].queueAlone() || !time.Now().Before(b.due)
	if now || b.waiting >= b.route.BatchSize {
		b.queued = true
		e.ready = append(e.ready, b)
	}
}

// start takes whole runs of consecutive events of the route from its lanes,
// as many as fit. Events that must be alone get a batch of one.
func (b *batcher) start(e *Engine, probe bool) []*item {
	b.queued = false
	limit := max(1, b.route.BatchSize)
	if probe {
		limit = 1
	}
	var batch []*item
	var later []*lane
	for i, l := range b.lanes {
		if len(batch) >= limit {
			later = append(later, b.lanes[i:]...)
			break
		}
		n := l.run(b.route, limit-len(batch))
		switch {
		case n == 0: // emptied, or another event came before
			l.state = idle
			e.advance(l)
		case l.queueAlone() && len(batch) > 0:
			later = append(later, l)
		case l.queueAlone():
			batch = append(batch, l.take(1, running)...)
			limit = 1
		default:
			batch = append(batch, l.take(n, running)...)
		}
	}
	b.lanes = later
	b.waiting = 0
	for _, l := range later {
		b.waiting += len(l.queue)
	}
	b.busy = len(batch) > 0
	return batch
}

// ended lets the batcher go on after a batch.
func (b *batcher) ended(e *Engine) {
	b.busy = false
	e.whenDue(b)
}

// run counts the events at the front of the lane that can go into one batch
// of the route: at most limit, and one when the first must be alone.
func (l *lane) run(route *Route, limit int) int {
	end := slices.IndexFunc(l.queue, func(it *item) bool { return it.route != route || it.verdict != nil })
	if end < 0 {
		end = len(l.queue)
	}
	if end > 1 && !l.queueAlone() {
		if alone := slices.IndexFunc(l.queue[:end], func(it *item) bool { return it.alone }); alone > 0 {
			end = alone
		}
	}
	return min(end, limit)
}

// queueAlone reports whether the lane's first event must be alone.
func (l *lane) queueAlone() bool { return len(l.queue) > 0 && l.queue[0].alone }
