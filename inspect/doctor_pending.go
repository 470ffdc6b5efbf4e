package inspect

import (
	"fmt"
	"time"
)

func (x *examination) groupPending(g Group) {
	severity := x.limits().GroupPending.of(g.Pending)
	if severity == "" || !stale(g) {
		return
	}
	x.find(Finding{
		Check: "pending", Severity: severity, Subject: "group " + on(g), Since: oldestPendingAt(g),
		Summary:  fmt.Sprintf("%s has %s on %s that were delivered and are not settled", g.Name, countOf(g.Pending, "entry"), g.Stream),
		Evidence: fmt.Sprintf("XPENDING counts %d", g.Pending),
		Advice:   "See which consumers hold them, and why they do not settle them",
		Command:  x.freshet("pending", g.Stream, g.Name),
	})
}

func (x *examination) streamPending(s Stream) {
	var n int64
	anyStale, anyGroup := false, false
	for _, g := range s.Groups {
		n += max(g.Pending, 0)
		anyStale = anyStale || stale(g)
		anyGroup = anyGroup || x.limits().GroupPending.of(g.Pending) != ""
	}
	severity := x.limits().StreamPending.of(n)
	if severity == "" || !anyStale || anyGroup { // which is told by itself
		return
	}
	x.find(Finding{
		Check: "pending", Severity: severity, Subject: "stream " + s.Key,
		Summary:  fmt.Sprintf("The groups of %s together have %s that were delivered and are not settled", s.Key, countOf(n, "entry")),
		Evidence: fmt.Sprintf("XPENDING of %s counts %d", countOf(int64(len(s.Groups)), "group"), n),
		Advice:   "See which groups have them",
		Command:  x.freshet("groups", s.Key),
	})
}

// stale tells whether the oldest pending entry has neither been delivered nor
// renewed lately: what live consumers of the project have in hand is renewed,
// however much it is.
func stale(g Group) bool {
	return g.Pending > 0 && (g.OldestPending == nil || g.OldestPending.Idle > DefaultLiveWithin)
}

func oldestPendingAt(g Group) time.Time {
	if g.OldestPending == nil {
		return time.Time{}
	}
	return g.OldestPending.At
}
