package delivery

import (
	"context"
	"errors"
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

// server is a consumer group over a few streams, in memory.
type server struct {
	mu      sync.Mutex
	streams map[string][]wire.Entry
	cursor  map[string]wire.ID
	pending map[wire.Ref]*pendingEntry
	letters []DeadLetter
	seq     uint64
	changed chan struct{} // closed at the next publish
}

type pendingEntry struct {
	consumer   string
	deliveries int
	delivered  time.Time // idle since
}

func newServer(streams ...string) *server {
	s := &server{
		streams: map[string][]wire.Entry{},
		cursor:  map[string]wire.ID{},
		pending: map[wire.Ref]*pendingEntry{},
		changed: make(chan struct{}),
	}
	for _, name := range streams {
		s.streams[name] = nil
	}
	return s
}

// publish adds an event of the entity; its kind chooses the route.
func (s *server) publish(stream, entity, kind string) wire.Ref {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	return s.add(stream, wire.ID{Ms: s.seq}, entity, kind)
}

func (s *server) add(stream string, id wire.ID, entity, kind string) wire.Ref {
	entry := wire.Entry{Stream: stream, ID: id, Fields: []events.Field{{Name: "entity", Value: entity}, {Name: "kind", Value: kind}}}
	s.streams[stream] = append(s.streams[stream], entry)
	close(s.changed)
	s.changed = make(chan struct{})
	return entry.Ref()
}

// deliver makes entries pending with a consumer, as if it had read them.
func (s *server) deliver(consumer string, deliveries int, refs ...wire.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range refs {
		s.pending[ref] = &pendingEntry{consumer, deliveries, time.Now()}
		if s.cursor[ref.Stream].Compare(ref.ID) < 0 {
			s.cursor[ref.Stream] = ref.ID
		}
	}
}

// trim removes an entry from its stream.
func (s *server) trim(ref wire.Ref) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[ref.Stream] = slices.DeleteFunc(s.streams[ref.Stream], func(e wire.Entry) bool { return e.ID == ref.ID })
}

func (s *server) entry(ref wire.Ref) (wire.Entry, bool) {
	for _, e := range s.streams[ref.Stream] {
		if e.ID == ref.ID {
			return e, true
		}
	}
	return wire.Entry{}, false
}

func (s *server) pendingCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.pending)
}

func (s *server) deliveries(ref wire.Ref) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pending[ref]; p != nil {
		return p.deliveries
	}
	return 0
}

// steal gives a pending entry to another consumer.
func (s *server) steal(ref wire.Ref, consumer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pending[ref].consumer = consumer
	s.pending[ref].delivered = time.Now()
}

func (s *server) reasons() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var reasons []string
	for _, l := range s.letters {
		reasons = append(reasons, l.Reason)
	}
	return reasons
}

// client is the Transport of one consumer of the group.
type client struct {
	*server
	name string

	// fault, when set, is asked before each call by the method's name, and
	// again after it by "lost " and the name: an error replaces the answer.
	fault func(call string) error
	bound int      // entries pending with the consumer at most; 0: any number
	over  bool     // the bound was exceeded
	sent  []string // calls, in order
}

var errNetwork = errors.New("connection reset")

func (c *client) call(ctx context.Context, name string, do func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	c.sent = append(c.sent, name)
	fault := c.fault
	c.mu.Unlock()
	if fault != nil {
		if err := fault(name); err != nil {
			return err
		}
	}
	c.mu.Lock()
	do()
	own := 0
	for _, pe := range c.pending {
		if pe.consumer == c.name {
			own++
		}
	}
	c.over = c.over || c.bound > 0 && own > c.bound
	c.mu.Unlock()
	if fault != nil {
		return fault("lost " + name)
	}
	return nil
}

// sentCount returns how many calls were made.
func (c *client) sentCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sent)
}

// calls returns how often a method was called.
func (c *client) calls(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, s := range c.sent {
		if s == name {
			n++
		}
	}
	return n
}

func (c *client) setFault(f func(call string) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = f
}

func (c *client) Streams() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var names []string
	for name := range c.streams {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c *client) Read(ctx context.Context, streams []string, count int, block time.Duration) (entries []wire.Entry, err error) {
	if count < 1 {
		panic("Read with count 0 reads without bound")
	}
	deadline := time.Now().Add(block)
	for {
		var changed chan struct{}
		err = c.call(ctx, "Read", func() {
			changed = c.changed
			for _, stream := range streams {
				n := 0
				for _, e := range c.streams[stream] {
					if n < count && e.ID.Compare(c.cursor[stream]) > 0 {
						entries = append(entries, e)
						c.pending[e.Ref()] = &pendingEntry{c.name, 1, time.Now()}
						c.cursor[stream] = e.ID
						n++
					}
				}
			}
		})
		if err != nil {
			return nil, err
		}
		left := time.Until(deadline)
		if len(entries) > 0 || left <= 0 {
			return entries, nil
		}
		select {
		case <-changed:
		case <-time.After(left):
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// sorted returns the stream's pending ids after an id.
func (c *client) sorted(stream string, after wire.ID) []wire.Ref {
	var refs []wire.Ref
	for ref := range c.pending {
		if ref.Stream == stream && ref.ID.Compare(after) > 0 {
			refs = append(refs, ref)
		}
	}
	slices.SortFunc(refs, func(a, b wire.Ref) int { return a.ID.Compare(b.ID) })
	return refs
}

func (c *client) page(refs []wire.Ref, count int, want func(*pendingEntry) bool) (p Pending) {
	for i, ref := range refs {
		if len(p.Entries)+len(p.Trimmed) == count {
			p.Next = refs[i-1].ID
			return p
		}
		pe := c.pending[ref]
		if !want(pe) {
			continue
		}
		e, ok := c.entry(ref)
		if !ok {
			delete(c.pending, ref)
			p.Trimmed = append(p.Trimmed, ref)
			continue
		}
		p.Entries = append(p.Entries, e)
		p.Deliveries = append(p.Deliveries, pe.deliveries)
	}
	return p
}

func (c *client) Own(ctx context.Context, stream string, after wire.ID, count int) (p Pending, err error) {
	err = c.call(ctx, "Own", func() {
		p = c.page(c.sorted(stream, after), count, func(pe *pendingEntry) bool { return pe.consumer == c.name })
	})
	if err != nil {
		return Pending{}, err
	}
	return p, nil
}

func (c *client) Reclaim(ctx context.Context, stream string, minIdle time.Duration, cursor wire.ID, count int) (p Pending, err error) {
	err = c.call(ctx, "Reclaim", func() {
		p = c.page(c.sorted(stream, cursor), count, func(pe *pendingEntry) bool {
			if time.Since(pe.delivered) < minIdle {
				return false
			}
			pe.consumer, pe.delivered = c.name, time.Now()
			return true
		})
	})
	if err != nil {
		return Pending{}, err
	}
	return p, nil
}

func (c *client) ifOwned(ctx context.Context, name string, refs []wire.Ref, do func(i int, pe *pendingEntry)) (owned []bool, err error) {
	err = c.call(ctx, name, func() {
		for i, ref := range refs {
			pe := c.pending[ref]
			ok := pe != nil && pe.consumer == c.name
			owned = append(owned, ok)
			if ok {
				do(i, pe)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return owned, nil
}

func (c *client) Begin(ctx context.Context, refs []wire.Ref, attempts []int) ([]bool, error) {
	return c.ifOwned(ctx, "Begin", refs, func(i int, pe *pendingEntry) {
		pe.deliveries, pe.delivered = attempts[i], time.Now()
	})
}

func (c *client) Renew(ctx context.Context, refs []wire.Ref) ([]bool, error) {
	return c.ifOwned(ctx, "Renew", refs, func(_ int, pe *pendingEntry) { pe.delivered = time.Now() })
}

func (c *client) Ack(ctx context.Context, refs []wire.Ref) error {
	return c.call(ctx, "Ack", func() {
		for _, ref := range refs {
			delete(c.pending, ref)
		}
	})
}

func (c *client) Bury(ctx context.Context, letter DeadLetter) (bool, error) {
	owned, err := c.ifOwned(ctx, "Bury", []wire.Ref{letter.Entry.Ref()}, func(_ int, pe *pendingEntry) {
		c.letters = append(c.letters, letter)
		delete(c.pending, letter.Entry.Ref())
	})
	return err == nil && owned[0], err
}

func (c *client) Unsettled(ctx context.Context) (pending int64, unread bool, err error) {
	err = c.call(ctx, "Unsettled", func() {
		pending = int64(len(c.pending))
		for stream, entries := range c.streams {
			if len(entries) > 0 && entries[len(entries)-1].ID.Compare(c.cursor[stream]) > 0 {
				unread = true
			}
		}
	})
	return pending, unread, err
}

// decode reads the fields that publish writes. Kind "bad" is refused; with
// an entity it is known whom it is about.
func decode(e *wire.Entry) (*events.Envelope, *wire.Refusal) {
	env := &events.Envelope{Stream: e.Stream, ID: e.ID.String(), WireType: e.Fields[1].Value, Tenant: "t"}
	if id := e.Fields[0].Value; id != "" {
		env.Entity = events.Entity{Type: "user", ID: id}
	}
	if env.WireType == "bad" {
		return env, &wire.Refusal{Reason: wire.BadJSON, Field: "data"}
	}
	return env, nil
}

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
