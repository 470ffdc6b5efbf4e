package inspect

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

const (
	searchPage   = 200     // entries looked at in one step: the server does nothing else meanwhile
	searchLimit  = 100_000 // of one stream, where nobody says
	hintBefore   = time.Minute
	hintAfter    = 10 * time.Minute
	searchAtOnce = 20 // streams
)

// FindConfig says where events are looked for, and how far.
type FindConfig struct {
	Patterns []string  // keys or Redis globs; default all streams of the suite
	Limit    int64     // most entries to look at of each stream; default 100,000
	Since    time.Time // by entry ids; zero: no bound
	Until    time.Time // by entry ids; zero: no bound
}

// Search is the outcome of looking for events.
type Search struct {
	Found    []Item    // in the order of their ids, then of their streams
	Stopped  []Stopped // streams that were not looked at as far as asked for
	Problems []Problem // streams that could not be looked at
}

// Stopped is where the search of a stream ended at its limit: entries before
// ID were not looked at.
type Stopped struct{ Stream, ID string }

// FindEvents returns the entries that id may mean: an entry's id, "stream/id",
// or the id that the event has whatever stream it is on: its identity, its
// eventId, messageId or acknowledgmentId.
//
// An entry's id is looked up directly. Another one is searched for on the
// server, first about the time that it tells, where it tells one, then from
// the newest entry back to the limit.
func (i *Inspector) FindEvents(ctx context.Context, id string, cfg FindConfig) (*Search, error) {
	if id == "" {
		return nil, errors.New("find event: an id is required")
	}
	if stream, entry, ok := splitRef(id); ok {
		found, err := i.lookUp(ctx, []string{stream}, entry)
		if err != nil || len(found.Found) > 0 || len(cfg.Patterns) == 0 {
			return found, err // such an identity is that entry's
		}
	}
	streams, err := i.client.Keys(ctx, patternsOr(cfg.Patterns))
	if err != nil {
		return nil, fmt.Errorf("find event: %w", err)
	}
	if entry, err := wire.ParseID(id); err == nil && strings.Contains(id, "-") {
		return i.lookUp(ctx, streams, entry)
	}
	s := &searcher{Inspector: i, text: needle(id), is: func(e *events.Envelope) bool { return isCalled(e, id) }}
	if at, ok := timeHint(id); ok {
		near := cfg
		near.Since, near.Until = at.Add(-hintBefore), at.Add(hintAfter)
		search, err := s.run(ctx, streams, near)
		if err != nil || len(search.Found) > 0 {
			return search, err
		}
	}
	return s.run(ctx, streams, cfg)
}

func patternsOr(patterns []string) []string {
	if len(patterns) == 0 {
		return events.Streams()
	}
	return patterns
}

// splitRef parts "stream/ms-seq".
func splitRef(id string) (stream string, entry wire.ID, ok bool) {
	slash := strings.LastIndexByte(id, '/')
	if slash <= 0 {
		return "", wire.ID{}, false
	}
	entry, err := wire.ParseID(id[slash+1:])
	return id[:slash], entry, err == nil
}

// lookUp asks each of the streams for one entry.
func (i *Inspector) lookUp(ctx context.Context, streams []string, id wire.ID) (*Search, error) {
	search := &Search{}
	refs := make([]wire.Ref, len(streams))
	for n, s := range streams {
		refs[n] = wire.Ref{Stream: s, ID: id}
	}
	for n, answer := range i.client.Entries(ctx, refs) {
		switch {
		case redisstream.ClassOf(answer.Err) == redisstream.Unreachable, ctx.Err() != nil:
			return nil, fmt.Errorf("entry %s of %s: %w", id, streams[n], answer.Err)
		case answer.Err != nil:
			search.Problems = append(search.Problems, Problem{Stream: streams[n], Part: "entries", Err: answer.Err})
		case answer.Value != nil:
			search.Found = append(search.Found, itemOf(answer.Value))
		}
	}
	return search, nil
}

func itemOf(entry *wire.Entry) Item {
	var d wire.Decoder
	envelope, refusal := d.Decode(entry)
	item := Item{Envelope: envelope}
	if refusal != nil {
		item.Refusal = &Refusal{Reason: string(refusal.Reason), Detail: detail(refusal)}
	}
	return item
}

// searcher looks for entries that have a text, and asks of each whether it is
// meant.
type searcher struct {
	*Inspector
	text string
	is   func(*events.Envelope) bool
	read func(*wire.Entry) Item // default [itemOf]
}

// run searches streams from the newest entry on, some of them at a time.
func (s *searcher) run(ctx context.Context, streams []string, cfg FindConfig) (*Search, error) {
	search := &Search{}
	from, to := leastID(cfg.Until, wire.ID{Ms: ^uint64(0), Seq: ^uint64(0)}), leastID(cfg.Since, wire.ID{})
	if !cfg.Until.IsZero() {
		from.Seq = ^uint64(0)
	}
	if from.Compare(to) < 0 {
		return search, nil
	}
	limit := cmp.Or(cfg.Limit, searchLimit)
	for part := range slices.Chunk(streams, searchAtOnce) {
		searches := make([]redisstream.Search, len(part))
		for n, stream := range part {
			searches[n] = redisstream.Search{Stream: stream, From: from, To: to, Text: s.text}
		}
		for looked := int64(0); len(searches) > 0; {
			page := int(min(searchPage, limit-looked))
			answers := s.client.SearchPages(ctx, searches, page)
			looked += int64(page)
			var err error
			if searches, err = s.take(ctx, search, searches, answers, page, looked >= limit); err != nil {
				return nil, err
			}
		}
	}
	sortItems(search.Found)
	return search, nil
}

// take notes what a step has found, and returns the searches that go on.
func (s *searcher) take(ctx context.Context, search *Search, searches []redisstream.Search, answers []redisstream.Result[redisstream.SearchPage], page int, end bool) ([]redisstream.Search, error) {
	var further []redisstream.Search
	var refs []wire.Ref
	for n, answer := range answers {
		next := searches[n]
		switch {
		case redisstream.ClassOf(answer.Err) == redisstream.Unreachable, ctx.Err() != nil:
			return nil, fmt.Errorf("search %s: %w", next.Stream, cmp.Or(answer.Err, context.Cause(ctx)))
		case answer.Err != nil:
			search.Problems = append(search.Problems, Problem{Stream: next.Stream, Part: "entries", Err: answer.Err})
			continue
		}
		for _, id := range answer.Value.Found {
			refs = append(refs, wire.Ref{Stream: next.Stream, ID: id})
		}
		next.From = answer.Value.Last.Prev()
		switch {
		case answer.Value.Looked < int64(page), answer.Value.Last.Compare(next.To) <= 0:
		case end:
			search.Stopped = append(search.Stopped, Stopped{next.Stream, answer.Value.Last.String()})
		default:
			further = append(further, next)
		}
	}
	for n, answer := range s.client.Entries(ctx, refs) {
		if answer.Err != nil {
			return nil, fmt.Errorf("entry %s: %w", refs[n], answer.Err)
		}
		if answer.Value == nil {
			continue // trimmed meanwhile
		}
		read := itemOf
		if s.read != nil {
			read = s.read
		}
		if item := read(answer.Value); s.is(item.Envelope) {
			search.Found = append(search.Found, item)
		}
	}
	return further, nil
}

func sortItems(items []Item) {
	slices.SortStableFunc(items, func(a, b Item) int {
		x, _ := wire.ParseID(a.Envelope.ID)
		y, _ := wire.ParseID(b.Envelope.ID)
		return cmp.Or(x.Compare(y), cmp.Compare(a.Envelope.Stream, b.Envelope.Stream))
	})
}

// leastID is the least id of a time, or none where that is zero.
func leastID(t time.Time, none wire.ID) wire.ID {
	if t.IsZero() {
		return none
	}
	return wire.ID{Ms: uint64(max(t.UnixMilli(), 0))}
}

var plain = regexp.MustCompile(`[A-Za-z0-9_.:-]+`)

// needle is a part of an id that looks the same in every form of JSON.
func needle(id string) string {
	longest := ""
	for _, run := range plain.FindAllString(id, -1) {
		if len(run) > len(longest) {
			longest = run
		}
	}
	return longest
}

var dated = regexp.MustCompile(`^[a-z]+_(\d{13})(?:_|$)`)

// timeHint reads the time of which an id is made, as "evt_1735987200000_a1" and
// UUIDs of version 7 are.
func timeHint(id string) (time.Time, bool) {
	if m := dated.FindStringSubmatch(id); m != nil {
		ms, err := strconv.ParseInt(m[1], 10, 64)
		return time.UnixMilli(ms), err == nil
	}
	for _, word := range strings.Split(id, "_") {
		digits := strings.ReplaceAll(word, "-", "")
		if len(digits) != 32 || digits[12] != '7' {
			continue
		}
		if b, err := hex.DecodeString(digits[:12]); err == nil {
			ms := int64(0)
			for _, octet := range b {
				ms = ms<<8 | int64(octet)
			}
			return time.UnixMilli(ms), true
		}
	}
	return time.Time{}, false
}
