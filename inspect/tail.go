package inspect

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

const (
	tailPage     = 100              // entries read of one stream at a time
	tailBlock    = 5 * time.Second  // longest wait of one read
	tailResolve  = 10 * time.Second // between looks for new streams
	tailRetryMin = 100 * time.Millisecond
	tailRetryMax = 5 * time.Second
)

// TailConfig says what a tail shows. The zero value shows what is published
// from now on.
type TailConfig struct {
	// Patterns are stream keys or Redis globs ("crm:*"). A stream that
	// appears later is shown from its beginning. Default: [events.Streams].
	Patterns []string

	// From is where to begin: "0" at the beginning, "$" (the default) with
	// what comes, or an entry id with that entry where it exists.
	From string

	Limit     int  // end after so many items; 0: never
	ExitAtEnd bool // end when all that was there at the start has been shown

	// Tenants and Types leave out what is of others. A type is named by the
	// catalogue's name or as it stands on the wire. An entry that does not
	// decode is left out only by what can be read of it.
	Tenants, Types []string
}

// Validate reports the first rule that the configuration breaks.
func (c TailConfig) Validate() error {
	if _, err := parseFrom(c.From); err != nil {
		return err
	}
	if c.Limit < 0 {
		return fmt.Errorf("limit %d: must not be negative", c.Limit)
	}
	return nil
}

// Item is one entry as it was found.
type Item struct {
	Envelope *events.Envelope // as far as it could be read
	Refusal  *Refusal         // nil when the entry decodes

	// RedrivenTo are groups that it was given to alone once more; only
	// [Inspector.FindRedriven] looks for them.
	RedrivenTo []string
}

// Refusal says why an entry does not decode.
type Refusal struct {
	Reason string // one word of a closed set (docs/wire.md)
	Detail string // where and what, without a value: "data: depth 33, at most 32"
}

// Tail calls show with the entries of many streams, merged by id: in the order
// of publishing, as far as ids tell it. It returns nil when ctx ends, and the
// error of show when there is one. A lost connection is waited for.
func (i *Inspector) Tail(ctx context.Context, cfg TailConfig, show func(Item) error) error {
	from, err := parseFrom(cfg.From)
	if err != nil {
		return err
	}
	everything := len(cfg.Patterns) == 0
	if everything {
		cfg.Patterns = events.Streams()
	}
	t := &tail{Inspector: i, cfg: cfg, everything: everything, from: from, show: show, refused: make(map[string]bool)}
	if err := t.run(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// start is where a tail begins. The zero value is the beginning.
type start struct {
	after wire.ID
	new   bool // after what is there
}

func parseFrom(from string) (start, error) {
	switch from {
	case "", "$":
		return start{new: true}, nil
	case "0":
		return start{}, nil
	}
	if id, err := wire.ParseID(from); err == nil {
		return start{after: id.Prev()}, nil
	}
	return start{}, fmt.Errorf(`from %q: must be "0", "$" or an entry id`, from)
}

// source is one stream on its way into the merge.
type source struct {
	stream string
	after  wire.ID      // last entry read
	end    wire.ID      // last entry at the start, where an ExitAtEnd ends
	queue  []wire.Entry // read and not yet shown
	behind bool         // the stream may have more that is there already
	known  wire.ID      // what comes to the stream is after it
}

// tail is one run of [Inspector.Tail].
type tail struct {
	*Inspector
	cfg        TailConfig
	everything bool // no pattern was given
	from       start
	show       func(Item) error

	sources  []*source
	refused  map[string]bool // keys that are no streams, once reported
	resolved time.Time       // when the sources were looked for
	heads    heads
	seen     wire.ID // the greatest id read of any stream
	shown    int
	decoder  wire.Decoder
}

// run shows an entry only when every stream that may have an older one has
// its next entry in the merge.
func (t *tail) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if t.resolved.IsZero() || !t.cfg.ExitAtEnd && time.Since(t.resolved) >= tailResolve {
			if err := t.reconnecting(ctx, t.resolve); err != nil {
				return err
			}
		}
		switch {
		case slices.ContainsFunc(t.sources, t.starved):
			if err := t.read(ctx, 0); err != nil {
				return err
			}
		case len(t.heads) > 0:
			if done, err := t.emit(); done || err != nil {
				return err
			}
		case t.cfg.ExitAtEnd:
			return nil
		default:
			if err := t.read(ctx, min(tailBlock, tailResolve-time.Since(t.resolved))); err != nil {
				return err
			}
		}
	}
	return nil
}

// starved tells whether the merge has to wait for the stream: it has more that
// is there already, or may by now have some that is older than what is next.
func (t *tail) starved(s *source) bool {
	switch {
	case len(s.queue) > 0:
		return false
	case s.behind || t.cfg.ExitAtEnd || len(t.heads) == 0:
		return s.behind
	}
	return s.known.Compare(t.heads[0].queue[0].ID) < 0
}

// resolve looks for streams that the tail does not know yet, and forgets
// those that are gone.
func (t *tail) resolve(ctx context.Context) error {
	keys, err := t.client.Keys(ctx, t.cfg.Patterns)
	if err != nil {
		return err
	}
	known := make(map[string]*source, len(t.sources))
	for _, s := range t.sources {
		known[s.stream] = s
	}
	first := t.resolved.IsZero()
	sources := make([]*source, 0, len(keys))
	for _, key := range keys {
		s := known[key]
		if s == nil {
			if s, err = t.open(ctx, key, first); err != nil {
				return err
			}
		}
		if s != nil {
			sources = append(sources, s)
		}
	}
	if first && len(sources) == 0 && !t.everything {
		t.log.Warn("no stream matches", "patterns", t.cfg.Patterns)
	}
	t.sources, t.resolved = sources, time.Now()
	t.heads = t.heads[:0]
	for _, s := range sources {
		if len(s.queue) > 0 {
			t.heads = append(t.heads, s)
		}
	}
	heap.Init(&t.heads)
	return nil
}

// open returns the source of a stream that was there at the start, or has
// appeared since, and nil for a key that holds something else.
func (t *tail) open(ctx context.Context, stream string, first bool) (*source, error) {
	last, err := t.client.Last(ctx, stream)
	if redisstream.ClassOf(err) == redisstream.WrongType {
		if !t.refused[stream] {
			t.refused[stream] = true
			t.log.Warn("not a stream, left out", "key", stream)
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := &source{stream: stream, after: t.from.after, end: last}
	if t.from.new && first {
		s.after = last
	}
	s.behind = s.after.Compare(last) < 0
	return s, nil
}

// read asks for the next entries of all streams that have none in the merge.
// Where they were looked at at one moment, what they lack is younger than what
// the others have; else it is than what had been read before.
func (t *tail) read(ctx context.Context, block time.Duration) error {
	var asked []*source
	var positions []redisstream.Position
	for _, s := range t.sources {
		if len(s.queue) == 0 && (s.behind || !t.cfg.ExitAtEnd) {
			asked = append(asked, s)
			positions = append(positions, redisstream.Position{Stream: s.stream, After: s.after})
		}
	}
	if len(asked) == 0 {
		return sleep(ctx, block)
	}
	pages := make(map[string][]wire.Entry)
	known := t.seen
	err := t.reconnecting(ctx, func(ctx context.Context) error {
		entries, atOnce, err := t.client.ReadAfter(ctx, positions, tailPage, block)
		for _, e := range entries {
			pages[e.Stream] = append(pages[e.Stream], e)
			t.seen = later(t.seen, e.ID)
		}
		if atOnce {
			known = t.seen
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, s := range asked {
		t.take(s, pages[s.stream], known)
	}
	return nil
}

// take puts a page of a stream into the merge.
func (t *tail) take(s *source, page []wire.Entry, known wire.ID) {
	s.behind = len(page) == tailPage
	s.known = known
	if t.cfg.ExitAtEnd {
		beyond := slices.IndexFunc(page, func(e wire.Entry) bool { return e.ID.Compare(s.end) > 0 })
		if beyond >= 0 {
			page, s.behind = page[:beyond], false
		}
	}
	if len(page) == 0 {
		return
	}
	s.after = page[len(page)-1].ID
	s.known = later(s.known, s.after)
	s.queue = page
	heap.Push(&t.heads, s)
}

func later(a, b wire.ID) wire.ID {
	if a.Compare(b) < 0 {
		return b
	}
	return a
}

// emit shows the oldest entry of the merge, and says when that was the last.
func (t *tail) emit() (done bool, err error) {
	s := t.heads[0]
	entry := s.queue[0]
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		heap.Pop(&t.heads)
	} else {
		heap.Fix(&t.heads, 0)
	}
	envelope, refusal := t.decoder.Decode(&entry)
	item := Item{Envelope: envelope}
	if refusal != nil {
		item.Refusal = &Refusal{Reason: string(refusal.Reason), Detail: detail(refusal)}
	}
	if !t.wanted(item) {
		return false, nil
	}
	if err := t.show(item); err != nil {
		return false, err
	}
	t.shown++
	return t.cfg.Limit > 0 && t.shown == t.cfg.Limit, nil
}

func detail(r *wire.Refusal) string {
	if r.Field == "" || r.Detail == "" {
		return r.Field + r.Detail
	}
	return r.Field + ": " + r.Detail
}

func (t *tail) wanted(i Item) bool {
	unread := func(s string) bool { return i.Refusal != nil && s == "" }
	e := i.Envelope
	if len(t.cfg.Tenants) > 0 && !slices.Contains(t.cfg.Tenants, e.Tenant) && !unread(e.Tenant) {
		return false
	}
	return len(t.cfg.Types) == 0 || unread(e.WireType) ||
		slices.Contains(t.cfg.Types, e.TypeName()) || slices.Contains(t.cfg.Types, e.WireType)
}

// reconnecting repeats what fails because the server cannot be reached.
func (t *tail) reconnecting(ctx context.Context, f func(context.Context) error) error {
	wait := tailRetryMin
	for lost := false; ; wait = min(2*wait, tailRetryMax) {
		err := f(ctx)
		switch {
		case err == nil && lost:
			t.log.Warn("connected again")
			return nil
		case err == nil || ctx.Err() != nil || redisstream.ClassOf(err) != redisstream.Unreachable:
			return err
		case !lost:
			lost = true
			t.log.Warn("connection lost, waiting for it", "error", err)
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// heads is a heap of the sources with entries, by the first entry of each.
type heads []*source

func (h heads) Len() int      { return len(h) }
func (h heads) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *heads) Push(x any)   { *h = append(*h, x.(*source)) }

func (h heads) Less(i, j int) bool {
	a, b := &h[i].queue[0], &h[j].queue[0]
	if c := a.ID.Compare(b.ID); c != 0 {
		return c < 0
	}
	return a.Stream < b.Stream
}

func (h *heads) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
