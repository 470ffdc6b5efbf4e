package delivery

// untake gives the lanes of the call, which is over, their items back, and adds
// the lanes, which are idle then, to the list.
func (c *call) untake(lanes []*lane) []*lane {
	for _, it := range c.items {
		if l := it.lane; l.state == busy {
			l.untake()
			lanes = append(lanes, l)
		}
	}
	return lanes
}

// goOn lets lanes that are still idle after a call of the route go on.
func (e *Engine) goOn(lanes []*lane, route *Route) {
	for _, l := range lanes {
		if l.state == idle {
			e.advance(l)
		}
	}
	if route.HandleBatch != nil {
		e.batches[route].ended(e)
	}
}

// callsEnded does what follows from the calls that have ended.
func (e *Engine) callsEnded() {
	calls := e.workers.collect(e.calls.ended)
	failures := 0
	for i, c := range calls {
		if c.err != nil {
			failures++
		}
		e.callEnded(c)
		calls[i] = nil
	}
	e.calls.ended = calls[:0]
	if failures > 0 {
		e.workers.seen(failures)
	}
}

func (e *Engine) callEnded(c *call) {
	e.calls.open--
	if c.replaced {
		e.calls.stuck--
	} else {
		e.calls.slots--
	}
	if c.probe {
		e.outage.probing = false
	}
	lanes := c.untake(e.calls.freed[:0])
	e.calls.freed = lanes
	ours := c.items[:0]
	for i, it := range c.items {
		if (c.owned == nil || c.owned[i]) && (c.err == nil || !it.lost) {
			ours = append(ours, it)
		} else {
			e.disown(it)
		}
	}
	switch {
	case len(ours) == 0:
	case c.err == nil:
		e.succeeded(c, ours)
	case e.drain.over: // cancelled: the entries stay pending
		e.drain.cancelled = true
	case len(ours) > 1:
		e.batchFailed(c, ours, c.err)
	default:
		e.failed(c, ours[0], c.err)
	}
	e.goOn(lanes, c.route)
	if c.err == nil && len(c.items) == 1 {
		e.reuse(c)
	}
}

func (e *Engine) succeeded(c *call, items []*item) {
	e.stats.handled.Add(int64(len(items)))
	for _, it := range items {
		it.state = done
		e.owed++
		e.leaveLane(it)
	}
	e.announced(items, c.refused, 0)
	e.sawSuccess(c.probe)
}
