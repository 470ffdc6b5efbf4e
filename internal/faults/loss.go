package faults

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/freshet/freshet"
)

// What happens to keys, streams and groups.
var lossFaults = []fault{
	{"F18", "pending entries are trimmed", true, trimmed},
	{"F19", "entries are trimmed before they were read", true, trimmedUnread},
	{"F20", "the streams vanish while a read blocks", true, vanished},
	{"F21", "the group is destroyed", true, destroyed},
	{"F22", "a stream's key holds something else", true, wrongType},
}

func trimmed(t *trial) {
	server := t.redis()
	j := &journal{path: t.file("journal")}
	cfg := t.robust(server.URL(), j)
	cfg.Gate, cfg.MaxInFlight = t.file("gate"), 500
	l := t.load(server.URL())
	t.many(l, 100)
	w := t.worker(cfg)
	t.until("all entries are pending", 20*time.Second, func() bool { return pendingCount(server, group) == 100 })
	w.kill()
	gone := 0
	for _, stream := range loadStreams {
		gone += int(t.do(server, "XTRIM", stream, "MAXLEN", "10").(int64))
	}
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group, Lease: cfg.Lease, HandlerTimeout: cfg.HandlerTimeout}, nil)
	t.settled(server, group, 20*time.Second)
	c.stop()
	counted := c.Stats().LostTrimmed
	t.check(gone == 80 && counted == int64(gone), "%d entries were trimmed, the consumer counts %d", gone, counted)
	t.check(strings.Contains(c.log.String(), "lost"), "the log does not say that entries are lost")
	t.account(server, group, l, &c.journal)
	t.lossIs(gone, "trimmed by hand; the consumer counts %d as lost", counted)
}

// trimmedUnread: once while no consumer was running, and again while one runs
// that does not keep up.
func trimmedUnread(t *trial) {
	server := t.redis()
	l := t.load(server.URL())
	t.many(l, 20)
	first := t.consume(server.URL(), freshet.ConsumerConfig{Group: group}, nil)
	t.settled(server, group, 10*time.Second)
	first.stop()
	t.many(l, 400)
	trim := func() (gone int) {
		for _, stream := range loadStreams {
			gone += int(t.do(server, "XTRIM", stream, "MAXLEN", "3").(int64))
		}
		return gone
	}
	gone := trim() - 20 // which were read
	gate := make(chan struct{})
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group, MaxInFlight: 10}, func(ctx context.Context, _ *freshet.Delivery) error {
		select {
		case <-gate:
		case <-ctx.Done():
		}
		return ctx.Err()
	})
	t.recovered("the alarm after the consumer started", t.until("the loss is counted", 30*time.Second, func() bool {
		return c.Stats().LostUnread == int64(gone)
	}), 15*time.Second)
	t.many(l, 400)
	t.until("the consumer is full", 10*time.Second, func() bool { return pendingCount(server, group) == 10 })
	for _, stream := range loadStreams {
		after := lastDelivered(server, stream, group)
		for _, e := range entries(server, stream) {
			if compareIDs(e.id, after) > 0 {
				gone++
			}
		}
	}
	trim()
	gone -= 3 * len(loadStreams)
	close(gate)
	t.recovered("the alarm while it runs", t.until("the loss is counted", 30*time.Second, func() bool {
		return c.Stats().LostUnread == int64(gone)
	}), 15*time.Second)
	t.settled(server, group, 10*time.Second)
	t.pass(scaled(t, 11*time.Second, 0)) // it is not counted again
	c.stop()
	t.check(c.Stats().LostUnread == int64(gone), "%d entries counted as lost, %d were trimmed", c.Stats().LostUnread, gone)
	t.check(strings.Contains(c.log.String(), "before the group read them"), "the log does not say that entries are lost")
	c.journal.records = slices.Concat(first.journal.records, c.journal.records)
	t.account(server, group, l, &c.journal)
	t.lossIs(gone, "trimmed unread by hand; the consumer counts them as lost")
}

// lossIs checks that as many events are lost as the trial itself destroyed,
// and takes them off the row's count.
func (t *trial) lossIs(n int, format string, args ...any) {
	t.check(t.lost == n, "%d events are lost, %d were destroyed", t.lost, n)
	if t.lost == n {
		t.lost = 0
		t.note("%d "+format, append([]any{n}, args...)...)
	}
}

// vanished: what was not settled is gone with its stream, which nobody can
// mend. What is published afterwards must be handled at once, and only that.
func vanished(t *trial) {
	user, deactivated := loadStreams[0], loadStreams[1]
	for _, harm := range [][][]string{
		{{"FLUSHALL"}},
		{{"DEL", user}, {"DEL", deactivated}},
		{{"UNLINK", user}, {"UNLINK", deactivated}},
		{{"PEXPIRE", user, "1"}, {"PEXPIRE", deactivated, "1"}},
		{{"RENAME", user, "elsewhere"}, {"RENAME", deactivated, "elsewhere"}},
	} {
		server := t.redis()
		l := t.load(server.URL())
		c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group}, nil)
		t.many(l, 200)
		t.settled(server, group, 10*time.Second)
		before := len(c.log.warnings())
		t.pass(100 * time.Millisecond) // until the read blocks
		for _, command := range harm {
			t.do(server, command...)
		}
		t.pass(200 * time.Millisecond) // in which keys expire
		struck := time.Now()
		t.many(l, 100)
		t.until("what came later is handled", 20*time.Second, func() bool { return len(c.journal.since(struck)) >= 100 })
		t.recovered("resuming after "+harm[0][0], time.Since(struck), 5*time.Second)
		t.settled(server, group, 10*time.Second)
		c.stop()
		t.incident(c, before, harm[0][0])
		t.noneLost(server, group, l, &c.journal)
		t.check(t.twice == 0, "%s: %d effects were repeated", harm[0][0], t.twice)
	}
}

// incident checks that a loss was logged, and not without end.
func (t *trial) incident(c *consumer, before int, what string) {
	lines := c.log.warnings()[before:]
	t.check(len(lines) >= 1 && len(lines) <= 5, "%s: %d warnings, such as\n%s", what, len(lines), strings.Join(lines[:min(5, len(lines))], "\n"))
	t.check(strings.Contains(strings.Join(lines, "\n"), "created again"), "%s: the incident is not in the log", what)
}

func destroyed(t *trial) {
	server := t.redis()
	l := t.load(server.URL())
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group, MaxInFlight: 100}, nil)
	t.many(l, 200)
	destroy := func(what string) {
		before := len(c.log.warnings())
		for _, stream := range loadStreams {
			t.do(server, "XGROUP", "DESTROY", stream, group)
		}
		struck := time.Now()
		t.many(l, 100)
		t.until("handling goes on", 20*time.Second, func() bool { return len(c.journal.since(struck)) >= 50 })
		t.recovered("resuming, "+what, time.Since(struck), 5*time.Second)
		t.incident(c, before, what)
	}
	t.settled(server, group, 10*time.Second)
	t.pass(100 * time.Millisecond) // until the read blocks
	destroy("while a read blocks")
	t.settled(server, group, 10*time.Second)
	repeated := 0
	for _, n := range c.journal.count() {
		repeated += n - 1
	}
	t.check(repeated == 0, "%d effects were repeated with nothing in hand", repeated)

	stop := t.start(l, 1000)
	rounds := scaled(t, 10, 3)
	for range rounds {
		t.pass(t.between(200*time.Millisecond, 800*time.Millisecond))
		destroy("under load")
	}
	stop()
	t.settled(server, group, 20*time.Second)
	c.stop()
	t.noneLost(server, group, l, &c.journal)
	t.check(t.twice <= rounds*100, "%d effects were repeated by %d losses with at most 100 entries in hand", t.twice, rounds)
}

func wrongType(t *trial) {
	server := t.redis()
	p := t.proxy(server.Addr())
	var calls atomic.Int64
	p.at(func([]string) harm { calls.Add(1); return none })
	l := t.load(server.URL())
	c := t.consume(p.url(), freshet.ConsumerConfig{Group: group}, nil)
	broken := loadStreams[1]
	measure := func() float64 {
		start, before := time.Now(), calls.Load()
		t.pass(4 * time.Second)
		return float64(calls.Load()-before) / time.Since(start).Seconds()
	}
	t.many(l, 200)
	t.settled(server, group, 10*time.Second)
	idle := measure()
	before := len(c.log.warnings())
	t.do(server, "SET", broken, "no stream")
	t.pass(time.Second)
	fault := measure()
	t.check(fault <= 2*idle, "%.1f calls a second, %.1f when idle", fault, idle)
	warnings := c.log.warnings()[before:]
	t.check(len(warnings) >= 1 && len(warnings) <= 5, "%d warnings, such as %s", len(warnings), warnings[:min(5, len(warnings))])

	struck := time.Now()
	failed := l.publishOnly(t.ctx, 200)
	t.check(failed == 50, "%d publishes to the key failed, of 50", failed)
	t.until("the other stream's events are handled", 10*time.Second, func() bool { return len(c.journal.since(struck)) >= 150 })
	t.do(server, "DEL", broken)
	l.some(t.ctx, 20)
	back := time.Now()
	t.settled(server, group, 20*time.Second)
	t.recovered("taking the stream up again", time.Since(back), 12*time.Second)
	c.stop()
	t.noneLost(server, group, l, &c.journal)
	t.note("%.1f calls a second to the server, %.1f when idle", fault, idle)
}

// publishOnly publishes n events and returns how many failed for certain.
func (l *load) publishOnly(ctx context.Context, n int) int {
	before := len(l.failed)
	l.some(ctx, n)
	return len(l.failed) - before
}
