package delivery

import (
	"sync"
	"time"
)

// workers run the calls of handlers. They are goroutines that stay, as many
// as were ever needed at once, and take the calls that wait from one queue:
// short ones run one after the other on one worker, without a switch to the
// loop and back for each.
//
// A worker that takes a call wakes another when more wait. That one does the
// same in turn, so that no call waits behind a slow one while a worker is
// free. One at a time is on its way: a queue that one worker empties in no
// time does not wake them all.
type workers struct {
	most  int           // calls that run at once
	start func(*worker) // its goroutine
	news  chan struct{} // of capacity 1: something ended that the loop should see now

	mu      sync.Mutex
	free    sync.Cond // of workers that sleep
	waiting []*call
	ended   []*call
	failed  int         // of ended, or being looked at by the loop; no call starts meanwhile
	running int         // that count against most
	asleep  int         // workers
	coming  bool        // a worker that was woken or started
	closed  bool        // no call starts any more
	late    *time.Timer // tells the loop of what ended some time ago

	all []*worker
}

// worker is one of them.
type worker struct {
	call     *call       // under way; written with workers.mu
	one      [1]*Message // of a call
	contexts contexts    // of its handlers
	telling  telling
}

const (
	// endedBatch is how many ended calls the loop is told of at once.
	endedBatch = 64
	// longCall is how long a call takes of which the loop is told at once:
	// to wake it costs little beside.
	longCall = 50 * time.Microsecond
)

func newWorkers(most int, start func(*worker)) *workers {
	w := &workers{most: most, start: start, news: make(chan struct{}, 1)}
	w.free.L = &w.mu
	return w
}

// add puts calls at the end of the queue.
func (w *workers) add(calls []*call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = append(w.waiting, calls...)
	w.wakeOne()
}

// next hands in the worker's call, when it has one, and waits for another; nil
// ends the worker.
func (w *workers) next(me *worker) *call {
	w.mu.Lock()
	defer w.mu.Unlock()
	if me.call == nil {
		w.coming = false
	} else {
		w.handIn(me)
	}
	for !w.closed {
		if c := w.take(); c != nil {
			me.call = c
			if len(w.waiting) > 0 {
				w.wakeOne()
			} else if len(w.ended) > 0 {
				w.tell() // there is room for more
			}
			return c
		}
		if len(w.ended) > 0 {
			w.tell()
		}
		w.asleep++
		w.free.Wait() // whoever wakes it lowers asleep
		w.coming = false
	}
	return nil
}

// take takes the first call from the queue, if one may start now.
func (w *workers) take() *call {
	for w.mayStart() {
		c := w.waiting[0]
		w.waiting[0] = nil
		w.waiting = w.waiting[1:]
		if c.stage == withdrawn {
			continue
		}
		c.stage = taken
		w.running++
		return c
	}
	return nil
}

func (w *workers) mayStart() bool {
	return len(w.waiting) > 0 && w.running < w.most && w.failed == 0 && !w.closed
}

// handIn puts the worker's call, which has ended, on the list for the loop.
// The loop is told soon, but not of each: that would cost more than many a
// handler does. After a failure no call starts until the loop has seen it,
// because it may be the one that shows an outage.
func (w *workers) handIn(me *worker) {
	c := me.call
	me.call = nil
	c.stage = handedIn
	if !c.replaced {
		w.running--
	}
	w.ended = append(w.ended, c)
	switch {
	case c.err != nil:
		w.failed++
		w.tell()
	case len(w.ended) >= endedBatch || c.took >= longCall:
		w.tell()
	case len(w.ended) > 1:
	case w.late == nil:
		w.late = time.AfterFunc(ackDelay, w.tell)
	default:
		w.late.Reset(ackDelay)
	}
}

// tell has the loop look at what ended.
func (w *workers) tell() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// wakeOne wakes a worker, or starts one, when a call may start.
func (w *workers) wakeOne() {
	if w.coming || !w.mayStart() {
		return
	}
	w.coming = true
	if w.asleep > 0 {
		w.asleep--
		w.free.Signal()
		return
	}
	one := &worker{}
	w.all = append(w.all, one)
	w.start(one)
}

// collect takes the calls that have ended, in exchange for an empty list.
func (w *workers) collect(empty []*call) []*call {
	w.mu.Lock()
	defer w.mu.Unlock()
	ended := w.ended
	w.ended = empty
	return ended
}

// seen lets calls start again after the loop has seen so many failures.
func (w *workers) seen(failures int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed -= failures
	w.wakeOne()
}

// withdraw takes a call back that has not started. It reports false when the
// call has.
func (w *workers) withdraw(c *call) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.stage != waits {
		return false
	}
	c.stage = withdrawn // take drops it
	return true
}

// withdrawAll takes back all calls that have not started.
func (w *workers) withdrawAll() (calls []*call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.waiting {
		if c.stage == waits {
			c.stage = withdrawn
			calls = append(calls, c)
		}
	}
	w.waiting = nil
	return calls
}

// replace gives the slot of a running call to another. It reports false when
// the call has ended.
func (w *workers) replace(c *call) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.stage != taken {
		return false
	}
	c.replaced = true
	w.running--
	w.wakeOne()
	return true
}

// left hands in the call of a worker whose goroutine the handler has ended.
func (w *workers) left(me *worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handIn(me)
	for i, one := range w.all {
		if one == me {
			w.all = append(w.all[:i], w.all[i+1:]...)
			break
		}
	}
	w.wakeOne()
}

// underWay returns the calls that have started and not ended.
func (w *workers) underWay() (calls []*call) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.all {
		if one.call != nil {
			calls = append(calls, one.call)
		}
	}
	return calls
}

// close ends the workers, each after its call.
func (w *workers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.waiting = nil
	if w.late != nil {
		w.late.Stop()
	}
	w.free.Broadcast()
}
