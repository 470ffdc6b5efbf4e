package redisstream

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/freshet/freshet/events"
)

// sendQueue gathers what many callers add while others' entries are on their
// way, and sends it together. A lone caller's entry goes at once. The
// senders are goroutines of its own, so that a caller returns when its
// context ends, whatever a connection does; they stay, because to start one
// for each entry costs more than the rest of the way.
//
// Entries with one key go through the same senders: a node that does not
// answer holds up its own entries alone. It holds up even those for a moment
// only, for another may have taken its place: see slow.
type sendQueue struct {
	send    func(key string, batch []*adding) // answers each of them
	senders int                               // of a key, while they get on
	slow    time.Duration                     // with no batch begun for so long, another sender begins one; 0: never
	timeout time.Duration                     // of an add whose context has no deadline
	idle    time.Duration                     // a sender with nothing to send for so long leaves
	closed  <-chan struct{}

	unused sync.Pool // of addings that no sender may still answer

	mu   sync.Mutex
	keys map[string]*keyQueue
}

// keyQueue is what waits under one key, and who sends it.
type keyQueue struct {
	waiting []*adding
	senders int
	idle    int           // of the senders, without those that have been woken
	wake    chan struct{} // has room for each of them
	begun   time.Time     // the latest batch
}

// adding is one entry on its way.
type adding struct {
	Addition
	deadline time.Time      // until then its caller waits
	taken    bool           // into a batch: it may have been sent
	left     bool           // by its caller before that
	done     chan AddResult // has room for it
	late     *time.Timer    // for contexts that have none
}

// add sends an entry and waits for its answer, but not longer than ctx.
func (q *sendQueue) add(ctx context.Context, key, stream string, fields []events.Field) AddResult {
	if err := ctx.Err(); err != nil {
		return notAdded(stream, notSentError{err})
	}
	a := q.adding(ctx, stream, fields)
	q.submit(key, a)
	return q.result(ctx, a)
}

func (q *sendQueue) adding(ctx context.Context, stream string, fields []events.Field) *adding {
	a, _ := q.unused.Get().(*adding)
	if a == nil {
		a = &adding{done: make(chan AddResult, 1), late: time.NewTimer(time.Hour)}
		a.late.Stop()
	}
	a.Addition, a.taken, a.left = Addition{stream, fields}, false, false
	var limited bool
	if a.deadline, limited = ctx.Deadline(); !limited {
		a.deadline = time.Now().Add(q.timeout)
		a.late.Reset(q.timeout)
	}
	return a
}

// submit puts entries in line. Those of one call go as one batch, as far as
// it has room.
func (q *sendQueue) submit(key string, adds ...*adding) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := q.keys[key]
	if k == nil {
		if q.keys == nil {
			q.keys = map[string]*keyQueue{}
		}
		k = &keyQueue{wake: make(chan struct{}, q.senders)}
		q.keys[key] = k
	}
	k.waiting = append(k.waiting, adds...)
	switch {
	case k.idle > 0:
		k.idle--
		k.wake <- struct{}{}
	case k.senders < q.senders, q.slow > 0 && time.Since(k.begun) > q.slow:
		k.senders++
		k.begun = time.Now()
		go q.run(key, k)
	}
}

// result waits for an answer.
func (q *sendQueue) result(ctx context.Context, a *adding) AddResult {
	err := context.DeadlineExceeded
	select {
	case r := <-a.done:
		a.late.Stop()
		a.Addition = Addition{}
		q.unused.Put(a)
		return r
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-a.late.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if !a.taken { // nor will it be
		a.left, a.Fields = true, nil
		err = notSentError{err}
	}
	select {
	case r := <-a.done:
		return r
	default:
		return notAdded(a.Stream, err)
	}
}

func notAdded(stream string, err error) AddResult {
	return AddResult{Err: fmt.Errorf("add to %s: %w", stream, err)}
}

// run is a sender.
func (q *sendQueue) run(key string, k *keyQueue) {
	var batch []*adding
	enough := time.NewTimer(q.idle)
	defer enough.Stop()
	for {
		if len(batch) > 1 { // those who were answered may add again, and share a pipeline again
			runtime.Gosched()
		}
		var more bool
		if batch, more = q.take(k, batch[:0]); !more {
			return
		}
		if len(batch) > 0 {
			q.send(key, batch)
			clear(batch)
			continue
		}
		enough.Reset(q.idle)
		select {
		case <-k.wake:
			continue
		case <-enough.C:
		case <-q.closed:
		}
		if q.leave(key, k) {
			return
		}
	}
}

// take returns the next batch, without what nobody waits for any more. When
// there is none the sender counts as idle, or is one too many.
func (q *sendQueue) take(k *keyQueue, batch []*adding) (_ []*adding, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, size := 0, 0
	for n < len(k.waiting) && len(batch) < maxPipeline && size < maxPipelineBytes {
		a := k.waiting[n]
		n++
		if !a.left {
			size += a.Size()
			a.taken = true
			batch = append(batch, a)
		}
	}
	k.waiting = slices.Delete(k.waiting, 0, n)
	switch {
	case len(batch) > 0:
		k.begun = time.Now()
	case k.senders > q.senders:
		k.senders--
		return nil, false
	default:
		k.idle++
	}
	return batch, true
}

// leave takes an idle sender out, unless it has been woken.
func (q *sendQueue) leave(key string, k *keyQueue) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-k.wake:
		return false
	default:
	}
	k.idle--
	if k.senders--; k.senders == 0 {
		delete(q.keys, key)
	}
	return true
}
