package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/redistest"
)

// trial is one run of a fault, and what came of it.
type trial struct {
	ctx   context.Context
	quick bool
	dir   string // for files, removed at the end
	rand  *rand.Rand
	ends  []func()

	password   string                 // file with the password of load and consumers; "": they have none
	durability freshet.Durability     // of load
	lettersOf  func(event string) int // dead letters that an event may have; nil: one

	published, lost, twice int
	recovery               time.Duration // 0: the fault has none
	notes, failures        []string
}

// aborted is what a trial that cannot go on panics with.
type aborted struct{}

// guard runs f to its end, or to where it cannot go on.
func (t *trial) guard(f func()) {
	defer func() {
		switch v := recover().(type) {
		case nil, aborted:
		default:
			t.failures = append(t.failures, fmt.Sprintf("panic: %v\n%s", v, debug.Stack()))
		}
	}()
	f()
}

// atEnd runs f when the trial is over; the last added is the first run.
func (t *trial) atEnd(f func()) { t.ends = append(t.ends, f) }

// check notes a promise that did not hold, and goes on.
func (t *trial) check(held bool, format string, args ...any) {
	if !held {
		t.failures = append(t.failures, fmt.Sprintf(format, args...))
	}
}

// note adds a line to the row.
func (t *trial) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// must ends the trial when there is an error.
func (t *trial) must(err error) {
	if err != nil {
		t.check(false, "%v", err)
		panic(aborted{})
	}
}

// recovered notes how long a recovery took and the longest it may take. The
// row shows the slowest.
func (t *trial) recovered(what string, took, atMost time.Duration) {
	t.recovery = max(t.recovery, took)
	t.check(took <= atMost, "%s took %v, may take %v", what, took.Round(time.Millisecond), atMost)
}

// until waits for a condition and returns how long that took. When it takes
// longer than atMost the trial ends.
func (t *trial) until(what string, atMost time.Duration, condition func() bool) time.Duration {
	start := time.Now()
	for !condition() {
		if time.Since(start) > atMost {
			t.must(fmt.Errorf("not within %v: %s", atMost, what))
		}
		t.pass(5 * time.Millisecond)
	}
	return time.Since(start)
}

// pass lets time pass.
func (t *trial) pass(d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.ctx.Done():
		panic(aborted{})
	}
}

// scaled returns full, or quick for a short version.
func scaled[T any](t *trial, full, quick T) T {
	if t.quick {
		return quick
	}
	return full
}

// between returns a duration from lowest to highest.
func (t *trial) between(lowest, highest time.Duration) time.Duration {
	return lowest + time.Duration(t.rand.Int64N(int64(highest-lowest)+1))
}

func (t *trial) file(name string) string { return filepath.Join(t.dir, name) }

// touch creates an empty file, such as one that a worker waits for.
func (t *trial) touch(path string) { t.must(os.WriteFile(path, nil, 0o600)) }

// redis starts a server of the trial's own.
func (t *trial) redis(args ...string) *redistest.Server {
	server, err := redistest.New(args...)
	t.must(err)
	t.atEnd(server.Close)
	return server
}

// durable are a server's arguments for the append-only file.
func durable(fsync string) []string { return []string{"--appendonly", "yes", "--appendfsync", fsync} }

// do sends a command that must succeed.
func (t *trial) do(server server, args ...string) any {
	reply := server.Do(args...)
	if err, failed := reply.(redistest.Error); failed {
		t.must(fmt.Errorf("%s: %w", strings.Join(args, " "), err))
	}
	return reply
}
