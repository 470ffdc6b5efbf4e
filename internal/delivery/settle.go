package delivery

import (
	"context"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// settled is an item whose way has ended, and how.
type settled struct {
	it *item
	s  Settlement
}

// acks are acknowledgments that were not sent yet, or not successfully.
type acks struct {
	items     []*item
	busy      bool       // a call is under way
	refs      []wire.Ref // its entries
	spare     []*item    // a list to use again
	armed     bool       // a timer will flush
	failures  int        // in a row
	notBefore time.Time
	fault     trouble
}

const (
	ackBatch = 500                  // acknowledgments that are sent at once
	ackDelay = 2 * time.Millisecond // fewer wait this long for company
)

// settle ends the way of items that need no handling.
func (e *Engine) settle(all []settled) {
	if len(all) == 0 {
		return
	}
	for _, s := range all {
		s.it.state = done
		e.owed++
		switch s.s.Outcome {
		case Ignored:
			e.stats.ignored.Add(1)
		case Filtered:
			e.stats.filtered.Add(1)
		}
	}
	e.announceAll(all, 0)
}

// announceAll tells the observer of items that are done, after so many
// failures, and acknowledges them.
func (e *Engine) announceAll(all []settled, failures int) {
	items := make([]*item, len(all))
	for i, s := range all {
		items[i] = s.it
	}
	if e.cfg.Observer == nil {
		e.announced(items, nil, failures)
		return
	}
	e.async(func() func() {
		var t telling
		defer t.end()
		var refused []settled
		for _, s := range all {
			if e.tellSettled(&t, time.Now(), s.s) != nil {
				refused = append(refused, s)
			}
		}
		return func() { e.announced(items, refused, failures) }
	})
}

// telling is the context of a goroutine's calls of the observer: of those of
// a short time, so that not each costs one.
type telling struct{ ctx *limited }

func (t *telling) at(now time.Time, life context.Context, atMost time.Duration) context.Context {
	if t.ctx == nil || t.ctx.deadline.Sub(now) < atMost/2 {
		t.end()
		t.ctx = limit(life, atMost)
	}
	return t.ctx
}

func (t *telling) end() {
	if t.ctx != nil {
		t.ctx.end()
	}
}

// tellSettled tells the observer. It may run on any goroutine.
func (e *Engine) tellSettled(t *telling, now time.Time, s Settlement) error {
	if e.life.Err() != nil {
		return context.Cause(e.life) // aborted: nothing more is settled
	}
	err := e.cfg.Observer.Settled(t.at(now, e.life, e.patience()), s)
	if err != nil {
		e.announcing.begin(e.log, "announcing settlements", err)
	} else {
		e.announcing.end(e.log, "announcing settlements")
	}
	return err
}

// announced acknowledges the items that the observer took: all but those
// refused, which are in the same order. It is told of these again until it
// takes them; their effect is not repeated.
func (e *Engine) announced(items []*item, refused []settled, failures int) {
	left := refused
	for _, it := range items {
		if len(left) > 0 && left[0].it == it {
			left = left[1:]
			continue
		}
		e.acks.items = append(e.acks.items, it)
	}
	e.acknowledge()
	if len(refused) == 0 {
		return
	}
	e.after(retryWait(failures+1), func() { e.announceAll(refused, failures+1) })
}

// acknowledge sends the acknowledgments that wait, if they are many, and else
// soon.
func (e *Engine) acknowledge() {
	a := &e.acks
	switch {
	case len(a.items) >= ackBatch || e.drain.on:
		e.flush()
	case len(a.items) > 0 && !a.armed:
		a.armed = true
		e.after(ackDelay, func() {
			a.armed = false
			e.flush()
		})
	}
}

// flush sends the acknowledgments that wait, unless others are under way.
func (e *Engine) flush() {
	a := &e.acks
	if a.busy || len(a.items) == 0 || time.Now().Before(a.notBefore) {
		return
	}
	items := a.items
	refs := a.refs[:0]
	for _, it := range items {
		refs = append(refs, it.ref())
	}
	a.items, a.spare, a.refs, a.busy = a.spare, nil, refs, true
	e.async(func() func() {
		ctx, cancel := e.transportContext()
		defer cancel()
		err := e.cfg.Transport.Ack(ctx, refs)
		return func() {
			a.busy = false
			if err != nil {
				a.items = append(items, a.items...)
				a.failures++
				a.fault.begin(e.log, "acknowledging", err)
				wait := retryWait(a.failures)
				a.notBefore = time.Now().Add(wait)
				e.after(wait, e.flush)
				return
			}
			a.failures = 0
			a.fault.end(e.log, "acknowledging")
			e.owed -= len(items)
			for _, it := range items {
				e.reader.noteSettled(it.ref())
				e.forget(it)
			}
			clear(items)
			a.spare = items[:0]
			e.acknowledge() // those that came meanwhile
		}
	})
}

// bury dead-letters the first item of its lane, which is not busy. The lane
// waits until the letter is stored.
func (e *Engine) bury(it *item, v verdict) {
	it.lane.take(1, burying)
	now := time.Now()
	if it.firstFailed.IsZero() {
		it.firstFailed, it.lastFailed = now, now
	}
	letter := DeadLetter{
		Entry:       it.entry,
		Attempts:    max(1, it.attempts),
		Reason:      v.reason,
		Detail:      v.err.Error(),
		FirstFailed: it.firstFailed,
		LastFailed:  it.lastFailed,
	}
	it.message.Attempt = letter.Attempts
	e.tryBury(it, letter, &Settlement{Message: &it.message, Outcome: DeadLettered, Reason: v.reason, Err: v.err}, 0)
}

// tryBury announces s, unless nil, and stores the letter. It is repeated
// until it works: a server that is out of memory stores nothing, but still
// hands out entries and takes acknowledgments.
func (e *Engine) tryBury(it *item, letter DeadLetter, s *Settlement, failures int) {
	e.async(func() func() {
		var err error
		var owned bool
		if s != nil && e.cfg.Observer != nil {
			var t telling
			defer t.end()
			err = e.tellSettled(&t, time.Now(), *s)
		}
		if err == nil {
			s = nil
			ctx, cancel := e.transportContext()
			defer cancel()
			owned, err = e.cfg.Transport.Bury(ctx, letter)
		}
		return func() {
			switch {
			case err != nil:
				e.burying.begin(e.log, "dead-lettering", err)
				e.after(retryWait(failures+1), func() { e.tryBury(it, letter, s, failures+1) })
				return
			case owned:
				e.burying.end(e.log, "dead-lettering")
				e.stats.deadLettered.Add(1)
				e.log.Warn("dead-lettered", append(about(it.message.Envelope), "attempts", letter.Attempts, "reason", letter.Reason, "error", letter.Detail)...)
			}
			e.reader.noteSettled(letter.Entry.Ref())
			l := it.lane
			e.disown(it)
			l.untake()
			e.advance(l)
		}
	})
}
