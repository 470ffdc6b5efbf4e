package faults

import (
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/freshet/freshet"
)

// What happens to the server.
var outageFaults = []fault{
	{"F6", "the server is killed, appendfsync always", true, func(t *trial) { serverKilled(t, "always") }},
	{"F7", "the server is killed, everysec; then its file is cut", true, func(t *trial) {
		serverKilled(t, "everysec")
		fileCut(t)
	}},
	{"F8", "the server is frozen", true, serverFrozen},
}

func serverKilled(t *trial, fsync string) {
	server := t.redis(durable(fsync)...)
	l := t.load(server.URL())
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group}, nil)
	stop := t.start(l, 500)
	t.steady(&c.journal, 1)
	var kills []kill
	for range scaled(t, 20, 3) {
		t.pass(scaled(t, 3*time.Second, time.Second))
		k := kill{at: time.Now()}
		server.Kill()
		t.pass(t.between(0, time.Second))
		k.over = time.Now()
		kills = append(kills, k)
		server.Restart()
		back := time.Now()
		t.until("consuming and publishing go on", 10*time.Second, func() bool {
			return len(c.journal.since(back)) > 0 && l.ackedSince(back)
		})
		t.recovered("resuming after the server answers", time.Since(back), 5*time.Second)
	}
	stop()
	t.settled(server, group, 60*time.Second)
	c.stop()
	if fsync == "always" {
		t.noneLost(server, group, l, &c.journal)
	} else {
		t.unwritten(t.account(server, group, l, &c.journal), l, &c.journal, kills)
	}
	t.note("%d kills; %d publishes unknown", len(kills), len(l.unknown))
}

// kill is a time in which there was no server.
type kill struct{ at, over time.Time }

// unwritten takes what the server's file did not have at a kill off the row's
// count. With everysec, redis answers without having written while a sync is
// under way in the background, for two seconds at most. So only the newest can
// be missing: those of the last two seconds, and then all that came after them.
func (t *trial) unwritten(s standing, l *load, j *journal, kills []kill) {
	done := j.count()
	l.mu.Lock()
	defer l.mu.Unlock()
	missing, unhandled := 0, 0
	for i, k := range kills {
		var oldest time.Time // that is missing of those before this kill
		var stored []time.Time
		for id, at := range l.acked {
			switch {
			case at.After(k.over) || i > 0 && !at.After(kills[i-1].over):
			case s.stored[id] > 0:
				stored = append(stored, at)
			default:
				missing++
				if done[id] == 0 && s.deadLetters[id] == 0 {
					unhandled++
				}
				if oldest.IsZero() || at.Before(oldest) {
					oldest = at
				}
			}
		}
		if oldest.IsZero() {
			continue
		}
		t.check(k.at.Sub(oldest) <= 2*time.Second, "the file lacks what was acknowledged %v before the kill", k.at.Sub(oldest))
		const answersCross = 20 * time.Millisecond // of publishes at one time
		for _, at := range stored {
			t.check(at.Before(oldest.Add(answersCross)), "the file has an event %v newer than one that it lacks", at.Sub(oldest))
		}
	}
	t.check(t.lost == unhandled, "%d acknowledged events are lost, of which the server forgot %d", t.lost, unhandled)
	t.check(t.published > 0, "nothing was published")
	if missing > 0 {
		t.note("%d acknowledged events were not in the file when the server was killed, %d of them not handled before", missing, unhandled)
	}
	t.lost = 0
}

// fileCut is what a power loss leaves: a file without its end. What was in it
// is lost, which nobody can mend; the account must say so, and only the
// newest events may be missing.
func fileCut(t *trial) {
	server := t.redis(durable("everysec")...)
	l := t.load(server.URL())
	alive := t.consume(server.URL(), freshet.ConsumerConfig{Group: "alive"}, nil)
	l.some(t.ctx, 2000)
	t.settled(server, "alive", 10*time.Second)
	dir := t.do(server, "CONFIG", "GET", "dir").([]any)[1].(string)
	server.Kill()
	files, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
	t.must(err)
	stat, err := os.Stat(files[0])
	t.must(err)
	t.must(os.Truncate(files[0], stat.Size()*9/10))
	server.Restart()
	t.until("a consumer that had the end reports its loss", 10*time.Second, func() bool { return alive.Stats().StreamsSetBack > 0 })
	alive.stop()

	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group}, nil)
	t.settled(server, group, 30*time.Second)
	c.stop()
	before := t.lost
	s := t.account(server, group, l, &c.journal)
	cut := t.lost - before
	t.lost = before
	t.check(cut > 100 && cut < 300, "%d of 2000 events are missing where a tenth was cut off", cut)
	var newest, oldestLost time.Time
	for id, at := range l.acked {
		switch {
		case s.stored[id] > 0 && at.After(newest):
			newest = at
		case s.stored[id] == 0 && (oldestLost.IsZero() || at.Before(oldestLost)):
			oldestLost = at
		}
	}
	t.check(newest.Before(oldestLost), "an event is missing that is older than one that is there")
	t.note("file cut by a tenth, as a power loss may do: the account finds the newest %d of 2000 events lost", cut)
}

func serverFrozen(t *trial) {
	server := t.redis()
	l := t.load(server.URL())
	l.timeout = time.Second
	c := t.consume(server.URL(), freshet.ConsumerConfig{Group: group}, nil)
	stop := t.start(l, 200)
	t.steady(&c.journal, 100)
	atRest := runtime.NumGoroutine()
	server.Stop()
	most := 0
	for end := time.Now().Add(scaled(t, 15*time.Second, 6*time.Second)); time.Now().Before(end); t.pass(50 * time.Millisecond) {
		most = max(most, runtime.NumGoroutine())
	}
	server.Cont()
	back := time.Now()
	t.until("consuming and publishing go on", 10*time.Second, func() bool {
		return len(c.journal.since(back)) > 0 && l.ackedSince(back)
	})
	t.recovered("resuming", time.Since(back), 3*time.Second)
	stop()
	t.check(l.slowest <= l.timeout+500*time.Millisecond, "a publish with a deadline of %v took %v", l.timeout, l.slowest)
	t.check(len(l.unknown) > 0, "no publish was unknown")
	// 200 publishes are under way at most. One that was given up has goroutines
	// until the connection is, which is after three seconds.
	t.check(most < atRest+1500, "%d goroutines, from %d", most, atRest)
	t.until("the goroutines end", 10*time.Second, func() bool { return runtime.NumGoroutine() <= atRest+20 })
	t.settled(server, group, 30*time.Second)
	c.stop()
	t.noneLost(server, group, l, &c.journal)
	t.note("slowest publish %v of %v; %d unknown, %d failed; goroutines %d, at most %d",
		l.slowest.Round(time.Millisecond), l.timeout, len(l.unknown), len(l.failed), atRest, most)
}
