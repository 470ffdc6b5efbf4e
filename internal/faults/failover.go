package faults

import (
	"strings"
	"time"

	"github.com/freshet/freshet"
)

// What happens to the one that is the master.
var failoverFaults = []fault{
	{"F26", "the master is demoted", false, demoted},
	{"F30", "the master is killed, Sentinel promotes a replica", false, masterKilled},
}

// demoted: once for a while and back again, then for good in favour of
// another.
func demoted(t *trial) {
	server := t.redis()
	l := t.load(server.URL())
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group}, nil)
	stop := t.start(l, 100)
	t.steady(&c.journal, 50)
	for range scaled(t, 5, 1) {
		t.do(server, "REPLICAOF", "127.0.0.1", "1") // where nobody is, so that it keeps its data
		t.pass(2 * time.Second)
		t.do(server, "REPLICAOF", "NO", "ONE")
		t.goesOn(l, c, 5*time.Second)
	}
	stop()
	t.settled(server, group, 20*time.Second)
	c.stop()
	t.noneLost(server, group, l, &c.journal)

	s := t.sentinels()
	l = t.load(s.url)
	c = t.consume(s.url, freshet.ConsumerConfig{Group: group}, nil)
	stop = t.start(l, 100)
	t.steady(&c.journal, 50)
	rounds := scaled(t, 5, 1)
	for range rounds {
		t.pass(time.Second)
		old := s.master()
		t.until("the sentinels can fail over", 20*time.Second, func() bool { return s.say("SENTINEL", "FAILOVER", "mymaster") == "OK" })
		t.until("there is another master", 20*time.Second, func() bool { return s.master() != old && isMaster(s.master()) })
		t.goesOn(l, c, 5*time.Second)
		t.inSync(s)
	}
	stop()
	t.settled(s.master(), group, 20*time.Second)
	c.stop()
	t.account(s.master(), group, l, &c.journal)
	t.unreplicated(100, rounds)
}

// goesOn waits until publishing and consuming go on.
func (t *trial) goesOn(l *load, c *consumer, atMost time.Duration) {
	back := time.Now()
	t.until("publishing and consuming go on", 30*time.Second, func() bool {
		return l.ackedSince(back) && len(c.journal.since(back)) > 0
	})
	t.recovered("resuming", time.Since(back), atMost)
}

// unreplicated takes what failovers have lost off the row's count: what a
// master acknowledged and its replica does not have yet is gone, which is not
// promised otherwise. Where nothing is slow it is less than half a second's.
func (t *trial) unreplicated(rate, failovers int) {
	t.check(t.lost <= rate*failovers/2, "%d events are lost by %d failovers at %d events a second", t.lost, failovers, rate)
	t.note("%d acknowledged events were not replicated in time", t.lost)
	t.lost = 0
}

// masterKilled: the kill, Sentinel's view of it, and the way to the new master.
func masterKilled(t *trial) {
	s := t.sentinels()
	l := t.load(s.url)
	l.timeout = time.Second
	c := t.consume(s.url, freshet.ConsumerConfig{Group: group}, nil)
	t.atEnd(func() {
		if len(t.failures) > 0 {
			t.noteViews(s, l)
		}
	})
	stop := t.start(l, 200)
	t.steady(&c.journal, 50)
	rounds, late := scaled(t, 5, 1), 0
	for round := 0; round < rounds+late; round++ {
		t.pass(2 * time.Second)
		t.hindrances(s) // until now
		old, killed := s.master(), time.Now()
		old.Kill()
		var promoted time.Time
		t.until("publishing and consuming go on", 90*time.Second, func() bool {
			if promoted.IsZero() && s.master() != old && isMaster(s.master()) {
				promoted = time.Now()
			}
			return !promoted.IsZero() && l.ackedSince(promoted) && len(c.journal.since(promoted)) > 0
		})
		t.pass(time.Second)
		gap, atMost := l.gap(killed.Add(-time.Second), time.Now()), downAfter+5*time.Second
		if hindrances := t.hindrances(s); gap > atMost && len(hindrances) > 0 && late < 3 {
			late++ // there was no master to go to; the round is made again
			t.note("the sentinels promoted after %v: %s", promoted.Sub(killed).Round(time.Millisecond), strings.Join(hindrances, ", "))
			t.recovered("resuming after a late promotion", l.gap(promoted, time.Now()), 5*time.Second)
		} else {
			t.recovered("the gap in publishing", gap, atMost)
		}
		old.Restart() // the sentinels make a replica of it
		t.inSync(s)
	}
	stop()
	t.settled(s.master(), group, 30*time.Second)
	c.stop()
	t.account(s.master(), group, l, &c.journal)
	t.unreplicated(200, rounds+late)
	t.check(c.Stats().LostUnread == 0, "%d entries counted as trimmed, none were", c.Stats().LostUnread)
	t.note("recovery is the longest time in which no publish was acknowledged")
}
