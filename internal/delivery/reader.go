package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// reader decides what is fetched next; one fetch is under way at a time.
//
// Each stream begins with this consumer's own pending entries, and does so
// again after any fetch that failed, because its reply may have been lost:
// what was in it would else stay pending unseen, while later entries pass.
// Then, by turns, come a round of pages of a sweep for entries whose consumer
// died, one page a stream, while a sweep lasts, and a read of new entries.
type reader struct {
	merge
	busy      bool
	ctx       context.Context // of Read, Own and Reclaim; ends with the drain's start
	cancel    context.CancelFunc
	failures  int       // in a row
	notBefore time.Time // the next fetch
	fault     trouble

	nextSweep time.Time
	planned   bool      // the round before the next read
	round     []*source // its streams that are still to be swept by a page

	// settled are the entries that were settled while pending ones are being
	// fetched: the page may still have them.
	settled map[wire.Ref]bool

	empty bool // the last read found nothing
}

type phase int

const (
	owning  phase = iota // this consumer's own pending entries
	taking               // its predecessors', with Config.TakeOver
	reading              // new ones
)

// turnBlock is how long a read blocks when streams had to be left out of it.
const turnBlock = 50 * time.Millisecond

// pageSize bounds pages of pending entries. The server looks at ten times as
// many to find them.
const pageSize = 100

// page is what a fetch brought.
type page struct {
	items   []*item
	trimmed []wire.Ref
	next    wire.ID
	streams []string // subscribed, as of a read
}

func (e *Engine) startReading() {
	r := &e.reader
	r.ctx, r.cancel = context.WithCancel(e.life)
	if e.cfg.TakeOver {
		r.nextSweep = time.Now().Add(e.cfg.Lease / 2)
	}
	e.ask(func(context.Context) (page, error) {
		return page{streams: e.cfg.Transport.Streams()}, nil
	}, func(p page) {
		e.subscribe(p.streams)
	})
}

// fetch asks the transport for more, if there is room and reason.
func (e *Engine) fetch() {
	r := &e.reader
	if r.busy || time.Now().Before(r.notBefore) || e.drain.checking {
		return
	}
	free := e.cfg.MaxInFlight - len(e.hand)
	switch {
	case e.drain.on:
		e.fetchStranded()
		return
	case free <= 0:
		e.makeRoom()
		return
	case free < e.cfg.MaxInFlight/8 && len(e.ready) > 0 && !e.outage.paused:
		return // there is enough to do; one larger fetch later costs less
	}
	if !r.planned {
		e.planRound()
	}
	if len(r.round) > 0 && !e.roomToSweep() {
		r.round = nil
		e.releaseAll()
	}
	// A page of one stream leaves room for an entry of every other that must
	// be read before anything is released.
	hungry := r.hungry()
	room := min(pageSize, max(1, free-len(hungry)+1))
	for _, s := range hungry {
		switch s.phase {
		case owning:
			e.fetchOwn(s, room)
			return
		case taking:
			e.takeOver(s, room)
			return
		}
	}
	if len(r.round) > 0 {
		s := r.round[0]
		r.round = r.round[1:]
		e.sweep(s, min(pageSize, max(1, free-len(hungry))))
		return
	}
	e.fetchNew(hungry, free)
}

// makeRoom releases an item out of turn when all that is in hand is held
// back: the streams are more than Config.MaxInFlight, so that the lowest id
// of each cannot be known.
func (e *Engine) makeRoom() {
	if e.reader.held > 0 && e.reader.held == len(e.hand) {
		e.release([]*item{e.reader.lowest()})
	}
}

func (e *Engine) fetchOwn(s *source, count int) {
	after := s.after
	e.reader.settled = map[wire.Ref]bool{}
	e.ask(func(ctx context.Context) (page, error) {
		return e.pendingPage(e.cfg.Transport.Own(ctx, s.stream, after, count))
	}, func(p page) {
		s.after = p.next
		if p.next == (wire.ID{}) {
			s.phase = reading
			if e.cfg.TakeOver && !s.took {
				s.phase = taking
			}
		}
	})
}

func (e *Engine) takeOver(s *source, count int) {
	cursor := s.after
	e.reader.settled = map[wire.Ref]bool{}
	e.ask(func(ctx context.Context) (page, error) {
		return e.pendingPage(e.cfg.Transport.Reclaim(ctx, s.stream, 0, cursor, count))
	}, func(p page) {
		s.after = p.next
		if p.next == (wire.ID{}) {
			s.phase = reading
			s.took = true
		}
	})
}

func (e *Engine) sweep(s *source, count int) {
	cursor := s.swept
	e.reader.settled = map[wire.Ref]bool{}
	e.ask(func(ctx context.Context) (page, error) {
		return e.pendingPage(e.cfg.Transport.Reclaim(ctx, s.stream, e.cfg.Lease, cursor, count))
	}, func(p page) {
		s.swept = p.next
		s.sweeping = p.next != wire.ID{}
	})
}

// planRound begins a sweep when one is due, and plans one page of each stream
// that is being swept.
func (e *Engine) planRound() {
	r := &e.reader
	r.planned = true
	due := !time.Now().Before(r.nextSweep)
	if due {
		r.nextSweep = time.Now().Add(e.cfg.Lease / 2)
	}
	for _, s := range r.sources {
		if due && !s.sweeping {
			s.sweeping, s.swept = true, wire.ID{}
		}
		if s.sweeping && !s.gone {
			r.round = append(r.round, s)
		}
	}
}

// roomToSweep reports whether there is room for a page of the sweep that is
// worth a call.
func (e *Engine) roomToSweep() bool {
	free := e.cfg.MaxInFlight - len(e.hand)
	return free-len(e.reader.hungry()) > e.cfg.MaxInFlight/16 || len(e.hand) == 0
}

// sweeping reports whether a sweep has pages to come.
func (r *reader) sweeping() bool {
	return slices.ContainsFunc(r.sources, func(s *source) bool { return s.sweeping && !s.gone })
}

// fetchNew reads new entries: of all streams, or, while something is held,
// of those that keep it from being released.
func (e *Engine) fetchNew(hungry []*source, free int) {
	r := &e.reader
	sweeping := r.sweeping() && e.roomToSweep()
	r.planned = false
	due := r.blockers()
	block := e.cfg.Block
	if e.cfg.StopWhenDrained || r.held > 0 || sweeping {
		block = 0
	}
	// A read asks for at least one entry of each stream. Those for which there
	// is no room now come first next time.
	if len(due) > free {
		i := slices.Index(r.sources, due[free])
		r.sources = append(slices.Clone(r.sources[i:]), r.sources[:i]...)
		due = due[:free]
		block = min(block, turnBlock)
	}
	due, count := e.portion(due, len(hungry), free)
	if len(due) < len(hungry) {
		block = min(block, turnBlock)
	}
	further := slices.ContainsFunc(due, func(s *source) bool { return s.full > 0 })
	if further {
		block = 0
	}
	var streams []string
	for _, s := range due {
		streams = append(streams, s.stream)
	}
	e.flush() // acknowledgments ride with the read
	e.ask(func(ctx context.Context) (p page, err error) {
		var entries []wire.Entry
		if len(streams) > 0 {
			entries, err = e.cfg.Transport.Read(ctx, streams, count, block)
		}
		for _, entry := range entries {
			p.items = append(p.items, e.newItem(entry, 0))
		}
		p.streams = e.cfg.Transport.Streams()
		return p, err
	}, func(p page) {
		// Only now: own pending entries may be had where reads are refused.
		r.failures = 0
		r.fault.end(e.log, "reading")
		brought, last := map[string]int{}, map[string]wire.ID{}
		for _, it := range p.items {
			brought[it.entry.Stream]++
			last[it.entry.Stream] = it.entry.ID
		}
		for _, s := range due {
			r.read(s, count, brought[s.stream], last[s.stream])
		}
		e.subscribe(p.streams)
		r.empty = len(p.items) == 0 && !further
		switch {
		case len(r.sources) == 0:
			e.wait(e.cfg.Block)
		case e.cfg.StopWhenDrained && r.empty && !sweeping:
			e.wait(e.drain.pollWait())
		}
	})
}

// portion decides which of the streams that are due are read now, and how
// many entries of each are asked for.
//
// Redis counts for each stream, and what is held until older entries of other
// streams were read takes room from what is handled. So little is asked of a
// stream at first; those that had as many are read further, before the
// others, and twice as far each time. The streams that run empty most often,
// because most of what comes next is theirs, so get most of the room.
func (e *Engine) portion(due []*source, hungry, free int) (now []*source, count int) {
	room := free
	if n := len(e.reader.sources); n > 1 {
		room = min(free, max(e.cfg.MaxInFlight/2-e.reader.held, e.cfg.MaxInFlight/8))
		count = room / n
	} else {
		count = room
	}
	var full []*source
	for _, s := range due {
		if s.full > 0 {
			full = append(full, s)
			count = max(count, 2*s.full)
		}
	}
	if len(full) > 0 {
		due = full
	}
	room = min(room, free-hungry+len(due)) // one for each of the others
	return due, max(1, min(count, room/max(1, len(due))))
}

// pendingPage makes a page of what the transport found pending.
func (e *Engine) pendingPage(found Pending, err error) (page, error) {
	p := page{trimmed: found.Trimmed, next: found.Next}
	for i, entry := range found.Entries {
		p.items = append(p.items, e.newItem(entry, found.Deliveries[i]))
	}
	return p, err
}

// ask makes a call of the transport that brings entries, takes them in hand
// and, when it worked, runs then.
func (e *Engine) ask(call func(context.Context) (page, error), then func(page)) {
	r := &e.reader
	// A read that gets no answer must not be waited for for ever.
	parent, timeout := r.ctx, e.cfg.Block+10*time.Second
	if e.drain.on {
		parent, timeout = e.life, time.Second
	}
	r.busy = true
	e.async(func() func() {
		ctx, cancel := context.WithTimeout(parent, timeout)
		defer cancel()
		p, err := call(ctx)
		if err != nil {
			p.streams = e.cfg.Transport.Streams() // it may have set one aside
		}
		return func() {
			r.busy = false
			e.receive(p)
			r.settled = nil
			if err != nil {
				e.fetchFailed(err)
				e.subscribe(p.streams)
			} else {
				then(p)
			}
			e.drain.cut = false
			e.releaseAll()
		}
	})
}

// receive takes the entries of a page in hand. Those that are in hand
// already are skipped.
func (e *Engine) receive(p page) {
	now := time.Now()
	var s *source
	for _, it := range p.items {
		if e.hand[it.ref()] != nil || e.reader.settled[it.ref()] {
			continue
		}
		if s == nil || s.stream != it.entry.Stream {
			s = e.reader.add(it.entry.Stream)
		}
		it.leased = now
		e.hand[it.ref()] = it
		e.reader.put(s, it)
	}
	e.lostTrimmed(slices.DeleteFunc(p.trimmed, func(ref wire.Ref) bool {
		it := e.hand[ref]
		if it != nil {
			it.trimmed = true // its handler may succeed yet
		}
		return it != nil || e.reader.settled[ref]
	}))
}

// lostTrimmed counts entries that the stream no longer has.
func (e *Engine) lostTrimmed(refs []wire.Ref) {
	if len(refs) == 0 {
		return
	}
	e.stats.lostTrimmed.Add(int64(len(refs)))
	e.log.Warn("entries were trimmed before they were settled: lost",
		"stream", refs[0].Stream, "count", len(refs), "first_id", refs[0].ID.String())
}

// noteSettled keeps an entry from being taken in hand again by a page that
// was made before it was settled.
func (r *reader) noteSettled(ref wire.Ref) {
	if r.settled != nil {
		r.settled[ref] = true
	}
}

// fetchFailed has every stream begin anew with its own pending entries.
func (e *Engine) fetchFailed(err error) {
	r := &e.reader
	for _, s := range r.sources {
		s.phase, s.after, s.known, s.full = owning, wire.ID{}, wire.ID{}, 0
	}
	r.round = nil
	r.empty = false
	if e.drain.on {
		e.drain.stranded = e.drain.cut // but not when the search for them failed
		return
	}
	r.failures++
	if errors.Is(err, ErrLost) && r.failures == 1 {
		return // mended by the transport, which has reported it
	}
	r.fault.begin(e.log, "reading", err)
	e.wait(readWait(r.failures))
}

// wait lets the next fetch wait.
func (e *Engine) wait(d time.Duration) {
	e.reader.notBefore = time.Now().Add(d)
	e.after(d, func() {}) // wakes the loop
}

// subscribe makes the sources those of the subscribed streams.
func (e *Engine) subscribe(streams []string) {
	r := &e.reader
	for _, s := range r.sources {
		gone := !slices.Contains(streams, s.stream)
		if gone != s.gone {
			s.gone, s.known, s.full = gone, wire.ID{}, 0
		}
	}
	r.sources = slices.DeleteFunc(r.sources, func(s *source) bool { return s.gone && len(s.buffer) == 0 })
	for _, stream := range streams {
		r.add(stream)
	}
}

// releaseAll moves into their lanes all items whose turn it is.
func (e *Engine) releaseAll() {
	r := &e.reader
	next := r.next
	if e.drain.on {
		if e.drain.cut || e.drain.stranded {
			return
		}
		next = r.lowest // nothing more is read
	}
	if len(r.round) > 0 && len(e.hand) < e.cfg.MaxInFlight && !e.drain.on {
		return // the rest of the round may bring lower ids
	}
	var items []*item
	for it := next(); it != nil; it = next() {
		items = append(items, it)
	}
	e.release(items)
}

// release moves items on: into their lanes, unless they need no handling.
func (e *Engine) release(items []*item) {
	var decided []settled
	for _, it := range items {
		if it.outcome == "" {
			e.enqueue(it)
			continue
		}
		decided = append(decided, settled{it, Settlement{Message: it.message(), Outcome: it.outcome}})
	}
	e.settle(decided)
}
