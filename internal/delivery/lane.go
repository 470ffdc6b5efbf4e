package delivery

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// item is an entry in hand.
type item struct {
	entry    wire.Entry
	envelope *events.Envelope
	route    *Route
	outcome  Outcome  // decided without a handler: Ignored or Filtered
	verdict  *verdict // decided without a handler: a dead letter

	lane     *lane // nil until released
	state    state
	attempts int  // that count, so far
	setbacks int  // failures that do not count: a dependency was down
	alone    bool // must not share a batch
	lost     bool // another consumer owns the entry now
	trimmed  bool // the stream no longer has it, which only this consumer was told
	leased   time.Time

	firstFailed, lastFailed time.Time
}

type state int

const (
	held    state = iota // in its stream's buffer
	queued               // in its lane
	running              // at a handler
	burying              // being dead-lettered
	done                 // its acknowledgment is under way
)

// verdict says why an item is to be dead-lettered.
type verdict struct {
	reason string
	err    error
}

var errUnknownType = errors.New("eventType: not in the catalogue")

// newItem decodes an entry whose first attempts attempts were started before.
func (e *Engine) newItem(entry wire.Entry, attempts int) *item {
	it := &item{entry: entry, attempts: attempts}
	env, refusal := e.cfg.Decode(&it.entry)
	if env == nil {
		env = &events.Envelope{Stream: entry.Stream, ID: entry.ID.String()}
	}
	it.envelope = env
	if refusal != nil {
		it.verdict = &verdict{string(refusal.Reason), refusal}
		return it
	}
	route, disposition := e.cfg.Route(env)
	switch disposition {
	case Ignore:
		it.outcome = Ignored
	case Filter:
		it.outcome = Filtered
	case DeadLetterUnknown:
		it.verdict = &verdict{string(wire.UnknownType), errUnknownType}
	case Handle:
		it.route = route
		// Earlier attempts ended with the process that made them. What
		// brought it down twice must not take a batch with it. An entry that
		// was delivered once may only have waited in that process, so even
		// where MaxAttempts is 1 that is not held against it.
		most := max(2, e.cfg.MaxAttempts)
		it.alone = attempts >= 2 || attempts == 1 && most == 2
		if attempts >= most {
			it.verdict = &verdict{ReasonCrashed, fmt.Errorf("attempt %d of %d did not end", attempts, e.cfg.MaxAttempts)}
		}
	}
	return it
}

func (it *item) ref() wire.Ref { return it.entry.Ref() }

// message returns what the next attempt is given.
func (it *item) message() *Message {
	return &Message{Envelope: it.envelope, Entry: it.entry, Attempt: it.attempts + 1}
}

// about returns the attributes of a log line about an event.
func about(env *events.Envelope) []any {
	return []any{"stream", env.Stream, "id", env.ID, "event_id", env.Identity, "type", env.TypeName(), "tenant", env.Tenant}
}

// compareItems orders items of different streams by id; equal ids by stream,
// to be definite.
func compareItems(a, b *item) int {
	if c := a.entry.ID.Compare(b.entry.ID); c != 0 {
		return c
	}
	return cmp.Compare(a.entry.Stream, b.entry.Stream)
}

// insert puts the item at its place among items[from:], which are ordered by
// id; most belong at the end.
func insert(items []*item, from int, it *item) []*item {
	i := len(items)
	for i > from && compareItems(it, items[i-1]) < 0 {
		i--
	}
	return slices.Insert(items, i, it)
}

// remove takes the item, which is there, out; most are at the front.
func remove(items []*item, it *item) []*item {
	if items[0] == it {
		items[0] = nil
		return items[1:]
	}
	i := slices.Index(items, it)
	return slices.Delete(items, i, i+1)
}

// lane holds the items of one entity, which are handled one at a time, or as
// consecutive events of one batch, in order.
type lane struct {
	key   laneKey
	queue []*item // by id; the first taken are being worked on
	taken int     // with state busy
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
)

// lane returns the lane of the item's entity.
func (e *Engine) lane(it *item) *lane {
	key := laneKey{it.envelope.Tenant, it.envelope.Entity.Type, it.envelope.Entity.ID}
	if key.id == "" {
		key = laneKey{id: it.ref().String()}
	}
	l := e.lanes[key]
	if l == nil {
		l = &lane{key: key}
		e.lanes[key] = l
	}
	return l
}

// enqueue puts a released item into its lane.
func (e *Engine) enqueue(it *item) {
	l := e.lane(it)
	it.lane, it.state = l, queued
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
		delete(e.lanes, l.key)
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
	return slices.Clone(l.queue[:n])
}

// untake ends take for what is still in the lane, and leaves the lane idle.
func (l *lane) untake() {
	for _, it := range l.queue[:l.taken] {
		it.state = queued
	}
	l.state, l.taken = idle, 0
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
	delete(e.hand, it.ref())
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
