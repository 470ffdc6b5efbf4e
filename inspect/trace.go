package inspect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// TraceEvents returns the events that have a correlation id, on all streams.
func (i *Inspector) TraceEvents(ctx context.Context, correlationID string, cfg FindConfig) (*Search, error) {
	if correlationID == "" {
		return nil, errors.New("trace: a correlation id is required")
	}
	streams, err := i.client.Keys(ctx, patternsOr(cfg.Patterns))
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	s := &searcher{Inspector: i, text: needle(correlationID), is: func(e *events.Envelope) bool { return e.CorrelationID == correlationID }}
	return s.run(ctx, streams, cfg)
}

// State is what has become of an entry in a group.
type State string

// The states. A group's dead letters outlive the entry, and an entry may be
// redriven after it was dead-lettered: the latest of what can be seen counts.
const (
	Unread       State = "unread"        // not delivered to the group yet
	Pending      State = "pending"       // delivered to a consumer, and not settled
	Redriven     State = "redriven"      // given back to the group, waiting for a consumer
	Retrying     State = "retrying"      // given back to the group, and delivered to a consumer
	DeadLettered State = "dead_lettered" // the group could not handle it
	Settled      State = "settled"       // handled, ignored or filtered; or the group began behind it
	Trimmed      State = "trimmed"       // it has gone from the stream before the group had settled it
)

// Way is what has become of an entry in one group.
type Way struct {
	Group      string
	State      State
	Consumer   string        // that has it, or failed; "" where there is none
	Idle       time.Duration // since it was delivered last, where it is pending
	Deliveries int64         // where it is pending
	Letter     *DeadLetter   // where it is dead-lettered

	// Partly tells that the group has more dead letters or redriven entries
	// than were looked at: it may be one of them.
	Partly bool
}

// Ways follows entries through the groups of their streams: for each entry, in
// the order given, its groups by name. What cannot be looked at is a problem.
func (i *Inspector) Ways(ctx context.Context, items []Item, limit int64) ([][]Way, []Problem, error) {
	w := &wayfinder{Inspector: i, limit: cmp.Or(limit, searchLimit), groups: map[string][]redisstream.GroupInfo{}}
	if err := w.look(ctx, items); err != nil {
		return nil, nil, err
	}
	ways := make([][]Way, len(items))
	for n, item := range items {
		all, err := w.ways(ctx, item)
		if err != nil {
			return nil, nil, err
		}
		ways[n] = all
	}
	return ways, w.problems, nil
}

type wayfinder struct {
	*Inspector
	limit    int64
	groups   map[string][]redisstream.GroupInfo // by stream
	problems []Problem
}

// look asks for the groups of all streams at once.
func (w *wayfinder) look(ctx context.Context, items []Item) error {
	var streams []string
	for _, item := range items {
		streams = append(streams, item.Envelope.Stream)
	}
	slices.Sort(streams)
	streams = slices.Compact(streams)
	for n, answer := range w.client.GroupInfos(ctx, streams) {
		switch {
		case redisstream.ClassOf(answer.Err) == redisstream.Unreachable, ctx.Err() != nil:
			return fmt.Errorf("groups of %s: %w", streams[n], cmp.Or(answer.Err, context.Cause(ctx)))
		case redisstream.ClassOf(answer.Err) == redisstream.NoGroup: // the stream has gone
		case answer.Err != nil:
			w.problems = append(w.problems, Problem{Stream: streams[n], Part: "groups", Err: answer.Err})
		default:
			slices.SortFunc(answer.Value, func(a, b redisstream.GroupInfo) int { return cmp.Compare(a.Name, b.Name) })
			w.groups[streams[n]] = answer.Value
		}
	}
	return nil
}

func (w *wayfinder) ways(ctx context.Context, item Item) ([]Way, error) {
	stream := item.Envelope.Stream
	id, err := wire.ParseID(item.Envelope.ID)
	if err != nil {
		return nil, err
	}
	groups := slices.Clone(w.groups[stream])
	for _, name := range item.RedrivenTo { // also to groups that are not there
		if !slices.ContainsFunc(groups, func(g redisstream.GroupInfo) bool { return g.Name == name }) {
			groups = append(groups, redisstream.GroupInfo{Name: name})
		}
	}
	refs := make([]redisstream.GroupRef, len(groups))
	ids := make([]wire.ID, len(groups))
	for n, g := range groups {
		refs[n], ids[n] = redisstream.GroupRef{Stream: stream, Group: g.Name}, id
	}
	pending := w.client.PendingOf(ctx, refs, ids)
	there := w.client.Entries(ctx, []wire.Ref{{Stream: stream, ID: id}})[0]
	if there.Err != nil {
		return nil, fmt.Errorf("entry %s of %s: %w", id, stream, there.Err)
	}
	ways := make([]Way, 0, len(groups))
	for n, g := range groups {
		redriven := slices.Contains(item.RedrivenTo, g.Name)
		absent := redriven && redisstream.ClassOf(pending[n].Err) == redisstream.NoGroup
		if err := pending[n].Err; err != nil && !absent {
			if redisstream.ClassOf(err) == redisstream.Unreachable || ctx.Err() != nil {
				return nil, fmt.Errorf("pending entries of group %s on %s: %w", g.Name, stream, err)
			}
			w.problems = append(w.problems, Problem{Stream: stream, Group: g.Name, Part: "pending", Err: err})
			continue
		}
		way := Way{Group: g.Name, State: Settled}
		unread := id.Compare(g.LastDelivered) > 0
		switch p := pending[n].Value; {
		case p != nil:
			way.State, way.Consumer, way.Idle, way.Deliveries = Pending, p.Consumer, p.Idle, p.Deliveries
			if there.Value == nil {
				way.State = Trimmed
			}
		case unread && there.Value == nil && !redriven:
			way.State = Trimmed
		case unread && !redriven:
			way.State = Unread
		default:
			if err := w.afterwards(ctx, &way, stream, id); err != nil {
				return nil, err
			}
		}
		ways = append(ways, way)
	}
	return ways, nil
}

// afterwards looks whether an entry that the group has left behind is one of
// its dead letters, or was redriven.
func (w *wayfinder) afterwards(ctx context.Context, way *Way, stream string, id wire.ID) error {
	retry := redisstream.RetryKey(stream, way.Group)
	again, partly, err := w.copyOf(ctx, retry, id)
	if err != nil {
		return err
	}
	way.Partly = partly
	if again != nil {
		way.State = Redriven
		found := w.client.PendingOf(ctx, []redisstream.GroupRef{{Stream: retry, Group: way.Group}}, []wire.ID{again.ID})[0]
		switch {
		case redisstream.ClassOf(found.Err) == redisstream.NoGroup: // nobody has looked there yet
		case found.Err != nil:
			return fmt.Errorf("pending entries of group %s on %s: %w", way.Group, retry, found.Err)
		case found.Value != nil:
			way.State, way.Consumer, way.Idle, way.Deliveries = Retrying, found.Value.Consumer, found.Value.Idle, found.Value.Deliveries
		}
		return nil
	}
	letter, partly, err := w.copyOf(ctx, redisstream.DeadLetterKey(stream, way.Group), id)
	if err != nil {
		return err
	}
	way.Partly = way.Partly || partly
	if letter != nil {
		way.State, way.Letter = DeadLettered, readDeadLetter(*letter)
		way.Consumer = way.Letter.Consumer
	}
	return nil
}

// copyOf finds the newest entry of a stream of dead letters, or of retries,
// that is a copy of id. A copy is younger than what it copies, where ids are
// the server's.
func (w *wayfinder) copyOf(ctx context.Context, key string, id wire.ID) (found *wire.Entry, partly bool, err error) {
	from := wire.ID{Ms: ^uint64(0), Seq: ^uint64(0)}
	search := redisstream.Search{Stream: key, From: from, To: wire.ID{}, Text: id.String()}
	for looked := int64(0); ; looked += searchPage {
		if looked >= w.limit {
			return nil, true, nil
		}
		page := w.client.SearchPages(ctx, []redisstream.Search{search}, searchPage)[0]
		if page.Err != nil {
			return nil, false, fmt.Errorf("search %s: %w", key, page.Err)
		}
		refs := make([]wire.Ref, len(page.Value.Found))
		for n, copied := range page.Value.Found {
			refs[n] = wire.Ref{Stream: key, ID: copied}
		}
		for _, entry := range w.client.Entries(ctx, refs) {
			if entry.Err != nil {
				return nil, false, fmt.Errorf("search %s: %w", key, entry.Err)
			}
			if entry.Value != nil && slices.Contains(entry.Value.Fields.List(), events.Field{Name: "freshet-id", Value: id.String()}) {
				return entry.Value, false, nil
			}
		}
		search.From = page.Value.Last.Prev()
		if page.Value.Looked < searchPage || search.From == (wire.ID{}) {
			return nil, false, nil
		}
	}
}

// Ack is an acknowledgment of an event.
type Ack struct {
	Item
	Status string // processed, failed or timeout
}

// Acknowledgments returns those of an event, the oldest first. They are looked
// for from the entry on, up to the limit; stopped tells that there may be more.
func (i *Inspector) Acknowledgments(ctx context.Context, e *events.Envelope, limit int64) (acks []Ack, stopped bool, err error) {
	from, err := wire.ParseID(e.ID)
	if err != nil {
		return nil, false, err
	}
	stream := events.Acknowledgment{}.Type().Stream
	names := namesOf(e)
	limit = cmp.Or(limit, searchLimit)
	after := wire.ID{Ms: from.Ms}.Prev()
	for looked := int64(0); ; {
		page, err := i.client.Range(ctx, stream, after, searchPage)
		if redisstream.ClassOf(err) == redisstream.WrongType {
			return nil, false, nil
		}
		if err != nil {
			return nil, false, err
		}
		for n := range page {
			item := itemOf(&page[n])
			var ack events.Acknowledgment
			if json.Unmarshal(item.Envelope.Data, &ack) == nil && ack.OriginalEventID != "" && slices.Contains(names, ack.OriginalEventID) {
				acks = append(acks, Ack{item, ack.Status})
			}
		}
		looked += int64(len(page))
		switch {
		case len(page) < searchPage:
			return acks, false, nil
		case looked >= limit:
			return acks, true, nil
		}
		after = page[len(page)-1].ID
	}
}
