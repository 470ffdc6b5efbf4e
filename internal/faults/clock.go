package faults

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/redistest"
)

// What happens to the server's clock, by which it measures how long entries
// have been idle.
var clockFaults = []fault{
	{"F37", "the server's clock jumps by an hour", true, clockJumps},
}

// clockJumps moves the clock while one consumer holds entries in slow
// handlers, another keeps up with what is published, and a dead one holds
// entries too. Nobody's entries are given to another but the dead one's.
func clockJumps(t *trial) {
	server, err := redistest.NewWithClock()
	t.must(err)
	t.atEnd(server.Close)
	const lease = 2 * time.Second
	cfg := freshet.ConsumerConfig{Group: group, Lease: lease, HandlerTimeout: 1500 * time.Millisecond, Concurrency: 4, MaxInFlight: 20}
	l := t.load(server.URL())
	for _, stream := range loadStreams {
		t.do(server, "XGROUP", "CREATE", stream, group, "0", "MKSTREAM")
	}
	j, forward, said := &journal{}, 0, 0
	at := time.Duration(0)
	for _, to := range scaled(t, []time.Duration{time.Hour, 0, -time.Hour, 0}, []time.Duration{time.Hour, 0}) {
		l.some(t.ctx, 60)
		for _, stream := range loadStreams {
			t.do(server, "XREADGROUP", "GROUP", group, "dead", "COUNT", "10", "STREAMS", stream, ">")
		}
		orphans := t.heldBy(server, "dead")
		slow := t.consume(server.URL(), cfg, func(context.Context, *freshet.Delivery) error {
			t.pass(time.Second)
			return nil
		})
		t.until("the slow consumer holds entries", 10*time.Second, func() bool {
			return len(t.heldBy(server, "")) >= len(orphans)+cfg.MaxInFlight/2
		})
		quick := t.consume(server.URL(), cfg, nil)
		t.steady(&quick.journal, 1)
		stop := t.start(l, 20)

		server.MoveClock(to)
		t.recovered("taking over what the dead consumer held", t.until("it is taken over", 20*time.Second, func() bool {
			return len(t.heldBy(server, "dead")) == 0
		}), 3*lease)
		t.pass(lease)
		stop()
		t.settled(server, group, 60*time.Second)
		slow.stop()
		quick.stop()
		for _, c := range []*consumer{slow, quick} {
			j.records = append(j.records, c.journal.all()...)
			if to > at {
				said += strings.Count(c.log.String(), "clock was set forward")
			}
		}
		if to > at {
			forward++
		}
		at = to
	}
	t.noneLost(server, group, l, j)
	begun := map[string]int{}
	for _, r := range j.starts() {
		begun[r.Identity]++
		t.check(begun[r.Identity] == 1, "event %s was begun %d times, last by %s", r.Identity, begun[r.Identity], r.Consumer)
	}
	t.check(said >= forward, "the consumers said %d times that the clock was set forward, which it was %d times", said, forward)
}

// heldBy returns the ids of the entries that a consumer, "" for all, has
// pending.
func (t *trial) heldBy(server server, consumer string) (ids []string) {
	for _, stream := range loadStreams {
		for id, owner := range owners(server, stream, group) {
			if consumer == "" || owner == consumer {
				ids = append(ids, stream+"/"+id)
			}
		}
	}
	slices.Sort(ids)
	return ids
}
