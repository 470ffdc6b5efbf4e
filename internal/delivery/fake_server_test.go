package delivery

import (
	"context"
	"errors"
	"slices"
	"sync"
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
	entry := wire.Entry{Stream: stream, ID: id, Fields: events.FieldsOf(events.Field{Name: "entity", Value: entity}, events.Field{Name: "kind", Value: kind})}
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

func (c *client) Read(ctx context.Context, streams []string, count int, block time.Duration) (entries []wire.Entry, atOnce bool, err error) {
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
			return nil, false, err
		}
		left := time.Until(deadline)
		if len(entries) > 0 || left <= 0 {
			return entries, true, nil
		}
		select {
		case <-changed:
		case <-time.After(left):
			return nil, true, nil
		case <-ctx.Done():
			return nil, false, ctx.Err()
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
	fields := e.Fields.List()
	env := &events.Envelope{Stream: e.Stream, ID: e.ID.String(), WireType: fields[1].Value, Tenant: "t"}
	if id := fields[0].Value; id != "" {
		env.Entity = events.Entity{Type: "user", ID: id}
	}
	if env.WireType == "bad" {
		return env, &wire.Refusal{Reason: wire.BadJSON, Field: "data"}
	}
	return env, nil
}
