package faults

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/freshet/freshet"
)

// What handlers do.
var handlerFaults = []fault{
	{"F14", "one event in a thousand is poison", true, poison},
	{"F15", "all handlers fail: their dependency is down", false, dependencyDown},
	{"F16", "handlers hang", true, hanging},
	{"F17", "a handler panics", true, panicking},
}

func poison(t *trial) {
	server := t.redis()
	p := t.proxy(server.Addr())
	var calls atomic.Int64
	p.at(func([]string) harm { calls.Add(1); return none })
	l := t.load(server.URL())
	l.entities = 1000
	const attempts, victim = 5, "acme/user-7"
	c := t.consume(p.url(), freshet.ConsumerConfig{
		Group: group, MaxAttempts: attempts, BackoffMin: 2 * time.Second, BackoffMax: 4 * time.Second,
	}, func(_ context.Context, d *freshet.Delivery) error {
		if entityOf(d) == victim {
			return errOnPurpose
		}
		return nil
	})
	t.many(l, 1000)
	t.recovered("handling all the others", t.until("the others are handled", 20*time.Second, func() bool { return len(c.journal.count()) == 999 }), 5*time.Second)
	tried := func() (n int) {
		for _, r := range c.journal.starts() {
			if r.Entity == victim {
				n++
			}
		}
		return n
	}
	rate := func(until func() bool) float64 {
		start, before := time.Now(), calls.Load()
		t.until("the time of a measurement", time.Minute, until)
		return float64(calls.Load()-before) / time.Since(start).Seconds()
	}
	retrying := rate(func() bool { return tried() == attempts })
	t.settled(server, group, 20*time.Second)
	end := time.Now().Add(5 * time.Second)
	idle := rate(func() bool { return time.Now().After(end) })
	c.stop()
	t.check(tried() == attempts, "the poison was attempted %d times", tried())
	s := t.noneLost(server, group, l, &c.journal)
	t.check(len(s.deadLetters) == 1, "%d dead letters", len(s.deadLetters))
	t.check(retrying <= 2*idle, "%.1f calls a second while the poison is retried, %.1f when idle", retrying, idle)
	t.note("%.1f calls a second to the server while the poison is retried, %.1f when idle", retrying, idle)
}

func entityOf(d *freshet.Delivery) string { return d.Tenant + "/" + d.Entity.ID }

func dependencyDown(t *trial) {
	for _, by := range []failing{byUnavailable, byError} {
		server := t.redis()
		j := &journal{path: t.file("journal-" + string(by))}
		cfg := t.robust(server.URL(), j)
		cfg.Table = ""
		cfg.MaxAttempts = 8
		cfg.Down, cfg.DownBy = t.file("down-"+string(by)), by
		l := t.load(server.URL())
		stop := t.start(l, 50)
		w := t.worker(cfg)
		t.steady(j, 50)
		t.touch(cfg.Down)
		t.pass(time.Second)
		cpu, start := t.cpu(w), time.Now()
		t.pass(scaled(t, 60*time.Second, 5*time.Second))
		share := float64(t.cpu(w)-cpu) / float64(time.Since(start))
		letters := 0
		for _, stream := range loadStreams {
			letters += len(entries(server, "{"+stream+"}:dlq:"+group))
		}
		t.check(letters == 0, "%d dead letters because of the outage", letters)
		t.check(share < 0.2, "%.0f %% of a processor", 100*share)
		t.must(os.Remove(cfg.Down))
		back := time.Now()
		t.until("handling goes on", 40*time.Second, func() bool { return len(j.since(back)) > 0 })
		t.recovered("resuming", time.Since(back), 31*time.Second)
		stop()
		t.settled(server, group, 30*time.Second)
		w.kill()
		t.noneLost(server, group, l, j)
		t.note("handlers fail by %s: no dead letter, %.1f %% of a processor", by, 100*share)
	}
}

// cpu returns the processor time that a worker has used.
func (t *trial) cpu(w *worker) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.cmd.Process.Pid))
	t.must(err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, err := strconv.Atoi(fields[11])
	t.must(err)
	system, err := strconv.Atoi(fields[12])
	t.must(err)
	return time.Duration(user+system) * time.Second / 100
}

func hanging(t *trial) {
	const timeout, attempts, concurrency = time.Second, 3, 4
	server := t.redis()
	l := t.load(server.URL())
	l.entities, l.tenants = 100, []string{"acme"}
	release := make(chan struct{})
	var inHandler atomic.Int64
	t.atEnd(func() {
		select {
		case <-release:
		default:
			close(release)
		}
	})
	c := t.consume(server.URL(), freshet.ConsumerConfig{
		Group: group, Concurrency: concurrency, MaxAttempts: attempts,
		HandlerTimeout: timeout, Lease: 2 * time.Second, BackoffMin: 10 * time.Millisecond, BackoffMax: 20 * time.Millisecond,
	}, func(ctx context.Context, d *freshet.Delivery) error {
		switch d.Entity.ID {
		case "user-0", "user-1", "user-2", "user-3": // as many as there are slots, and they ignore the timeout
			inHandler.Add(1)
			<-release
		case "user-4":
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})
	t.many(l, 200)
	t.until("all slots hang", 10*time.Second, func() bool { return inHandler.Load() == concurrency })
	hung := time.Now()
	t.until("others are handled", 10*time.Second, func() bool { return len(c.journal.since(hung)) > 0 })
	t.recovered("handling others", time.Since(hung), timeout+time.Second)
	t.until("all others are handled", 10*time.Second, func() bool { return len(c.journal.count()) == 190 })
	t.until("what times out is dead-lettered", 20*time.Second, func() bool { return c.Stats().DeadLettered == 2 })
	close(release)
	t.settled(server, group, 10*time.Second)
	c.stop()
	tries := map[string]int{}
	for _, r := range c.journal.starts() {
		if r.Entity == "acme/user-4" {
			tries[r.Identity]++
		}
	}
	for id, n := range tries {
		t.check(n == attempts, "event %s timed out %d times before it was dead-lettered", id, n)
	}
	t.noneLost(server, group, l, &c.journal)
}

func panicking(t *trial) {
	server := t.redis()
	j := &journal{path: t.file("journal")}
	cfg := t.robust(server.URL(), j)
	cfg.Poison, cfg.PoisonBy, cfg.MaxAttempts = "user-3", byPanic, 3
	l := t.load(server.URL())
	w := t.worker(cfg)
	t.many(l, 200)
	t.settled(server, group, 30*time.Second)
	t.check(!w.ended(), "the process died")
	w.kill()
	s := t.noneLost(server, group, l, j)
	tries := map[string]int{}
	for _, r := range j.starts() {
		if strings.HasSuffix(r.Entity, "/user-3") {
			tries[r.Identity]++
		}
	}
	t.check(len(tries) > 0 && len(s.deadLetters) == len(tries), "%d events panicked, %d are dead-lettered", len(tries), len(s.deadLetters))
	for id, n := range tries {
		t.check(n == cfg.MaxAttempts, "event %s was attempted %d times", id, n)
	}
	log := w.log.String()
	t.check(strings.Contains(log, "panicked") && strings.Contains(log, "goroutine"), "the log has no stack")
	t.check(!strings.Contains(log, canary), "the log has a payload")
}
