package faults

import (
	"slices"
	"time"
)

// standing is what a server knows of a group: identities of events.
type standing struct {
	stored      map[string]int // entries of an event that the streams have
	deadLetters map[string]int
	pending     map[string]bool // delivered, not settled
	unread      map[string]bool
}

// standing asks the server. Message ids are the identities of what load
// publishes.
func (t *trial) standing(server server, group string) standing {
	s := standing{map[string]int{}, map[string]int{}, map[string]bool{}, map[string]bool{}}
	for _, stream := range loadStreams {
		after := lastDelivered(server, stream, group)
		pending := pendingEntries(server, stream, group)
		for _, e := range entries(server, stream) {
			s.stored[e.event]++
			if pending[e.id] {
				s.pending[e.event] = true
			}
			if compareIDs(e.id, after) > 0 {
				s.unread[e.event] = true
			}
		}
		for _, e := range entries(server, "{"+stream+"}:dlq:"+group) {
			s.deadLetters[e.event]++
		}
	}
	return s
}

// settled waits until a group has nothing pending and nothing unread, and
// returns how long that took.
func (t *trial) settled(server server, group string, atMost time.Duration) time.Duration {
	return t.until("everything is settled", atMost, func() bool {
		for _, stream := range loadStreams {
			if !isSettled(server, stream, group) {
				return false
			}
		}
		return true
	})
}

// isSettled looks at what is pending last: what is read meanwhile is there then.
func isSettled(server server, stream, group string) bool {
	last, ok := server.Do("XREVRANGE", stream, "+", "-", "COUNT", "1").([]any)
	if !ok || len(last) > 0 && compareIDs(last[0].([]any)[0].(string), lastDelivered(server, stream, group)) > 0 {
		return false
	}
	summary, ok := server.Do("XPENDING", stream, group).([]any)
	return ok && summary[0] == int64(0)
}

// account compares what was published with what was done, dead-lettered and
// left pending. An acknowledged event of which there is no trace is lost. One
// that had several effects is done twice, which the row tells; whether it may
// be is the fault's to say.
func (t *trial) account(server server, group string, l *load, j *journal) standing {
	s := t.standing(server, group)
	done := j.count()
	l.mu.Lock()
	defer l.mu.Unlock()
	t.published += len(l.acked) + len(l.unknown)
	for id := range l.acked {
		if done[id] == 0 && s.deadLetters[id] == 0 && !s.pending[id] && !s.unread[id] {
			t.lost++
		}
	}
	for id, n := range done {
		t.twice += n - 1
		_, acked := l.acked[id]
		t.check(acked || l.unknown[id], "event %s had an effect and was neither acknowledged nor unknown (reported as failed: %t)", id, l.failed[id])
	}
	for id, n := range s.deadLetters {
		most := 1
		if t.lettersOf != nil {
			most = t.lettersOf(id)
		}
		t.check(n <= most, "event %s has %d dead letters", id, n)
	}
	return s
}

// noneLost is account for faults that may lose nothing.
func (t *trial) noneLost(server server, group string, l *load, j *journal) standing {
	s := t.account(server, group, l, j)
	t.check(t.published > 0, "nothing was published")
	t.check(t.lost == 0, "%d acknowledged events are lost", t.lost)
	return s
}

// inOrder checks that the first effects of each entity's events came in the
// order of their entries.
func (t *trial) inOrder(j *journal) {
	last := map[string]record{}
	seen := map[string]bool{}
	for _, r := range j.effects() {
		if seen[r.Identity] {
			continue
		}
		seen[r.Identity] = true
		before, is := last[r.Entity]
		t.check(!is || inOrder(before, r), "%s: %s of %s after %s of %s", r.Entity, r.Entry, r.Stream, before.Entry, before.Stream)
		last[r.Entity] = r
	}
}

// inOrder tells whether an effect may come after another of its entity. Within
// a millisecond there is no order over streams.
func inOrder(before, r record) bool {
	if r.Stream == before.Stream {
		return compareIDs(r.Entry, before.Entry) > 0
	}
	ms, _ := splitID(r.Entry)
	earlier, _ := splitID(before.Entry)
	return ms >= earlier
}

// longestGap returns the longest time between two neighbours.
func longestGap(times []time.Time) (longest time.Duration) {
	slices.SortFunc(times, time.Time.Compare)
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i].Sub(times[i-1]))
	}
	return longest
}
