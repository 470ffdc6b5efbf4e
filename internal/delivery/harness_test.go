package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// attempt is one call of the handler for an event.
type attempt struct {
	ref     wire.Ref
	entity  string
	kind    string
	attempt int
	call    int // number of the call
	batch   int // size of its batch; 0 without
	at      time.Time
}

// recorder is a handler that notes what it is given, and the rules it must
// never see broken.
type recorder struct {
	t    *testing.T
	do   func(ctx context.Context, m *Message) error // nil: succeed
	mu   sync.Mutex
	all  []attempt
	busy map[string]int
	most int // calls at once
	now  int
	made int // calls
}

func newRecorder(t *testing.T, do func(ctx context.Context, m *Message) error) *recorder {
	return &recorder{t: t, do: do, busy: map[string]int{}}
}

func (r *recorder) enter(m *Message, call, batch int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entity := m.Envelope.Entity.ID
	r.all = append(r.all, attempt{m.Entry.Ref(), entity, m.Envelope.WireType, m.Attempt, call, batch, time.Now()})
	if entity != "" {
		if r.busy[entity]++; r.busy[entity] > 1 && batch == 0 {
			r.t.Errorf("two events of %s at once", entity)
		}
	}
}

func (r *recorder) leave(m *Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.busy[m.Envelope.Entity.ID]--
}

func (r *recorder) begin() (call int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now++
	r.most = max(r.most, r.now)
	r.made++
	return r.made
}

func (r *recorder) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now--
}

func (r *recorder) handle(ctx context.Context, m *Message) error {
	call := r.begin()
	defer r.end()
	r.enter(m, call, 0)
	defer r.leave(m)
	if r.do == nil {
		return nil
	}
	return r.do(ctx, m)
}

func (r *recorder) handleBatch(ctx context.Context, ms []*Message) error {
	call := r.begin()
	defer r.end()
	for _, m := range ms {
		r.enter(m, call, len(ms))
		defer r.leave(m)
	}
	for _, m := range ms {
		if r.do == nil {
			continue
		}
		if err := r.do(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func (r *recorder) attempts() []attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// of returns the attempts at one entry.
func (r *recorder) of(ref wire.Ref) []attempt {
	return slices.DeleteFunc(r.attempts(), func(a attempt) bool { return a.ref != ref })
}

// config is a configuration that tests change where they need to. Kind
// "batch" goes to the batch route, "skip" is ignored, "other" filtered,
// "unknown" dead-lettered, and everything else handled singly.
func config(c *client, r *recorder) Config {
	single := &Route{Name: "single", Handle: r.handle}
	batch := &Route{Name: "batch", HandleBatch: r.handleBatch, BatchSize: 10, BatchWait: 5 * time.Millisecond}
	return Config{
		Transport: c,
		Decode:    decode,
		Route: func(env *events.Envelope) (*Route, Disposition) {
			switch {
			case strings.HasPrefix(env.WireType, "batch"):
				return batch, Handle
			case env.WireType == "skip":
				return nil, Ignore
			case env.WireType == "other":
				return nil, Filter
			case env.WireType == "unknown":
				return nil, DeadLetterUnknown
			}
			return single, Handle
		},
		Concurrency:     4,
		MaxInFlight:     100,
		MaxAttempts:     5,
		HandlerTimeout:  20 * time.Second,
		Lease:           30 * time.Second,
		BackoffMin:      100 * time.Millisecond,
		BackoffMax:      10 * time.Second,
		Block:           time.Second,
		DrainTimeout:    25 * time.Second,
		OutageThreshold: 10,
	}
}

// consumer is an engine under test, within a synctest bubble.
type consumer struct {
	t      *testing.T
	engine *Engine
	stop   context.CancelFunc
	result chan error
}

func start(t *testing.T, cfg Config) *consumer {
	t.Helper()
	e, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	r := &consumer{t, e, stop, make(chan error, 1)}
	go func() { r.result <- e.Run(ctx) }()
	return r
}

// wait returns Run's error, after at most a long time of the bubble.
func (r *consumer) wait() error {
	r.t.Helper()
	select {
	case err := <-r.result:
		return err
	case <-time.After(time.Hour):
		r.t.Fatal("Run did not return")
		return nil
	}
}

// drainCleanly stops the engine and fails the test when that left anything.
func (r *consumer) drainCleanly() {
	r.t.Helper()
	r.stop()
	if err := r.wait(); err != nil {
		r.t.Errorf("Run: %v", err)
	}
}

// settleAll runs an engine until all there is has been settled.
func settleAll(t *testing.T, cfg Config) *Engine {
	t.Helper()
	cfg.StopWhenDrained = true
	r := start(t, cfg)
	if err := r.wait(); err != nil {
		t.Errorf("Run: %v", err)
	}
	r.stop()
	return r.engine
}

// bubble runs a test in virtual time. It fails when goroutines are left.
func bubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

func pass(d time.Duration) {
	time.Sleep(d) // virtual
	synctest.Wait()
}

// observer notes what an engine tells it.
type observer struct {
	mu      sync.Mutex
	settled []Settlement
	retried []time.Duration
	paused  []time.Duration
	resumed int
	refuse  func(Settlement) error
}

func (o *observer) Settled(_ context.Context, s Settlement) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.refuse != nil {
		if err := o.refuse(s); err != nil {
			return err
		}
	}
	o.settled = append(o.settled, s)
	return nil
}

func (o *observer) Retried(_ *Message, _ error, after time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.retried = append(o.retried, after)
}

func (o *observer) Paused(_ error, wait time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.paused = append(o.paused, wait)
}

func (o *observer) Resumed() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.resumed++
}

func (o *observer) outcomes() map[Outcome]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := map[Outcome]int{}
	for _, s := range o.settled {
		n[s.Outcome]++
	}
	return n
}

func entity(i int) string { return fmt.Sprintf("e%d", i) }
