package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// ReplayConfig says which entries are sent again. Those that match every list
// which is not empty are meant.
type ReplayConfig struct {
	// Patterns are keys or Redis globs; default all streams of the suite.
	Patterns []string

	Since, Until string // first and last entry id, both included; "" is the beginning and the end of what is there

	Tenants, Types []string // types by the catalogue's name, or as they stand on the wire
	Entities       []string // "id" or "type/id"

	After  Position // go on behind it; the zero value begins at Since
	Rate   float64  // entries a second; 0: as fast as it goes
	DryRun bool     // send nothing, and count

	// Progress may be nil. It is told how far the replay has got, each time that
	// all up to there has been sent; its error ends the replay.
	Progress func(ReplayResult) error
}

// Validate reports the first rule that the configuration breaks.
func (c ReplayConfig) Validate() error {
	_, err := boundsOf(c)
	return err
}

// Position is how far a replay has got: all entries up to this one, in the
// order of ids and then of streams, have been dealt with.
type Position struct {
	ID     string `json:"id"`
	Stream string `json:"stream"`
}

// ReplayResult says what was sent.
type ReplayResult struct {
	Sent       int
	NotDecoded int            // left out: they would be dead letters at once
	NotRead    map[string]int // left out: by stream, entries of streams that the group does not read
	Gone       int            // went from the stream meanwhile
	TooLarge   int            // left out: they have more fields than can be copied
	At         Position
}

// Replay sends entries of many streams, in the order of their ids, once more
// to one group and to no other: under the ids and identities that they have.
// They are copied to where dead letters are redriven to, so the group's
// consumers of this project handle them beside what is published meanwhile.
// Events of one entity keep their order among each other.
//
// After an error, or when ctx ends, a replay that begins behind the last
// position it told sends what is left, and of what was sent at most a hundred
// entries again; it leaves none out.
//
// It is [ErrNoGroup] when the group reads none of the streams.
func (r *Repairer) Replay(ctx context.Context, from *inspect.Inspector, group string, cfg ReplayConfig) (ReplayResult, error) {
	readers := map[string]bool{}
	s := &sender{Repairer: r, group: group, cfg: cfg, pace: newPace(cfg.Rate)}
	s.result.At = cfg.After
	reads := func(stream string) (bool, error) {
		is, known := readers[stream]
		if known {
			return is, nil
		}
		_, err := r.group(ctx, stream, group)
		if err != nil && !errors.Is(err, ErrNoGroup) && !errors.Is(err, ErrNoStream) {
			return false, fmt.Errorf("replay: group %s on %s: %w", group, stream, err)
		}
		readers[stream] = err == nil
		return err == nil, nil
	}
	err := eachReplayed(ctx, from, cfg, func(i inspect.Item) error {
		is, err := reads(i.Envelope.Stream)
		switch {
		case err != nil:
			return err
		case !is:
			if s.result.NotRead == nil {
				s.result.NotRead = map[string]int{}
			}
			s.result.NotRead[i.Envelope.Stream]++
			return nil
		case i.Refusal != nil:
			s.result.NotDecoded++
			return nil
		}
		return s.add(ctx, i.Envelope)
	})
	if err == nil {
		err = s.flush(ctx)
	}
	if err == nil && len(s.result.NotRead) > 0 && !slices.Contains(values(readers), true) {
		err = fmt.Errorf("replay to group %s: %w on any of the streams", group, ErrNoGroup)
	}
	return s.result, err
}

func values(m map[string]bool) (all []bool) {
	for _, v := range m {
		all = append(all, v)
	}
	return all
}

// EachReplayed calls show with the entries that are meant, in the order in
// which they are replayed, and at the rate asked for. It ends with the last one
// that was there when it began, with the first error of show, or with ctx.
func EachReplayed(ctx context.Context, from *inspect.Inspector, cfg ReplayConfig, show func(inspect.Item) error) error {
	pace, shown := newPace(cfg.Rate), 0
	return eachReplayed(ctx, from, cfg, func(i inspect.Item) error {
		if err := pace.wait(ctx, shown); err != nil {
			return err
		}
		shown++
		return show(i)
	})
}

func eachReplayed(ctx context.Context, from *inspect.Inspector, cfg ReplayConfig, show func(inspect.Item) error) error {
	b, err := boundsOf(cfg)
	if err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	tail := inspect.TailConfig{
		Patterns: cfg.Patterns, From: b.from(), ExitAtEnd: true, Tenants: cfg.Tenants, Types: cfg.Types,
	}
	err = from.Tail(ctx, tail, func(i inspect.Item) error {
		e := i.Envelope
		id, err := wire.ParseID(e.ID)
		switch {
		case err != nil:
			return err
		case id.Compare(b.until) > 0:
			return errEnd
		case !b.after.before(id, e.Stream):
			return nil // dealt with
		case !among(cfg.Entities, e.Entity.ID) && !among(cfg.Entities, e.Entity.Type+"/"+e.Entity.ID):
			return nil
		}
		return show(i)
	})
	if errors.Is(err, errEnd) {
		return nil
	}
	return cmp.Or(err, context.Cause(ctx))
}

var errEnd = errors.New("the end of what is replayed")

func among(names []string, name string) bool {
	return len(names) == 0 || slices.Contains(names, name)
}

// bounds are a configuration's, as ids.
type bounds struct {
	since, until wire.ID
	after        place
}

type place struct {
	id     wire.ID
	stream string
}

// before tells whether an entry comes behind the place.
func (p place) before(id wire.ID, stream string) bool {
	return cmp.Or(p.id.Compare(id), cmp.Compare(p.stream, stream)) < 0
}

func boundsOf(cfg ReplayConfig) (b bounds, err error) {
	if b.since, err = wire.ParseID(cmp.Or(cfg.Since, "0")); err != nil {
		return b, fmt.Errorf("since: %w", err)
	}
	if b.until, err = wire.ParseID(cmp.Or(cfg.Until, "18446744073709551615-18446744073709551615")); err != nil {
		return b, fmt.Errorf("until: %w", err)
	}
	if b.after.id, err = wire.ParseID(cmp.Or(cfg.After.ID, "0")); err != nil {
		return b, fmt.Errorf("position: %w", err)
	}
	b.after.stream = cfg.After.Stream
	if b.until.Compare(b.since) < 0 {
		return b, errors.New("until is before since")
	}
	return b, nil
}

// from is where to begin to read.
func (b bounds) from() string {
	first := b.since
	if b.after.id.Compare(first) > 0 {
		first = b.after.id
	}
	if first == (wire.ID{}) {
		return "0"
	}
	return first.String()
}

// sender gathers runs of entries of one stream, and sends each in one step.
type sender struct {
	*Repairer
	group  string
	cfg    ReplayConfig
	pace   pace
	stream string
	ids    []wire.ID
	result ReplayResult
}

func (s *sender) add(ctx context.Context, e *events.Envelope) error {
	id, err := wire.ParseID(e.ID)
	if err != nil {
		return err
	}
	if s.cfg.DryRun {
		s.result.Sent++
		return nil
	}
	if s.stream != e.Stream || len(s.ids) == s.pace.batch() {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.stream = e.Stream
	s.ids = append(s.ids, id)
	return nil
}

// flush sends what has been gathered.
func (s *sender) flush(ctx context.Context) error {
	if len(s.ids) == 0 {
		return nil
	}
	if err := s.pace.wait(ctx, s.result.Sent); err != nil {
		return err
	}
	answers, err := s.client.Replay(ctx, s.stream, s.group, s.ids)
	if err != nil {
		return err
	}
	for _, what := range answers {
		switch what {
		case redisstream.Moved:
			s.result.Sent++
		case redisstream.Gone:
			s.result.Gone++
		case redisstream.Foreign:
			s.result.TooLarge++
		}
	}
	s.result.At = Position{s.ids[len(s.ids)-1].String(), s.stream}
	s.ids = s.ids[:0]
	if s.cfg.Progress != nil {
		return s.cfg.Progress(s.result)
	}
	return nil
}

// Unserved returns those of the streams on which no consumer of the group has
// been seen in the last minutes: what is sent there waits.
func (r *Repairer) Unserved(ctx context.Context, group string, streams []string) (unserved []string, err error) {
	for _, stream := range streams {
		served, err := r.served(ctx, stream, group, unservedAfter)
		if err != nil && redisstream.ClassOf(err) != redisstream.NoGroup {
			return nil, err
		}
		if err == nil && !served {
			unserved = append(unserved, stream)
		}
	}
	return unserved, nil
}
