package faults

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet/freshet"
)

// What happens between client and server.
var networkFaults = []fault{
	{"F9", "the connection is reset instead of the reply of XADD", true, publishCut},
	{"F10", "the reply of XREADGROUP is lost", true, readCut},
	{"F11", "a half-open connection", true, halfOpen},
	{"F12", "300 ms +-200 of latency, 1 % of commands are cut", false, slowNetwork},
	{"F13", "the context ends while a read blocks", true, cancelled},
}

// every returns a rule that does harm at every nth command of a name.
func every(n int64, name string, does harm) func([]string) harm {
	var seen atomic.Int64
	return func(command []string) harm {
		if len(command) > 0 && command[0] == name && seen.Add(1)%n == 0 {
			return does
		}
		return none
	}
}

func publishCut(t *trial) {
	server := t.redis()
	p := t.proxy(server.Addr())
	j := &journal{path: t.file("journal")}
	cfg := t.robust(server.URL(), j)
	w := t.worker(cfg)
	l := t.load(p.url())
	l.repeat = true
	p.at(every(10, "XADD", cutAfter))
	l.some(t.ctx, scaled(t, 1000, 200))
	p.at(nil)
	t.settled(server, group, 60*time.Second)
	w.kill()
	s := t.noneLost(server, group, l, j)
	t.onceEach(cfg.Table, j)
	entries := 0
	for _, n := range s.stored {
		entries += n
	}
	t.check(len(l.failed) == 0, "%d publishes whose reply was lost were reported as failed", len(l.failed))
	t.check(len(l.unknown) == 0, "%d publishes are unknown though they were repeated", len(l.unknown))
	t.check(entries > len(l.acked), "no publish was repeated")
	t.note("%d events, %d entries, each event once in the inbox's table", len(l.acked), entries)
}

// readCut: what was in the reply is pending with the consumer, which must
// find it at once and before anything newer, not after the lease.
func readCut(t *trial) {
	server := t.redis()
	p := t.proxy(server.Addr())
	l := t.load(server.URL())
	c := t.consume(p.url(), freshet.ConsumerConfig{Group: group}, nil)
	t.many(l, 10)
	t.steady(&c.journal, 10)
	p.at(every(3, "XREADGROUP", cutAfter))
	stop := t.start(l, 300)
	t.pass(scaled(t, 30*time.Second, 6*time.Second))
	p.at(nil)
	last := time.Now()
	stop()
	t.settled(server, group, 10*time.Second)
	t.recovered("finding what was stranded", time.Since(last), 5*time.Second)
	c.stop()
	t.noneLost(server, group, l, &c.journal)
	t.inOrder(&c.journal)
	t.check(t.twice == 0, "%d effects were repeated", t.twice)
}

// The engine's reads block for a second, and a server that says nothing for
// three more is to be taken for gone.
const noticed = time.Second + 3*time.Second

func halfOpen(t *trial) {
	server := t.redis()
	p := t.proxy(server.Addr())
	direct := t.load(server.URL())
	through := t.load(p.url())
	through.timeout = 2 * time.Second
	c := t.consume(p.url(), freshet.ConsumerConfig{Group: group}, nil)
	t.many(direct, 10)
	t.steady(&c.journal, 10)
	for range scaled(t, 10, 2) {
		t.pass(t.between(0, time.Second))
		p.freeze()
		frozen := time.Now()
		direct.some(t.ctx, 1)
		t.until("the consumer reads on", 20*time.Second, func() bool { return len(c.journal.since(frozen)) > 0 })
		t.recovered("reading on", time.Since(frozen), noticed)
		for !through.ackedSince(frozen) {
			through.some(t.ctx, 1)
		}
		t.recovered("publishing on", time.Since(frozen), noticed+through.timeout)
	}
	t.check(through.slowest <= through.timeout+500*time.Millisecond, "a publish with a deadline of %v took %v", through.timeout, through.slowest)
	t.settled(server, group, 20*time.Second)
	c.stop()
	direct.join(through)
	t.noneLost(server, group, direct, &c.journal)
}

func slowNetwork(t *trial) {
	server := t.redis()
	line := t.toxiproxy(server.Addr())
	p := t.proxy(line.addr)
	l := t.load(p.url())
	c := t.consume(p.url(), freshet.ConsumerConfig{Group: group}, nil)
	direct := t.load(server.URL())
	t.many(direct, 10)
	t.steady(&c.journal, 10)
	line.slow(t, 150*time.Millisecond, 100*time.Millisecond) // twice in a round trip
	cuts := 0
	p.at(func([]string) harm {
		if t.rand.IntN(100) > 0 {
			return none
		}
		cuts++
		return []harm{cutBefore, cutAfter}[cuts%2]
	})
	stop := t.start(l, 50)
	t.pass(scaled(t, 60*time.Second, 10*time.Second))
	stop()
	p.at(nil)
	t.pass(time.Second) // toxiproxy may hang when a line is healed while it is being closed
	line.heal(t)
	t.recovered("settling", t.settled(server, group, 60*time.Second), 60*time.Second)
	c.stop()
	l.join(direct)
	t.noneLost(server, group, l, &c.journal)
	t.inOrder(&c.journal)
	t.check(cuts > 0, "nothing was cut")
	t.note("%d commands cut; %d publishes unknown", cuts, len(l.unknown))
}

func cancelled(t *trial) {
	server := t.redis()
	leaks := goleak.IgnoreCurrent()
	l := t.load(server.URL())
	bus := t.bus(server.URL())
	stop := t.start(l, 100)
	var all journal
	rounds := scaled(t, 200, 25)
	cfg := freshet.ConsumerConfig{Group: group, Streams: loadStreams, HandlerTimeout: time.Second, Lease: 2 * time.Second}
	for range rounds {
		c := bus.Consumer(cfg)
		on(c, func(_ context.Context, d *freshet.Delivery) error { return all.add(d, true) })
		ctx, cancel := context.WithCancel(t.ctx)
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		t.pass(t.between(50*time.Millisecond, 400*time.Millisecond))
		cancel()
		told := time.Now()
		t.must(<-ended)
		t.recovered("returning", time.Since(told), 500*time.Millisecond)
	}
	stop()
	left := pendingCount(server, group) // the server delivered them to a read that had just ended
	bus.Close()
	l.bus.Close()
	err := goleak.Find(leaks)
	t.check(err == nil, "%v", err)
	c := t.consume(server.URL(), cfg, nil)
	t.settled(server, group, 20*time.Second)
	c.stop()
	all.records = slices.Concat(all.records, c.journal.records)
	t.noneLost(server, group, l, &all)
	t.check(t.twice == 0, "%d effects were repeated", t.twice)
	t.note("%d rounds; recovery is the time in which Run returned; %d entries waited for another consumer", rounds, left)
}
