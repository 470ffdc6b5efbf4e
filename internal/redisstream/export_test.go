package redisstream

import "time"

// MakeResolveDue makes the next Read resolve the patterns.
func MakeResolveDue(g *Group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resolveNext = time.Time{}
}

// MakeLookDue makes the next Read look for losses.
func MakeLookDue(g *Group) { g.lookForLossesSoon() }
