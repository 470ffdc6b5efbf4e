package delivery

import (
	"sync/atomic"
	"time"
)

// workers run the calls of handlers. They are goroutines that stay, as many as
// calls were ever under way at once: to start one for each call would cost more
// than many a handler does.
type workers struct {
	all   []*worker
	calls chan *call // never more than there is room for
	free  int        // that are there for calls: those that are stuck are not
	armed bool       // a timer will look after them
}

// worker is one of them.
type worker struct {
	call  atomic.Pointer[call] // whose handler is running
	since atomic.Int64         // when it was called, since the engine was made
}

// give hands a call to a worker.
func (e *Engine) give(c *call) {
	w := &e.workers
	e.calls++
	e.slots++
	if e.slots > w.free {
		w.free++
		one := &worker{}
		w.all = append(w.all, one)
		e.tasks.Go(func() { e.work(one) })
	}
	w.calls <- c
	if !w.armed {
		w.armed = true
		e.after(watchEvery, e.watch)
	}
}

func (e *Engine) work(w *worker) {
	for c := range e.workers.calls {
		e.runCall(w, c)
	}
}

func (e *Engine) runCall(w *worker, c *call) {
	r := result{err: errGoexit, exited: w}
	defer func() {
		w.call.Store(nil)
		e.post(func() { e.callEnded(c, r) })
	}()
	r = e.perform(w, c)
}

const (
	// overtime is how long a handler may take to notice that its context ended.
	overtime = 500 * time.Millisecond
	// watchEvery is how often it is looked for handlers that do not.
	watchEvery = 100 * time.Millisecond
)

// watch looks for calls that ignore the end of their context.
func (e *Engine) watch() {
	e.workers.armed = e.calls > 0
	if !e.workers.armed {
		return
	}
	e.after(watchEvery, e.watch)
	latest := int64(time.Since(e.made) - e.cfg.HandlerTimeout - overtime)
	for _, w := range e.workers.all {
		if c := w.call.Load(); c != nil && w.since.Load() <= latest && !c.overdue {
			e.overdue(c)
		}
	}
}
