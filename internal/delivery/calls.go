package delivery

import (
	"slices"
	"sync/atomic"
	"time"
)

// starter is what waits for a slot: a lane, or a batcher. Its start takes the
// items to handle in one call, none when they are no longer there. A probe
// takes one.
type starter interface {
	start(e *Engine, probe bool) []*item
}

func (l *lane) start(e *Engine, _ bool) []*item {
	l.state = idle
	if len(l.queue) == 0 || l.queue[0].verdict != nil || l.queue[0].route.HandleBatch != nil {
		e.advance(l) // another event came before, or it was dropped
		return nil
	}
	return l.take(1, running)
}

// call is one call of a handler: of one item, or of a batch.
type call struct {
	route *Route
	items []*item
	one   [1]*item // items, when it is one
	probe bool

	stage    stage // with workers.mu
	replaced bool  // it outlived its timeout and its slot was given away; with workers.mu
	overdue  bool  // it outlived its timeout

	since atomic.Int64 // when its handler was called, since the engine was made; 0: it is not running

	// How it ended.
	owned   []bool // of each item; nil: all
	err     error
	took    time.Duration
	refused []settled // those of which the observer did not take the end
}

type stage int

const (
	waits stage = iota // for a worker
	taken
	handedIn
	withdrawn
)

// calls is what the loop knows of all calls.
type calls struct {
	open    int  // under way, or waiting for a worker
	slots   int  // those that count against Config.Concurrency
	stuck   int  // those that do not, because they outlived their timeout
	watched bool // a timer will look for those that do

	// To be used again, for allocations would cost more than the rest.
	spare        []*call
	given, ended []*call
	freed        []*lane
}

// newCall makes a call of items that are taken from their lanes.
func (e *Engine) newCall(items []*item, probe bool) *call {
	var c *call
	if n := len(e.calls.spare); n > 0 {
		c, e.calls.spare = e.calls.spare[n-1], e.calls.spare[:n-1]
	} else {
		c = &call{}
	}
	c.route, c.probe = items[0].route, probe
	if len(items) == 1 {
		c.one[0] = items[0]
		items = c.one[:]
	}
	c.items = items
	for _, it := range items {
		it.message.Attempt = it.attempts + 1
		it.lane.call = c
	}
	return c
}

// reuse keeps a call of one item, which nobody refers to any more.
func (e *Engine) reuse(c *call) {
	c.one[0], c.items = nil, nil
	c.stage = waits
	c.replaced, c.overdue = false, false
	c.owned, c.refused = nil, nil
	e.calls.spare = append(e.calls.spare, c)
}

// dispatch hands all calls that are ready to the workers, ahead of their time:
// which of them start is up to the workers. Batches still grow while they
// wait, so they are made when there is a slot. While an outage lasts, there is
// one probe at its time.
func (e *Engine) dispatch() {
	calls := e.calls.given[:0]
	probe := e.outage.paused
	i := 0
	for ; i < len(e.ready) && !e.drain.over; i++ {
		_, ahead := e.ready[i].(*lane)
		if e.calls.slots >= e.cfg.Concurrency && (probe || !ahead) {
			break
		}
		if probe && (e.drain.on || !e.mayProbe(e.ready[i:])) {
			break
		}
		next := e.ready[i]
		if items := next.start(e, probe); len(items) > 0 {
			e.outage.probing = e.outage.probing || probe
			e.calls.open++
			e.calls.slots++
			calls = append(calls, e.newCall(items, probe))
		}
	}
	if i > 0 {
		e.ready = slices.Delete(e.ready, 0, i)
	}
	if len(calls) == 0 {
		return
	}
	e.workers.add(calls)
	clear(calls)
	e.calls.given = calls
	if !e.calls.watched {
		e.calls.watched = true
		e.after(watchEvery, e.watch)
	}
}

// withdraw takes a call back that has not started, if the lane has one.
func (e *Engine) withdraw(l *lane) {
	if l.state == busy && l.call != nil && e.workers.withdraw(l.call) {
		e.withdrawn([]*call{l.call})
	}
}

// withdrawAll takes back all calls that have not started.
func (e *Engine) withdrawAll() { e.withdrawn(e.workers.withdrawAll()) }

// withdrawn puts the lanes of calls that were taken back before all others
// that are ready.
func (e *Engine) withdrawn(calls []*call) {
	if len(calls) == 0 {
		return
	}
	after := e.ready
	e.ready = nil
	for _, c := range calls {
		e.calls.open--
		e.calls.slots--
		if c.probe {
			e.outage.probing = false
		}
		e.goOn(c.untake(nil), c.route)
	}
	e.ready = append(e.ready, after...)
}
