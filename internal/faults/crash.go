package faults

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// What happens to the process of a consumer.
var crashFaults = []fault{
	{"F1", "consumers are killed at random under load", true, killedAtRandom},
	{"F2", "killed after the effect, before its acknowledgment", true, killedBeforeAck},
	{"F3", "killed while a dead letter is being stored", true, killedWhileBurying},
	{"F4", "SIGTERM under load", true, terminated},
	{"F5", "frozen for twice its lease, then going on", true, frozenPastItsLease},
}

const group = "faults"

// robust is a worker for trials that kill it often.
func (t *trial) robust(url string, j *journal) workerConfig {
	return workerConfig{
		URL: url, Group: group, Journal: j.path, Table: t.file("effects.db"),
		Lease: 2 * time.Second, HandlerTimeout: 1500 * time.Millisecond,
		BackoffMin: 20 * time.Millisecond, BackoffMax: 200 * time.Millisecond,
		MaxAttempts: 1000, MaxInFlight: 50, Concurrency: 8,
	}
}

func killedAtRandom(t *trial) {
	server := t.redis()
	j := &journal{path: t.file("journal")}
	cfg := t.robust(server.URL(), j)
	l := t.load(server.URL())
	stop := t.start(l, 200)
	workers := make([]*worker, 4)
	for i := range workers {
		workers[i] = t.worker(cfg)
	}
	t.steady(j, 1)
	kills, caught := 0, 0
	for end := time.Now().Add(scaled(t, 60*time.Second, 6*time.Second)); time.Now().Before(end); {
		t.pass(t.between(20*time.Millisecond, 100*time.Millisecond))
		i := t.rand.IntN(len(workers))
		workers[i].kill()
		kills++
		if consumersWithPending(server) > 0 {
			caught++
		}
		workers[i] = t.worker(cfg)
	}
	stop()
	t.recovered("settling after the last kill", t.settled(server, group, 60*time.Second), 60*time.Second)
	t.noneLost(server, group, l, j)
	t.onceEach(cfg.Table, j)
	t.check(t.twice <= kills*cfg.MaxInFlight, "%d effects were repeated by %d kills", t.twice, kills)
	t.check(caught > kills/2, "only %d of %d kills met entries in hand", caught, kills)
	t.note("%d kills; %d effects repeated outside the inbox, 0 in it", kills, t.twice)
}

func killedBeforeAck(t *trial) {
	server := t.redis()
	j := &journal{path: t.file("journal")}
	cfg := t.robust(server.URL(), j)
	l := t.load(server.URL())
	again := 0
	for range scaled(t, 20, 3) {
		l.some(t.ctx, 20)
		mortal := cfg
		mortal.DieAfter, mortal.Concurrency = 1+t.rand.IntN(20), 1 // so that the last effect is the one
		w := t.worker(mortal)
		t.until("the worker kills itself", 20*time.Second, w.ended)
		effects := j.effects()
		victim := effects[len(effects)-1].Identity
		w = t.worker(cfg)
		t.settled(server, group, 20*time.Second)
		w.kill()
		var attempts []int
		for _, r := range j.starts() {
			if r.Identity == victim {
				attempts = append(attempts, r.Attempt)
			}
		}
		if len(attempts) == 2 {
			again++
		}
		t.check(slices.Equal(attempts, []int{1, 2}) || slices.Equal(attempts, []int{2, 3}), "an event whose acknowledgment was lost was attempted as %v", attempts)
	}
	t.noneLost(server, group, l, j)
	t.onceEach(cfg.Table, j)
	t.check(again > 0 && t.twice > 0, "nothing was delivered twice")
}

func killedWhileBurying(t *trial) {
	server := t.redis()
	p := t.proxy(server.Addr())
	j := &journal{path: t.file("journal")}
	cfg := t.robust(p.url(), j)
	cfg.Poison, cfg.PoisonBy = "user-1", byPermanent
	l := t.load(server.URL())

	// Once without harm, so that the server has the script.
	l.some(t.ctx, 4)
	w := t.worker(cfg)
	t.settled(server, group, 20*time.Second)
	w.kill()

	rounds := scaled(t, 30, 4)
	for round := range rounds {
		l.some(t.ctx, 100)
		var struck atomic.Bool
		w := t.unstarted(cfg)
		p.at(func(command []string) harm {
			if !slices.Contains(command, "freshet-reason") || struck.Swap(true) {
				return none
			}
			if round%2 == 0 {
				w.strike()
				return cutBefore
			}
			return cutAfter
		})
		p.watching(func(command []string, _ []byte) {
			if slices.Contains(command, "freshet-reason") {
				w.strike() // at once, before the reply can pass
			}
		})
		t.must(w.start())
		t.until("the worker is killed", 20*time.Second, w.ended)
		t.check(struck.Load(), "killed too early")
		p.at(nil)
		p.watching(nil)
		w = t.worker(cfg)
		t.settled(server, group, 20*time.Second)
		w.kill()
	}
	s := t.noneLost(server, group, l, j)
	letters := len(s.deadLetters)
	t.check(letters >= rounds, "%d dead letters after %d rounds", letters, rounds)
	t.note("%d kills at the script that stores the letter, half of them before it ran; %d letters, none twice", rounds, letters)
}

func terminated(t *trial) {
	server := t.redis()
	j := &journal{path: t.file("journal")}
	const grace = 5 * time.Second
	cfg := t.robust(server.URL(), j)
	cfg.Table = ""
	cfg.Work, cfg.Concurrency, cfg.MaxInFlight, cfg.DrainTimeout = 20*time.Millisecond, 4, 400, grace
	l := t.load(server.URL())
	stop := t.start(l, 300)
	rounds := scaled(t, 50, 4)
	for round := range rounds {
		before := lastDelivered(server, loadStreams[0], group)
		var w *worker
		if round%2 == 0 {
			w = t.worker(cfg)
		} else {
			w = t.process(t.binary(), "run", "--redis", server.URL(), "--allow-no-persistence", "--group", "copy", "--replica", "sqlite://"+t.file("copy.db"), "--drain-timeout", grace.String())
		}
		of := []string{group, "copy"}[round%2]
		t.until("the consumer is at work", 20*time.Second, func() bool {
			return pendingCount(server, of) > 0 && (of == "copy" || lastDelivered(server, loadStreams[0], of) != before)
		})
		t.pass(t.between(0, 300*time.Millisecond))
		t.signal(w, syscall.SIGTERM)
		signalled := time.Now()
		t.pass(time.Second)
		read := lastDelivered(server, loadStreams[0], of)
		t.until("the consumer ends", grace+2*time.Second, w.ended)
		t.recovered("ending", time.Since(signalled), grace+2*time.Second)
		t.check(w.cmd.ProcessState.ExitCode() == 0, "exit code %d: %s", w.cmd.ProcessState.ExitCode(), w.log.String())
		t.check(lastDelivered(server, loadStreams[0], of) == read, "it read on for more than a second")
		n := pendingCount(server, of)
		t.check(n == 0, "round %d: %d entries are left pending", round, n)
	}
	stop()
	w := t.worker(cfg)
	cfg.Work = 0
	more := t.worker(cfg)
	t.settled(server, group, 60*time.Second)
	w.kill()
	more.kill()
	t.noneLost(server, group, l, j)
	t.check(t.twice == 0, "%d effects were repeated", t.twice)
	t.note("%d rounds, half of them freshet run; recovery is the time from SIGTERM to exit", rounds)
}

// binary builds the command freshet.
func (t *trial) binary() string {
	path := t.file("freshet")
	if !exists(path) {
		out, err := exec.Command("go", "build", "-o", path, "github.com/freshet/freshet/cmd/freshet").CombinedOutput()
		if err != nil {
			t.must(fmt.Errorf("build freshet: %w\n%s", err, out))
		}
	}
	return path
}

// frozenPastItsLease: a zombie must take nothing back from the consumer that
// has its entries now.
func frozenPastItsLease(t *trial) {
	server := t.redis()
	j := &journal{path: t.file("journal")}
	p := t.proxy(server.Addr())
	cfg := t.robust(server.URL(), j)
	cfg.Gate = t.file("gate")
	cfg.Lease, cfg.HandlerTimeout = 2*time.Second, time.Second
	l := t.load(server.URL())
	l.entities = 4 // fewer than make an outage
	refused, granted := 0, 0
	for range scaled(t, 5, 1) {
		_ = os.Remove(cfg.Gate)
		l.some(t.ctx, 20)
		zombie := cfg
		zombie.URL = p.url()
		a := t.worker(zombie)
		t.until("the first consumer has all entries", 10*time.Second, func() bool { return pendingCount(server, group) == 20 })
		first := owners(server, loadStreams[0], group)
		t.signal(a, syscall.SIGSTOP)
		b := t.worker(cfg)
		t.until("the second consumer has all entries", 20*time.Second, func() bool {
			for id, owner := range owners(server, loadStreams[0], group) {
				if owner == first[id] {
					return false
				}
			}
			return pendingCount(server, group) == 20
		})
		t.pass(2*cfg.Lease - time.Second)
		second := owners(server, loadStreams[0], group)
		p.watching(func(command []string, reply []byte) {
			if len(command) == 0 || !strings.HasPrefix(command[0], "EVAL") {
				return
			}
			if bytes.HasPrefix(reply, []byte("*")) && bytes.Contains(reply, []byte("\n:1\r\n")) || bytes.Equal(reply, []byte(":1\r\n")) {
				granted++
			} else if bytes.Contains(reply, []byte(":0\r\n")) {
				refused++
			}
		})
		t.signal(a, syscall.SIGCONT)
		t.pass(cfg.Lease)
		for id, owner := range owners(server, loadStreams[0], group) {
			t.check(owner == second[id], "%s went from the second consumer to %s", id, owner)
		}
		p.watching(nil)
		t.check(granted == 0, "%d calls of the zombie were granted", granted)
		t.touch(cfg.Gate)
		t.settled(server, group, 30*time.Second)
		t.until("the zombie says that it lost its lease", time.Second, func() bool { return strings.Contains(a.log.String(), "lease lost") })
		a.kill()
		b.kill()
	}
	t.noneLost(server, group, l, j)
	t.onceEach(cfg.Table, j)
	t.check(refused > 0, "the zombie asked for nothing")
	t.note("%d calls of the zombie for entries of another were refused, 0 granted", refused)
}

// consumersWithPending returns how many consumers of the group hold entries.
func consumersWithPending(server server) (n int) {
	for _, stream := range loadStreams {
		summary, ok := server.Do("XPENDING", stream, group).([]any)
		if ok && summary[0] != int64(0) {
			n += len(summary[3].([]any))
		}
	}
	return n
}
