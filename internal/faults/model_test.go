//go:build model

package faults

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/repair"
)

const (
	modelSteps    = 40 // of a case
	modelLanes    = 8  // cases at a time, for most of their time is waiting
	modelAttempts = 3
	modelLease    = 200 * time.Millisecond
	modelGroup    = "model"
)

// The model: consumers of a group on a real server, to which everything
// happens that may happen, in any order. FRESHET_MODEL_STEPS says how much of
// it. What must hold at all times, and when all is quiet, is in
// model_check_test.go.
func TestModel(t *testing.T) {
	steps := 1000
	if text := os.Getenv("FRESHET_MODEL_STEPS"); text != "" {
		var err error
		if steps, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	// A case that failed tells its story. It need not fail again with the same
	// choices, so it is not made smaller.
	for name, value := range map[string]string{"rapid.checks": strconv.Itoa(max(1, steps/modelSteps/modelLanes)), "rapid.shrinktime": "0s"} {
		was := flag.Lookup(name).Value.String()
		flag.Set(name, value)
		t.Cleanup(func() { flag.Set(name, was) })
	}
	var lanes sync.WaitGroup
	for n := range modelLanes {
		l := newLane(t)
		lanes.Go(func() {
			defer l.dying.Wait()
			rapid.Check(&laneT{T: t, n: n}, l.check)
		})
	}
	lanes.Wait()
}

// laneT is the test of one lane, which goes on when another has failed. Of
// subtests only as many run at a time as there are processors.
type laneT struct {
	*testing.T
	n      int
	failed bool
}

func (t *laneT) Name() string { return fmt.Sprintf("%s_%d", t.T.Name(), t.n) }
func (t *laneT) Failed() bool { return t.failed }
func (t *laneT) FailNow()     { runtime.Goexit() }

func (t *laneT) Errorf(format string, args ...any) {
	t.failed = true
	t.T.Errorf(format, args...)
}

// lane is a server, and connections to it, for one case after the other.
type lane struct {
	addr      string
	server    *redistest.Conn
	watched   *redistest.Conn // by way of a proxy, as a consumer's calls
	bus       *freshet.Bus
	inspector *inspect.Inspector
	repairer  *repair.Repairer
	dying     sync.WaitGroup // consumers that have crashed
}

func newLane(t *testing.T) *lane {
	server := redistest.Start(t)
	tr := &trial{}
	t.Cleanup(func() { endOf(tr) })
	l := &lane{addr: server.Addr()}
	cfg := freshet.Config{URL: server.URL(), PublishTimeout: time.Minute, Log: slog.New(slog.DiscardHandler)}
	var err error
	if l.server, err = redistest.Dial(l.addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.server.Close)
	if l.watched, err = redistest.Dial(tr.proxy(l.addr).listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.watched.Close)
	if l.bus, err = freshet.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.bus.Close)
	if l.inspector, err = inspect.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.inspector.Close)
	if l.repairer, err = repair.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.repairer.Close)
	return l
}

func endOf(tr *trial) {
	for _, end := range slices.Backward(tr.ends) {
		end()
	}
}

func (l *lane) check(t *rapid.T) {
	l.server.Do("FLUSHALL")
	m := &model{T: t, lane: l, began: time.Now()}
	defer m.end()
	defer m.watch()()
	actions := map[string]func(){
		"crash":         m.crash,
		"cut":           m.cut,
		"delete stream": m.deleteStream,
		"destroy group": m.destroy,
		"publish":       m.publish,
		"publish more":  m.publish, // twice as often as the others
		"redrive":       m.redrive,
		"start":         m.start,
		"stop":          m.stop,
		"trim":          m.trim,
		"wait":          func() { m.quiet() },
	}
	names := slices.Sorted(maps.Keys(actions))
	for range modelSteps {
		name := rapid.SampledFrom(names).Draw(t, "action")
		m.tell("%s", name)
		actions[name]()
		m.sound()
	}
	m.quiet()
	for len(m.living()) > 0 {
		m.stop()
	}
}

// model is one case: what was done, and what is known of each event.
type model struct {
	*rapid.T
	*lane

	began     time.Time
	consumers []*modelConsumer // all that there were

	mu        sync.Mutex
	events    []*modelEvent
	broken    []string // what did not hold, as the handlers saw it
	late      []string // the same, unless leases ran out
	story     strings.Builder
	stalled   bool // leases may have run out since all was quiet, for want of processor time
	frozen    bool // calls may have been given up for that, at some time
	muddled   bool // a group or a stream is gone, and not all is quiet again
	upheavals int  // how often that has been
}

// modelConsumer is a consumer with a way to the server of its own, so that it
// can be cut off.
type modelConsumer struct {
	*freshet.Consumer
	app    string // its connections' name at the server
	proxy  *proxy
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // of Run
	dead   chan struct{}

	// What follows is under the model's lock.

	gone   bool // stopped, or dead
	stuck  stuck
	cut    string                 // replies to its reads that were lost
	orders map[string]*modelOrder // by entity
}

// stuck says where a consumer's handlers wait for its death.
type stuck int

const (
	free stuck = iota
	beforeEffect
	afterEffect
)

// modelEvent is what is known of an event.
type modelEvent struct {
	n              int
	stream, id, of string // id of the entry; entity
	kind           string
	calls          int // since a redrive gave it its attempts; not those in an upheaval
	failed         bool
	done           int // effects
	hindered       bool
	gone           bool // its stream was deleted when it was not settled, or it was trimmed
	trimmed        bool
	redriven       bool
	mended         bool
	by             []*modelConsumer // whom it was given to
	again          bool             // it may have come again after an upheaval
}

// kinds of events, the first more often.
var modelKinds = []string{"good", "good", "good", "flaky", "failing", "permanent", "undecodable"}

// watch looks whether time stands still, here or at the server, for long enough
// to endanger a lease.
func (m *model) watch() (stop func()) {
	var watching sync.WaitGroup
	over := make(chan struct{})
	watching.Go(func() {
		tick := time.NewTicker(modelLease / 20)
		defer tick.Stop()
		for last := time.Now(); ; last = time.Now() {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			m.watched.Do("PING")
			took := time.Since(last)
			m.mu.Lock()
			m.stalled = m.stalled || took > modelLease/4
			m.frozen = m.frozen || took > time.Second
			m.mu.Unlock()
		}
	})
	return func() {
		close(over)
		watching.Wait()
	}
}

// end stops all consumers, however the case ended.
func (m *model) end() {
	for _, c := range m.living() {
		m.kill(c)
	}
}

// streams returns the streams that the group reads.
func (m *model) streams() (keys []string) {
	for _, key := range m.server.Do("KEYS", "*").([]any) {
		if key := key.(string); slices.Contains(loadStreams, key) || strings.HasSuffix(key, "}:retry:"+modelGroup) {
			keys = append(keys, key)
		}
	}
	return keys
}
