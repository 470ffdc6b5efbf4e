package faults

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/freshet/freshet/internal/redistest"
)

// SoakOptions of a soak. All are required.
type SoakOptions struct {
	For  time.Duration // faults happen; then it is waited until all is settled
	Seed uint64        // of the faults and their times
	Out  io.Writer
}

// Soak lets faults of all kinds happen at random times under load, prints a
// line a minute and a verdict, and reports whether all promises held.
func Soak(ctx context.Context, o SoakOptions) (passed bool, err error) {
	fmt.Fprintf(o.Out, "seed %d, %v\n", o.Seed, o.For)
	t := try(ctx, fault{run: func(t *trial) { newSoak(t, o).run() }}, Options{Seed: o.Seed})
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	for _, line := range t.notes {
		fmt.Fprintln(o.Out, line)
	}
	for _, line := range t.failures {
		fmt.Fprintln(o.Out, "FAILED:", line)
	}
	verdict := "pass"
	if len(t.failures) > 0 {
		verdict = "FAIL"
	}
	fmt.Fprintf(o.Out, "%s: seed %d, %d published, %d lost, %d done again without the inbox\n", verdict, o.Seed, t.published, t.lost, t.twice)
	return len(t.failures) == 0, nil
}

const (
	soakRate    = 150 // events a second
	soakMortals = 3   // workers that faults happen to

	groupDestroyed = "group destroyed"
)

// soak is a server, a load, and workers of which one lives to the end.
type soak struct {
	*trial
	o       SoakOptions
	server  *redistest.Server
	line    *toxiproxy // between proxy and server
	proxy   *proxy     // that everybody goes through
	load    *load
	journal *journal
	cfg     workerConfig
	lasting *worker // nothing happens to it
	mortals []*worker
	counts  map[string]int // of faults
	history []event
	began   time.Time
	minutes int // reported
}

// event is a fault that began.
type event struct {
	at   time.Time
	name string
}

func newSoak(t *trial, o SoakOptions) *soak {
	s := &soak{trial: t, o: o, counts: map[string]int{}, journal: &journal{path: t.file("journal")}}
	s.server = t.redis(durable("always")...)
	s.line = t.toxiproxy(s.server.Addr())
	s.proxy = t.proxy(s.line.addr)
	s.load = t.load(s.proxy.url())
	s.cfg = t.robust(s.proxy.url(), s.journal)
	s.cfg.MaxAttempts = 30
	s.cfg.Poison, s.cfg.PoisonBy = "user-13", byPermanent
	s.cfg.Down, s.cfg.DownBy = t.file("down"), byError
	return s
}

func (s *soak) run() {
	lasting := s.cfg
	lasting.Vitals = s.file("vitals")
	s.lasting = s.worker(lasting)
	s.mortals = make([]*worker, soakMortals)
	for i := range s.mortals {
		s.mortals[i] = s.worker(s.cfg)
	}
	stop := s.start(s.load, soakRate)
	s.steady(s.journal, 1)
	s.began = time.Now()
	for time.Since(s.began) < s.o.For {
		s.harm()
		s.report()
	}
	stop()
	s.check(!s.lasting.ended(), "the worker that nothing happened to has ended: %s", tail(s.lasting.log.String()))
	took := s.settled(s.server, group, 3*time.Minute)
	s.note("all is settled %v after the last event", took.Round(time.Millisecond))
	s.leave()
	s.lettersOf = s.mayBeDeadLettered
	standing := s.noneLost(s.server, group, s.load, s.journal)
	s.tellLost(standing)
	s.inboxHeld()
	s.flat(s.vitals())
}

// harm waits, and lets one thing go wrong.
func (s *soak) harm() {
	s.pass(s.between(200*time.Millisecond, 3*time.Second))
	kinds := []struct {
		name string
		harm func()
	}{
		{"worker killed", s.kill},
		{"worker stopped", s.terminate},
		{"worker frozen", s.freeze},
		{"connections reset", s.proxy.cut},
		{"connections half open", s.proxy.freeze},
		{"replies lost", s.loseReplies},
		{"latency", s.slow},
		{"handlers fail", s.failHandlers},
		{"server killed", s.server.Restart},
		{"server frozen", s.freezeServer},
		{"out of memory", s.fill},
		{groupDestroyed, s.destroy},
	}
	kind := kinds[s.rand.IntN(len(kinds))]
	s.history = append(s.history, event{time.Now(), kind.name})
	kind.harm()
	s.counts[kind.name]++
}

// mortal chooses one of the workers that faults happen to. It starts them again
// that have ended by themselves, as a supervisor does: a process that cannot
// reach the server when it starts ends.
func (s *soak) mortal() int {
	for i, w := range s.mortals {
		if !w.ended() {
			continue
		}
		s.check(w.unreached(), "a worker ended by itself: %s", tail(w.log.String()))
		s.counts["worker did not reach the server at its start"]++
		s.mortals[i] = s.worker(s.cfg)
	}
	return s.rand.IntN(len(s.mortals))
}

// unreached tells whether a worker ended because it did not reach the server
// when it started.
func (w *worker) unreached() bool {
	log := w.log.String()
	return w.cmd.ProcessState.ExitCode() == 1 && (!strings.Contains(log, "msg=counts") || strings.Contains(log, "{Handled:0 "))
}

func (s *soak) kill() {
	i := s.mortal()
	s.mortals[i].kill()
	s.mortals[i] = s.worker(s.cfg)
}

func (s *soak) terminate() {
	i := s.mortal()
	w := s.mortals[i]
	s.signal(w, syscall.SIGTERM)
	s.until("a worker ends that was told to", 30*time.Second, w.ended)
	s.check(w.cmd.ProcessState.ExitCode() == 0, "a worker that was told to end: exit code %d: %s", w.cmd.ProcessState.ExitCode(), tail(w.log.String()))
	s.mortals[i] = s.worker(s.cfg)
}

func (s *soak) freeze() {
	w := s.mortals[s.mortal()]
	s.signal(w, syscall.SIGSTOP)
	s.pass(s.between(0, 2*s.cfg.Lease))
	s.signal(w, syscall.SIGCONT)
}

// loseReplies cuts off one command in fifty for a while, before or after it
// was done.
func (s *soak) loseReplies() {
	n := 0
	first := s.rand.IntN(50)
	s.proxy.at(func([]string) harm {
		n++
		switch (n + first) % 100 {
		case 0:
			return cutBefore
		case 50:
			return cutAfter
		}
		return none
	})
	s.pass(s.between(time.Second, 3*time.Second))
	s.proxy.at(nil)
}

func (s *soak) slow() {
	latency := s.between(20*time.Millisecond, 200*time.Millisecond)
	s.line.slow(s.trial, latency, 0)
	s.pass(s.between(time.Second, 3*time.Second))
	s.line.heal(s.trial)
}

func (s *soak) failHandlers() {
	s.touch(s.cfg.Down)
	s.pass(s.between(500*time.Millisecond, 3*time.Second))
	s.must(os.Remove(s.cfg.Down))
}

func (s *soak) freezeServer() {
	s.server.Stop()
	s.pass(s.between(500*time.Millisecond, 3*time.Second))
	s.server.Cont()
}

func (s *soak) fill() {
	s.do(s.server, "CONFIG", "SET", "maxmemory", "1")
	s.pass(s.between(500*time.Millisecond, 3*time.Second))
	s.do(s.server, "CONFIG", "SET", "maxmemory", "0")
}

// destroy destroys the group on a stream, whatever it knows that nobody else
// does: entries in dead workers, and in replies that were lost.
func (s *soak) destroy() {
	stream := loadStreams[s.rand.IntN(len(loadStreams))]
	last := s.do(s.server, "XREVRANGE", stream, "+", "-", "COUNT", "1").([]any)[0].([]any)[0].(string)
	s.do(s.server, "XGROUP", "DESTROY", stream, group)
	s.until("a destroyed group has settled again what was there", time.Minute, func() bool {
		for id := range owners(s.server, stream, group) {
			if compareIDs(id, last) <= 0 {
				return false
			}
		}
		return compareIDs(lastDelivered(s.server, stream, group), last) >= 0
	})
}

// mayBeDeadLettered returns how many dead letters an event can have: one, and
// one more for each time that a group was destroyed since, which may have taken
// back that it was settled.
func (s *soak) mayBeDeadLettered(event string) int {
	n := 1
	for _, e := range s.history {
		if e.name == groupDestroyed && e.at.After(s.load.acked[event]) {
			n++
		}
	}
	return n
}

// report prints a line once a minute.
func (s *soak) report() {
	if minute := int(time.Since(s.began).Minutes()); minute > s.minutes {
		s.minutes = minute
		s.load.mu.Lock()
		acked, unknown, failed := len(s.load.acked), len(s.load.unknown), len(s.load.failed)
		s.load.mu.Unlock()
		var now vitals
		if all := s.vitals(); len(all) > 0 {
			now = all[len(all)-1]
		}
		fmt.Fprintf(s.o.Out, "minute %d: %d published, %d unknown, %d refused, %d pending; %d faults; %d goroutines, %.1f MiB\n", minute,
			acked, unknown, failed, pendingCount(s.server, group), sum(s.counts), now.Goroutines, mib(now.Memory))
	}
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// leave stops the mortals, and waits until the one that stays has removed
// those consumers that died.
func (s *soak) leave() {
	for _, w := range s.mortals {
		s.signal(w, syscall.SIGTERM)
	}
	for _, w := range s.mortals {
		s.until("a worker ends that was told to", 30*time.Second, w.ended)
	}
	var left []string
	took := s.until("dead consumers are removed", 10*s.cfg.Lease+3*time.Minute, func() bool {
		left = slices.DeleteFunc(s.consumers(), s.alive)
		return len(left) == 0
	})
	s.note("the last of the dead consumers was removed after %v", took.Round(time.Second))
	var faults []string
	for _, name := range slices.Sorted(maps.Keys(s.counts)) {
		faults = append(faults, fmt.Sprintf("%s %d", name, s.counts[name]))
	}
	s.note("%d faults: %s", sum(s.counts), strings.Join(faults, ", "))
}

// consumers returns the names that the group has on the streams.
func (s *soak) consumers() (names []string) {
	for _, stream := range loadStreams {
		for _, c := range s.do(s.server, "XINFO", "CONSUMERS", stream, group).([]any) {
			names = append(names, field(c.([]any), "name"))
		}
	}
	return names
}

// tellLost says what happened about the time when a lost event was published.
func (s *soak) tellLost(standing standing) {
	done := s.journal.count()
	for id, acked := range s.load.acked {
		if s.lost == 0 || done[id]+standing.deadLetters[id] > 0 || standing.pending[id] || standing.unread[id] {
			continue
		}
		around := ""
		for _, e := range s.history {
			if after := e.at.Sub(acked); after > -10*time.Second && after < 10*time.Second {
				around += fmt.Sprintf("; %+.1fs %s", after.Seconds(), e.name)
			}
		}
		s.check(false, "lost: %s, published at %s%s", id, acked.Format(time.StampMilli), around)
	}
}

// inboxHeld checks that the table has every effect once. An event that was
// dead-lettered may have begun to have its effect.
func (s *soak) inboxHeld() {
	letters := s.standing(s.server, group).deadLetters
	table := s.tableCount(s.cfg.Table)
	for id, n := range table {
		s.check(n == 1, "event %s is in the table %d times", id, n)
	}
	for id := range s.journal.count() {
		s.check(table[id] > 0 || letters[id] > 0, "event %s had an effect and is not in the table", id)
	}
	s.note("%d effects in the table, each once; %d dead letters", len(table), len(letters))
}

// vitals returns what the worker that lives to the end needed while faults
// happened.
func (s *soak) vitals() []vitals {
	end := s.began.Add(s.o.For)
	return slices.DeleteFunc(readVitals(s.file("vitals")), func(v vitals) bool { return v.At.After(end) })
}

// tail returns the end of a log.
func tail(log string) string { return log[max(0, len(log)-2000):] }

// alive tells whether a consumer is one of the workers that run.
func (s *soak) alive(consumer string) bool {
	return slices.ContainsFunc(append(slices.Clone(s.mortals), s.lasting), func(w *worker) bool {
		return !w.ended() && strings.Contains(consumer, fmt.Sprintf("-%d-", w.cmd.Process.Pid))
	})
}
