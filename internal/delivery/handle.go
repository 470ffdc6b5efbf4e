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

var errGoexit = errors.New("the handler ended its goroutine")

// work is the goroutine of a worker.
func (e *Engine) work(w *worker) {
	defer func() {
		w.telling.end()
		if c := w.call; c != nil { // the handler ended the goroutine
			c.since.Store(0)
			c.err = errGoexit
			e.workers.left(w)
		}
	}()
	for c := e.workers.next(w); c != nil; c = e.workers.next(w) {
		e.perform(w, c)
	}
}

// perform runs on a worker's goroutine: it begins the attempts, calls the
// handler and tells the observer.
func (e *Engine) perform(w *worker, c *call) {
	if e.handling.Err() != nil { // by now
		c.err = context.Cause(e.handling)
		return
	}
	start := time.Now()
	if e.mustBegin(c, start) {
		if c.owned, c.err = e.begin(c, start); c.err != nil {
			return
		}
		start = time.Now()
	}
	ours := w.one[:0]
	if len(c.items) > 1 || c.route.HandleBatch != nil {
		ours = make([]*Message, 0, len(c.items)) // its handler may keep it
	}
	for i, it := range c.items {
		if c.owned == nil || c.owned[i] {
			ours = append(ours, &it.message)
		}
	}
	if len(ours) == 0 {
		return
	}
	c.since.Store(max(1, int64(start.Sub(e.made))))
	c.err = e.invoke(w.contexts.next(e.handling, start.Add(e.cfg.HandlerTimeout)), c.route, ours)
	c.since.Store(0)
	end := time.Now()
	c.took = end.Sub(start)
	if c.err != nil || e.cfg.Observer == nil {
		return
	}
	for i, it := range c.items {
		if c.owned == nil || c.owned[i] {
			s := Settlement{Message: &it.message, Outcome: Handled, Duration: c.took}
			if e.tellSettled(&w.telling, end, s) != nil {
				c.refused = append(c.refused, settled{it, s})
			}
		}
	}
}

// mustBegin reports whether the attempts must be begun by a call: the first
// was recorded when the entry was read. A lease may have run out while its
// item waited.
func (e *Engine) mustBegin(c *call, now time.Time) bool {
	for _, it := range c.items {
		if it.message.Attempt > 1 || e.lapsed(it, now) {
			return true
		}
	}
	return false
}

func (e *Engine) lapsed(it *item, now time.Time) bool {
	return now.Sub(e.made)-time.Duration(it.leased.Load()) >= e.cfg.Lease
}

// begin records every attempt after the first, so that attempts survive a
// crash, and learns whether the items are still ours. It tries until it
// works or Run ends.
func (e *Engine) begin(c *call, now time.Time) (owned []bool, err error) {
	lapsed := slices.ContainsFunc(c.items, func(it *item) bool { return e.lapsed(it, now) })
	var refs []wire.Ref
	var attempts, index []int
	for i, it := range c.items {
		if it.message.Attempt > 1 || lapsed {
			refs = append(refs, it.ref())
			attempts = append(attempts, it.message.Attempt)
			index = append(index, i)
		}
	}
	for failures := 0; ; {
		ctx, cancel := e.transportContext()
		answers, err := e.cfg.Transport.Begin(ctx, refs, attempts)
		cancel()
		if err == nil {
			e.beginning.end(e.log, "beginning attempts")
			owned = make([]bool, len(c.items))
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

// invoke calls the handler, and ends its context. A panic is an error.
func (e *Engine) invoke(ctx *limited, route *Route, ms []*Message) (err error) {
	returned := false
	defer func() {
		ctx.end()
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
		askAll(err)
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
