package delivery

import (
	"cmp"
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
// Pages of several streams are fetched at once: a thousand streams would else
// take a thousand round trips to begin with.
type reader struct {
	merge
	busy       bool
	subscribed []string
	ctx        context.Context // of Read, Own and Reclaim; ends with the drain's start
	cancel     context.CancelFunc
	failures   int       // in a row
	notBefore  time.Time // the next fetch
	fault      trouble

	undecoded []*item // that were released, in part decoded
	decoded   []*item // a list to use again
	decoding  bool    // others are being decoded

	nextSweep time.Time
	nextRound time.Time // of the sweep's pages
	planned   bool      // the round before the next read
	round     []*source // its streams that are still to be swept by a page

	// settled are the entries that were settled while pending ones are being
	// fetched: the page may still have them.
	settled map[wire.Ref]bool

	empty bool // the last read found nothing
	apart bool // a read of several streams looks at one after the other
	size  int  // bytes of an entry, on the average of the last read that found some; 0: unknown
}

type phase int

const (
	owning  phase = iota // this consumer's own pending entries
	taking               // its predecessors', with Config.TakeOver
	reading              // new ones
)

// turnBlock is how long a read blocks when streams had to be left out of it.
const turnBlock = 50 * time.Millisecond

// page is what a fetch brought.
type page struct {
	items   []*item
	trimmed []wire.Ref
	size    int      // bytes of a read's entries
	streams []string // subscribed, as of a read
	atOnce  bool     // a read looked at all streams at one moment
	asked   int64    // of pending entries: when, since the engine was made
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
	free := e.most() - e.inHand
	switch {
	case e.drain.on:
		e.fetchStranded()
		return
	case free <= 0:
		e.makeRoom()
		return
	case free < e.most()/4 && e.moreRoomSoon():
		return // one larger fetch then costs less
	}
	if !r.planned {
		e.planRound()
	}
	if len(r.round) > 0 && !e.roomToSweep() {
		r.round = nil
		e.releaseAll()
	}
	// Pages leave room for an entry of every stream that must be read before
	// anything is released, but for their own.
	hungry := r.hungry()
	room := free - len(hungry)
	if own := inPhase(hungry, owning); len(own) > 0 {
		e.fetchOwn(r.pages(own, room+min(len(own), pagesAtOnce)))
		return
	}
	if taken := inPhase(hungry, taking); len(taken) > 0 {
		e.takeOver(r.pages(taken, room+min(len(taken), pagesAtOnce)))
		return
	}
	if len(r.round) > 0 {
		// Most streams have little pending, and are swept by their first page.
		first := slices.IndexFunc(r.round, func(s *source) bool { return s.swept != wire.ID{} })
		if first < 0 {
			first = len(r.round)
		}
		now, count := r.pages(r.round[:max(1, first)], room)
		r.round = r.round[len(now):]
		e.sweep(now, count)
		return
	}
	e.fetchNew(hungry, free)
}

// moreRoomSoon reports whether there is enough to do without another fetch, and
// a turn of the loop to come that makes room.
func (e *Engine) moreRoomSoon() bool {
	return !e.outage.paused && (e.reader.decoding || e.acks.busy || e.calls.slots > e.cfg.Concurrency || len(e.ready) > 0)
}

// makeRoom releases an item out of turn when all that is in hand is held
// back: the streams are more than Config.MaxInFlight, so that the lowest id
// of each cannot be known.
func (e *Engine) makeRoom() {
	if e.reader.held > 0 && e.reader.held == e.inHand {
		e.release(e.reader.lowest())
		e.decodeAll()
	}
}

// fetchNew reads new entries: of all streams, or, while something is held,
// of those that keep it from being released.
func (e *Engine) fetchNew(hungry []*source, free int) {
	r := &e.reader
	sweeping := r.sweeping() && e.roomToSweep()
	r.planned = false
	due := r.blockers()
	block := e.cfg.Block
	if sweeping {
		block = max(0, min(block, time.Until(r.nextRound)))
	}
	if e.cfg.StopWhenDrained || r.held > 0 {
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
	room := min(free-len(hungry), e.most()/2-r.held) // which leaves some for those that are hungry
	blocking := len(due)
	due = r.withLow(due, room)
	if r.apart {
		due = r.withBehind(due, room-(len(due)-blocking))
	}
	due, count := e.portion(due, len(hungry), free)
	if len(due) < len(hungry) {
		block = min(block, turnBlock)
	}
	further := slices.ContainsFunc(due, func(s *source) bool { return s.full > 0 })
	if further {
		block = 0
	}
	if len(due) == 0 && !e.cfg.StopWhenDrained {
		block = e.cfg.Block // reading none finds new ones all the same
	}
	var streams []string
	for _, s := range due {
		streams = append(streams, s.stream)
		s.brought = 0
	}
	// A read that is several commands may have looked at one stream before
	// what it finds in another was there.
	seen := r.seen
	e.flush() // acknowledgments ride with the read
	e.ask(func(ctx context.Context) (p page, err error) {
		entries, atOnce, err := e.cfg.Transport.Read(ctx, streams, count, block)
		p.items, p.size, p.atOnce = e.newItems(entries, nil), sizeOf(entries), atOnce
		p.streams = e.cfg.Transport.Streams()
		return p, err
	}, func(p page) {
		// Only now: own pending entries may be had where reads are refused.
		r.failures = 0
		r.fault.end(e.log, "reading")
		if n := len(p.items); n > 0 {
			r.size = max(1, p.size/n)
		}
		if p.atOnce {
			seen = r.seen
		} else {
			r.apart = true
		}
		for _, s := range due {
			r.read(s, count, s.brought, s.last, seen)
		}
		e.subscribe(p.streams)
		r.empty = len(p.items) == 0 && !further
		switch {
		case len(r.sources) == 0:
			e.wait(e.cfg.Block)
		case !e.cfg.StopWhenDrained || !r.empty || r.held > 0:
		case sweeping:
			e.wait(min(time.Until(r.nextRound), e.drain.pollWait()))
		default:
			e.wait(e.drain.pollWait())
		}
	})
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
	// A lease begins when the server hands the entry over.
	leased := cmp.Or(p.asked, int64(time.Since(e.made)))
	var s *source
	for _, it := range p.items {
		if s == nil || s.stream != it.entry.Stream {
			s = e.reader.add(it.entry.Stream)
		}
		s.brought++
		s.last = it.entry.ID
		if e.reader.settled[it.ref()] || !s.hand.put(it) {
			continue
		}
		e.inHand++
		it.source = s
		it.leased.Store(leased)
		e.reader.put(s, it)
	}
	e.lostTrimmed(slices.DeleteFunc(p.trimmed, func(ref wire.Ref) bool {
		it := e.reader.inHand(ref)
		if it != nil {
			it.trimmed = true // its handler may succeed yet
		}
		return it != nil || e.reader.settled[ref]
	}))
}

// lostTrimmed counts entries that their streams no longer have.
func (e *Engine) lostTrimmed(refs []wire.Ref) {
	for len(refs) > 0 {
		first, n := refs[0], 1
		for n < len(refs) && refs[n].Stream == first.Stream {
			n++
		}
		refs = refs[n:]
		e.stats.lostTrimmed.Add(int64(n))
		e.log.Warn("entries were trimmed before they were settled: lost",
			"stream", first.Stream, "count", n, "first_id", first.ID.String())
	}
}

// inHand returns the item in hand of an entry, or nil.
func (r *reader) inHand(ref wire.Ref) *item {
	if s := r.byStream[ref.Stream]; s != nil {
		return s.hand.get(ref.ID)
	}
	return nil
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
		// A search that failed is made once more, with one page at a time.
		e.drain.stranded = e.drain.cut || r.failures == 0
		if !e.drain.cut {
			r.failures++
		}
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
	r.leave()
	if slices.Equal(streams, r.subscribed) {
		return
	}
	r.subscribed = streams
	there := make(map[string]bool, len(streams))
	for _, stream := range streams {
		there[stream] = true
		r.add(stream)
	}
	for _, s := range r.sources {
		if gone := !there[s.stream]; gone != s.gone {
			s.gone, s.known, s.full = gone, wire.ID{}, 0
			s.phase, s.after = owning, wire.ID{}
		}
	}
	r.leave()
}
