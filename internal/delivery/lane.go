package delivery

import (
	"slices"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// lane holds the items of one entity, which are handled one at a time, or as
// consecutive events of one batch, in order.
type lane struct {
	key   laneKey
	hash  uint64
	next  *lane   // of the same hash
	queue []*item // by id; the first taken are being worked on
	taken int     // with state busy
	call  *call   // that handles them; nil when something else is done with them
	state laneState
	until time.Time // with state parked
}

// laneKey is the entity. An event without one has a lane of its own, keyed by
// its stream and id.
type laneKey struct{ tenant, kind, id string }

type laneState int

const (
	idle   laneState = iota // between two of the others, or without items
	ready                   // waits for a slot, or for a batch
	busy                    // its first items are being handled or dead-lettered
	parked                  // waits for the retry time of its first item
	gone                    // dropped, to be used again
)

// enqueue puts a released item into its lane.
func (e *Engine) enqueue(it *item) {
	l := e.lanes.of(it)
	it.lane, it.state = l, queued
	if l.taken > 0 && compareItems(it, l.queue[0]) < 0 {
		e.withdraw(l) // if it has not started: the older goes first
	}
	l.queue = insert(l.queue, l.taken, it)
	switch l.state {
	case idle:
		e.advance(l)
	case ready:
		if b := e.batches[it.route]; b != nil {
			b.waiting++
			e.whenDue(b)
		}
	}
}

// advance decides what an idle lane does next.
func (e *Engine) advance(l *lane) {
	if len(l.queue) == 0 {
		e.lanes.drop(l)
		return
	}
	switch head := l.queue[0]; {
	case head.verdict != nil:
		l.state = ready // bury takes it at once
		e.bury(head, *head.verdict)
	case head.route.HandleBatch != nil:
		l.state = ready
		e.gather(l)
	default:
		l.state = ready
		e.ready = append(e.ready, l)
	}
}

// take marks the first n items of the lane as being worked on.
func (l *lane) take(n int, as state) []*item {
	l.state, l.taken = busy, n
	for _, it := range l.queue[:n] {
		it.state = as
	}
	return l.queue[:n]
}

// untake ends take for what is still in the lane, and leaves the lane idle.
func (l *lane) untake() {
	for _, it := range l.queue[:l.taken] {
		it.state = queued
	}
	l.state, l.taken, l.call = idle, 0, nil
}

// park lets an idle lane wait.
func (e *Engine) park(l *lane, wait time.Duration) {
	l.state, l.until = parked, time.Now().Add(wait)
	e.after(wait, func() {
		if l.state == parked && !time.Now().Before(l.until) {
			l.state = idle
			e.advance(l)
		}
	})
}

// forget drops an item from hand: it is settled, or another consumer's now.
func (e *Engine) forget(it *item) {
	it.source.hand.take(it)
	e.inHand--
	if it.lane != nil {
		e.leaveLane(it)
	}
}

// disown drops an item from hand that turned out not to be ours. One that was
// trimmed is nobody's.
func (e *Engine) disown(it *item) {
	if it.trimmed {
		e.lostTrimmed([]wire.Ref{it.ref()})
	}
	e.forget(it)
}

// leaveLane takes the item out of its lane, so that the next can go.
func (e *Engine) leaveLane(it *item) {
	l := it.lane
	it.lane = nil
	first := l.queue[0] == it
	if slices.Contains(l.queue[:l.taken], it) {
		l.taken--
	}
	l.queue = remove(l.queue, it)
	if first && l.state == parked {
		l.state = idle
		e.advance(l)
	}
}
