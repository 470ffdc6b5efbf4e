package redisstream

import "time"

// MakeResolveDue makes the next Read resolve the patterns.
func MakeResolveDue(g *Group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resolveNext = time.Time{}
}
