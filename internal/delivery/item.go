package delivery

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// item is an entry in hand.
type item struct {
	entry   wire.Entry
	message Message // what its next attempt is given, or was
	route   *Route
	outcome Outcome  // decided without a handler: Ignored or Filtered
	verdict *verdict // decided without a handler: a dead letter

	source   *source // while in hand
	lane     *lane   // nil until released
	state    state
	attempts int // that count, so far
	setbacks int // failures that do not count: a dependency was down
	decoded  bool
	off      bool         // no longer in hand
	alone    bool         // must not share a batch
	lost     bool         // another consumer owns the entry now
	trimmed  bool         // the stream no longer has it, which only this consumer was told
	leased   atomic.Int64 // when its lease began, since the engine was made; set by the loop

	firstFailed, lastFailed time.Time
}

type state int

const (
	held     state = iota // in its stream's buffer
	released              // from there, to be decoded
	queued                // in its lane
	running               // at a handler
	burying               // being dead-lettered
	done                  // its acknowledgment is under way
)

// verdict says why an item is to be dead-lettered.
type verdict struct {
	reason string
	err    error
}

var errUnknownType = errors.New("eventType: not in the catalogue")

// chunk is how many items are allocated at once: all of them stay in memory,
// with their events, until the last is settled.
const chunk = 16

// smallPage is how many entries are decoded before they are handed to the loop,
// unless others are being decoded: they are handled a little sooner so.
const smallPage = 16

// newItems makes items of entries of which so many attempts were started
// before; nil means none.
func (e *Engine) newItems(entries []wire.Entry, attempts []int) []*item {
	items := make([]*item, len(entries))
	var unused []item
	for i, entry := range entries {
		if len(unused) == 0 {
			unused = make([]item, min(chunk, len(entries)-i))
		}
		items[i], unused = &unused[0], unused[1:]
		items[i].entry = entry
		if attempts != nil {
			items[i].attempts = attempts[i]
		}
	}
	if n := len(items); n > 0 && n <= smallPage && e.decoding.TryLock() {
		e.decode(items)
		e.decoding.Unlock()
	}
	return items
}

// decode finds out what items are about and who handles them, unless that is
// known. It may run on any goroutine that holds Engine.decoding.
func (e *Engine) decode(items []*item) {
	for _, it := range items {
		if !it.decoded {
			e.decodeOne(it)
			it.decoded = true
		}
	}
}

func (e *Engine) decodeOne(it *item) {
	env, refusal := e.cfg.Decode(&it.entry)
	if env == nil {
		env = &events.Envelope{Stream: it.entry.Stream, ID: it.entry.ID.String()}
	}
	it.message = Message{Envelope: env, Entry: &it.entry, Attempt: it.attempts + 1}
	if refusal != nil {
		it.verdict = &verdict{string(refusal.Reason), refusal}
		return
	}
	if e.cfg.Own != nil {
		it.message.Own = e.cfg.Own(&it.message)
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
		it.alone = it.attempts >= 2 || it.attempts == 1 && most == 2
		if it.attempts >= most {
			it.verdict = &verdict{ReasonCrashed, fmt.Errorf("attempt %d of %d did not end", it.attempts, e.cfg.MaxAttempts)}
		}
	}
}

func (it *item) ref() wire.Ref { return it.entry.Ref() }

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
		if len(items) == 1 {
			return items[:0] // with its room
		}
		return items[1:]
	}
	i := slices.Index(items, it)
	return slices.Delete(items, i, i+1)
}
