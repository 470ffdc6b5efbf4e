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
	busy      bool // a call is under way
	armed     bool // a timer will flush
	failures  int  // in a row
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
	if e.cfg.Observer == nil {
		e.announced(all, nil, failures)
		return
	}
	e.async(func() func() {
		refused := e.announce(all)
		return func() { e.announced(all, refused, failures) }
	})
}

// announce tells the observer, and returns those for which it failed. It may
// run on any goroutine.
func (e *Engine) announce(all []settled) (refused []settled) {
	if e.cfg.Observer == nil {
		return nil
	}
	for _, s := range all {
		if err := e.tellSettled(s.s); err != nil {
			refused = append(refused, s)
		}
	}
	return refused
}

func (e *Engine) tellSettled(s Settlement) error {
	if err := context.Cause(e.life); err != nil {
		return err // aborted: nothing more is settled
	}
	ctx := limit(e.life, e.patience())
	defer ctx.end()
	err := e.cfg.Observer.Settled(ctx, s)
	if err != nil {
		e.announcing.begin(e.log, "announcing settlements", err)
	} else {
		e.announcing.end(e.log, "announcing settlements")
	}
	return err
}

// announced acknowledges those that the observer took. It is told of the
// others again until it takes them; their effect is not repeated.
func (e *Engine) announced(all, refused []settled, failures int) {
	again := map[*item]bool{}
	for _, s := range refused {
		again[s.it] = true
	}
	var taken []*item
	for _, s := range all {
		if !again[s.it] {
			taken = append(taken, s.it)
		}
	}
	e.acknowledge(taken)
	if len(refused) == 0 {
		return
	}
	e.after(retryWait(failures+1), func() { e.announceAll(refused, failures+1) })
}

// acknowledge queues acknowledgments.
func (e *Engine) acknowledge(items []*item) {
	a := &e.acks
	a.items = append(a.items, items...)
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
	refs := make([]wire.Ref, len(items))
	for i, it := range items {
		refs[i] = it.ref()
	}
	a.items, a.busy = nil, true
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
			e.acknowledge(nil) // those that came meanwhile
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
	m := it.message()
	m.Attempt = letter.Attempts
	e.tryBury(it, letter, &Settlement{Message: m, Outcome: DeadLettered, Reason: v.reason, Err: v.err}, 0)
}

// tryBury announces s, unless nil, and stores the letter. It is repeated
// until it works: a server that is out of memory stores nothing, but still
// hands out entries and takes acknowledgments.
func (e *Engine) tryBury(it *item, letter DeadLetter, s *Settlement, failures int) {
	e.async(func() func() {
		var err error
		var owned bool
		if s != nil && e.cfg.Observer != nil {
			err = e.tellSettled(*s)
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
				e.log.Warn("dead-lettered", append(about(it.envelope), "attempts", letter.Attempts, "reason", letter.Reason, "error", letter.Detail)...)
			}
			e.reader.noteSettled(letter.Entry.Ref())
			l := it.lane
			e.disown(it)
			l.untake()
			e.advance(l)
		}
	})
}
