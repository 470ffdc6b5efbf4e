package delivery

import "slices"

// decodedAtOnce is how many items are decoded before the first of them may be
// handled.
const decodedAtOnce = 128

// releaseAll lets all items go whose turn it is.
func (e *Engine) releaseAll() {
	r := &e.reader
	switch {
	case e.drain.on && (e.drain.cut || e.drain.stranded):
		return
	case e.drain.on: // nothing more is read
		if e.cfg.TakeOver { // the next to be active takes the others over
			e.release(r.releasable()...)
		} else {
			e.release(r.all()...)
		}
	case len(r.round) > 0 && e.inHand < e.most(): // the rest of the round may bring lower ids
		return
	default:
		e.release(r.releasable()...)
	}
	e.decodeAll()
}

// release lets items go, which are decoded then.
func (e *Engine) release(items ...*item) {
	for _, it := range items {
		it.state = released
	}
	e.reader.undecoded = append(e.reader.undecoded, items...)
}

// decodeAll decodes what was released and is not decoded yet, and enqueues it,
// in order, while the next page is fetched and the one before is handled.
func (e *Engine) decodeAll() {
	r := &e.reader
	if r.decoding || len(r.undecoded) == 0 {
		return
	}
	items := r.undecoded
	if !slices.ContainsFunc(items, func(it *item) bool { return !it.decoded }) {
		e.enqueueAll(items)
		clear(items)
		r.undecoded = items[:0]
		return
	}
	r.undecoded, r.decoding = r.decoded[:0], true
	e.async(func() func() {
		for part := range slices.Chunk(items, decodedAtOnce) {
			e.decoding.Lock()
			e.decode(part)
			e.decoding.Unlock()
			e.post(func() { e.enqueueAll(part) })
		}
		return func() {
			clear(items)
			r.decoded, r.decoding = items, false
			e.decodeAll()
		}
	})
}

// enqueueAll moves decoded items on: into their lanes, unless they need no
// handling or were lost meanwhile.
func (e *Engine) enqueueAll(items []*item) {
	var decided []settled
	for _, it := range items {
		switch {
		case it.lost:
			e.disown(it)
		case it.outcome == "":
			e.enqueue(it)
		default:
			decided = append(decided, settled{it, Settlement{Message: &it.message, Outcome: it.outcome}})
		}
	}
	e.settle(decided)
}
