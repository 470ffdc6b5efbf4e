package delivery

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/wire"
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
	route    *Route
	items    []*item
	messages []*Message // of each item
	lapsed   bool       // a lease may have run out while its item waited
	probe    bool
	ended    bool
	overdue  bool // outlived its timeout
	replaced bool // and its slot was given away
}

// result is how a call ended.
type result struct {
	owned   []bool // of each item; nil: all
	err     error
	took    time.Duration
	handled []settled // as the observer was told
	refused []settled // those of them for which it failed
	exited  *worker   // that the handler ended
}

// dispatch starts as many calls as there are slots for. While an outage
// lasts, that is one probe at its time.
func (e *Engine) dispatch() {
	for e.slots < e.cfg.Concurrency && len(e.ready) > 0 && !e.drain.over {
		probe := e.outage.paused
		if probe && (e.drain.on || !e.mayProbe()) {
			return
		}
		next := e.ready[0]
		e.ready[0] = nil
		e.ready = e.ready[1:]
		if items := next.start(e, probe); len(items) > 0 {
			e.startCall(items, probe)
		}
	}
}

func (e *Engine) startCall(items []*item, probe bool) {
	c := &call{route: items[0].route, items: items, probe: probe}
	c.messages = make([]*Message, len(items))
	for i, it := range items {
		c.messages[i] = it.message()
		c.lapsed = c.lapsed || time.Since(it.leased) >= e.cfg.Lease
	}
	e.outage.probing = e.outage.probing || probe
	e.give(c)
}

var errGoexit = errors.New("the handler ended its goroutine")

// perform runs on a worker's goroutine: it begins the attempts, calls the
// handler and tells the observer.
func (e *Engine) perform(w *worker, c *call) (r result) {
	if r.owned, r.err = e.begin(c); r.err != nil {
		return r
	}
	var ours []*Message
	for i, m := range c.messages {
		if r.owned == nil || r.owned[i] {
			ours = append(ours, m)
		}
	}
	if len(ours) == 0 {
		return r
	}
	start := time.Now()
	w.since.Store(int64(start.Sub(e.made)))
	w.call.Store(c)
	r.err = e.invoke(c.route, ours)
	w.call.Store(nil)
	r.took = time.Since(start)
	if r.err == nil {
		for i, it := range c.items {
			if r.owned == nil || r.owned[i] {
				r.handled = append(r.handled, settled{it, Settlement{Message: c.messages[i], Outcome: Handled, Duration: r.took}})
			}
		}
		r.refused = e.announce(r.handled)
	}
	return r
}

// begin records every attempt after the first, so that attempts survive a
// crash, and learns whether the items are still ours. It tries until it
// works or Run ends. The first attempt was recorded when the entry was read.
func (e *Engine) begin(c *call) (owned []bool, err error) {
	var refs []wire.Ref
	var attempts, index []int
	for i, m := range c.messages {
		if m.Attempt > 1 || c.lapsed {
			refs = append(refs, m.Entry.Ref())
			attempts = append(attempts, m.Attempt)
			index = append(index, i)
		}
	}
	if len(refs) == 0 {
		return nil, nil
	}
	for failures := 0; ; {
		ctx, cancel := e.transportContext()
		answers, err := e.cfg.Transport.Begin(ctx, refs, attempts)
		cancel()
		if err == nil {
			e.beginning.end(e.log, "beginning attempts")
			owned = make([]bool, len(c.messages))
			for i := range owned {
				owned[i] = true
			}
			for i, answer := range answers {
				owned[index[i]] = answer
			}
			return owned, nil
		}
		failures++
		e.beginning.begin(e.log, "beginning attempts", err)
		select {
		case <-time.After(retryWait(failures)):
		case <-e.handling.Done():
			return nil, context.Cause(e.handling)
		}
	}
}

// invoke calls the handler. A panic is an error.
func (e *Engine) invoke(route *Route, ms []*Message) (err error) {
	ctx := limit(e.handling, e.cfg.HandlerTimeout)
	defer ctx.end()
	returned := false
	defer func() {
		if returned {
			return
		}
		// A nil value is runtime.Goexit, which ends this goroutine anyway.
		if v := recover(); v != nil {
			err = panicError(v)
			e.log.Error("handler panicked", append(about(ms[0].Envelope), "attempt", ms[0].Attempt, "stack", string(debug.Stack()))...)
		}
	}()
	if route.HandleBatch != nil {
		err = route.HandleBatch(ctx, ms)
	} else {
		err = route.Handle(ctx, ms[0])
	}
	if err != nil {
		_ = err.Error() // which panics where err is a nil pointer in disguise
	}
	returned = true
	return err
}

// panicError describes a recovered value by its type and first line.
func panicError(v any) error {
	line, _, _ := strings.Cut(fmt.Sprint(v), "\n")
	const most = 200
	if len(line) > most {
		line = strings.ToValidUTF8(line[:most], "") + "…"
	}
	return fmt.Errorf("panic: %T: %s", v, line)
}

// overdue gives away the slot of a call that ignores the end of its context.
// Its lanes stay busy until it returns: two events of one entity must never
// run at once. As many as Config.Concurrency slots are given away; then the
// pool waits.
func (e *Engine) overdue(c *call) {
	if c.ended {
		return
	}
	c.overdue = true
	attrs := append(about(c.messages[0].Envelope), "timeout", e.cfg.HandlerTimeout, "attempt", c.messages[0].Attempt)
	if e.stuck >= e.cfg.Concurrency {
		e.log.Error("handler ignores its timeout, as do as many others as there are slots: no more handlers start", attrs...)
		return
	}
	e.log.Error("handler ignores its timeout: its entity waits for it", attrs...)
	c.replaced = true
	e.stuck++
	e.slots--
	e.workers.free--
	if c.probe {
		c.probe = false
		e.outage.probing = false
		e.probeFailed()
	}
}

// callEnded does what follows from a call's result.
func (e *Engine) callEnded(c *call, r result) {
	c.ended = true
	e.calls--
	if c.replaced {
		e.stuck--
		e.workers.free++
	} else {
		e.slots--
	}
	if r.exited != nil {
		e.workers.free--
		e.workers.all = slices.DeleteFunc(e.workers.all, func(w *worker) bool { return w == r.exited })
	}
	if c.probe {
		e.outage.probing = false
	}
	var lanes []*lane
	var ours []*item
	for i, it := range c.items {
		if l := it.lane; l.state == busy {
			l.untake()
			lanes = append(lanes, l)
		}
		if (r.owned == nil || r.owned[i]) && (r.err == nil || !it.lost) {
			ours = append(ours, it)
		} else {
			e.disown(it)
		}
	}
	switch {
	case len(ours) == 0:
	case r.err == nil:
		e.succeeded(c, r)
	case e.drain.over: // cancelled: the entries stay pending
		e.drain.cancelled = true
	case len(ours) > 1:
		e.batchFailed(c, ours, r.err)
	default:
		e.failed(c, ours[0], r.err)
	}
	for _, l := range lanes {
		if l.state == idle {
			e.advance(l)
		}
	}
	if b := e.batches[c.route]; b != nil {
		b.ended(e)
	}
}

func (e *Engine) succeeded(c *call, r result) {
	e.stats.handled.Add(int64(len(r.handled)))
	for _, s := range r.handled {
		s.it.state = done
		e.owed++
		e.leaveLane(s.it)
	}
	e.announced(r.handled, r.refused, 0)
	e.sawSuccess(c.probe)
}
