package delivery

import (
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// renewBatch bounds the entries of one renewal call.
const renewBatch = 500

// renew restarts the leases of the entries in hand that are a third gone, and
// comes again. A lease begins when an entry is handed over, so those that
// only wait are renewed too.
func (e *Engine) renew() {
	start := time.Now()
	var refs []wire.Ref
	for _, s := range e.reader.sources {
		for _, it := range s.hand.all() {
			if start.Sub(e.made)-time.Duration(it.leased.Load()) >= e.cfg.Lease/3 {
				refs = append(refs, it.ref())
			}
		}
	}
	if len(refs) == 0 {
		e.after(e.cfg.Lease/3, e.renew)
		return
	}
	e.async(func() func() {
		var owned []bool
		var err error
		for len(owned) < len(refs) && err == nil {
			var answers []bool
			ctx, cancel := e.transportContext()
			answers, err = e.cfg.Transport.Renew(ctx, refs[len(owned):min(len(owned)+renewBatch, len(refs))])
			cancel()
			owned = append(owned, answers...)
		}
		return func() {
			for i, ok := range owned {
				e.renewed(refs[i], ok, start)
			}
			again := e.cfg.Lease / 3
			if err != nil {
				e.renewing.begin(e.log, "renewing leases", err)
				again = e.cfg.Lease / 12
			} else {
				e.renewing.end(e.log, "renewing leases")
			}
			e.after(again, e.renew)
		}
	})
}

// renewed notes the answer of a renewal. An entry that is another consumer's
// now is dropped, unless it is being decoded or handled: then that ends first.
func (e *Engine) renewed(ref wire.Ref, owned bool, at time.Time) {
	it := e.reader.inHand(ref)
	switch {
	case it == nil:
	case owned:
		it.leased.Store(int64(at.Sub(e.made)))
	default:
		attrs := []any{"stream", ref.Stream, "id", ref.ID.String()}
		if it.lane != nil { // else it may not be decoded
			attrs = about(it.message.Envelope)
		}
		e.log.Info("lease lost: another consumer has the entry", attrs...)
		if it.state == running {
			e.withdraw(it.lane) // if it has not started
		}
		switch it.state {
		case held:
			e.reader.drop(it.source, it)
			e.disown(it)
		case queued:
			e.disown(it)
		case running, released:
			it.lost = true
		}
	}
}
