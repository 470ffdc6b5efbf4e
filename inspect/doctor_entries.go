package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

const (
	// Of each stream, so many of the newest entries are read, as far as they are
	// no older than that.
	sampled   = 20
	sampledIn = 24 * time.Hour

	// Dead letters count as new for so long.
	deadLettersIn = time.Hour
)

// entries looks at what is in the streams, at samples of it.
func (x *examination) entries(ctx context.Context) error {
	var errs []error
	for _, s := range x.d.Snapshot.Streams {
		for _, g := range s.Groups {
			errs = append(errs, x.poison(ctx, g), x.deadLetters(ctx, g))
		}
		errs = append(errs, x.sample(ctx, s))
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(errs...)
}

// poison looks at the first page of what is pending: an entry that is tried
// again and again becomes the oldest.
func (x *examination) poison(ctx context.Context, g Group) error {
	limit := x.limits().Attempts
	if limit.of(g.MaxDeliveries) == "" {
		return nil
	}
	page, err := x.Pending(ctx, PendingConfig{Stream: g.Stream, Group: g.Name})
	switch {
	case redisstream.ClassOf(err) == redisstream.NoGroup: // it has gone meanwhile
		return nil
	case err != nil:
		return err
	}
	page = slices.DeleteFunc(page, func(p PendingEntry) bool { return limit.of(p.Deliveries) == "" })
	if len(page) == 0 {
		return nil
	}
	worst := slices.MaxFunc(page, func(a, b PendingEntry) int { return int(max(min(a.Deliveries-b.Deliveries, 1), -1)) })
	size := int64(len(page))
	x.find(Finding{
		Check: "poison", Severity: limit.of(worst.Deliveries), Subject: "group " + on(g), Since: worst.At,
		Summary:  fmt.Sprintf("%s of %s %s tried again and again by %s, one for the %d. time", countOf(size, "entry"), g.Stream, plural(size, "is", "are"), g.Name, worst.Deliveries),
		Evidence: fmt.Sprintf("entry %s is with %s; it was published %s ago", worst.ID, worst.Consumer, span(x.d.At.Sub(worst.At))),
		Advice:   "See what is wrong with it and mend that; a consumer of Freshet dead-letters it after its last attempt (--max-attempts), others may try for ever",
		Command:  x.freshet("events", "get", worst.ID, "--stream", g.Stream),
	})
	return nil
}

func (x *examination) deadLetters(ctx context.Context, g Group) error {
	if g.DeadLetters <= 0 {
		return nil
	}
	limit := x.limits().DeadLetters
	f := Finding{
		Check: "dead_letters", Severity: Info, Subject: "group " + on(g), Since: g.LastDeadAt,
		Summary:  fmt.Sprintf("%s has %s from %s, the newest %s old", g.Name, countOf(g.DeadLetters, "dead letter"), g.Stream, span(x.d.At.Sub(g.LastDeadAt))),
		Evidence: fmt.Sprintf("%s has %d entries", redisstream.DeadLetterKey(g.Stream, g.Name), g.DeadLetters),
		Advice:   "See why, mend the cause, and give them to the group once more: " + x.freshet("dlq", "redrive", "--group", g.Name, "--stream", g.Stream),
		Command:  x.freshet("dlq", "ls", "--group", g.Name, "--stream", g.Stream),
	}
	since := x.d.At.Add(-deadLettersIn)
	if g.LastDeadAt.After(since) {
		key := redisstream.DeadLetterKey(g.Stream, g.Name)
		after := wire.ID{Ms: uint64(max(since.UnixMilli(), 0))}
		reply := x.client.IDsAfter(ctx, []redisstream.Position{{Stream: key, After: after}}, int(limit.Critical))[0]
		if reply.Err != nil {
			return reply.Err
		}
		n := int64(len(reply.Value.IDs))
		f.Severity = worse(Info, limit.of(n))
		more := ""
		if n == limit.Critical {
			more = "at least "
		}
		f.Summary = fmt.Sprintf("%s could not handle %s%s of %s within the last hour, %s in all", g.Name, more, countOf(n, "event"), g.Stream, thousands(g.DeadLetters))
		if n > 0 {
			f.Since = timeAt(reply.Value.IDs[0], x.d.At)
		}
	}
	x.find(f)
	return nil
}

// sample reads the newest entries of a stream. What is wrong with them is wrong
// for every group: it is dead-lettered or ignored by all.
func (x *examination) sample(ctx context.Context, s Stream) error {
	if s.Length <= 0 || s.LastAt.Before(x.d.At.Add(-sampledIn)) || events.BaseStream(s.Key) != s.Key {
		return nil
	}
	page, err := x.Page(ctx, PageConfig{Stream: s.Key, Limit: sampled})
	switch {
	case redisstream.ClassOf(err) == redisstream.NoPerm || redisstream.ClassOf(err) == redisstream.NoGroup:
		return nil // the first is told with the permissions
	case err != nil:
		return err
	}
	refused, unknown := map[string][]Item{}, map[string][]Item{}
	for _, item := range page {
		switch e := item.Envelope; {
		case item.Refusal != nil:
			refused[item.Refusal.Reason] = append(refused[item.Refusal.Reason], item)
		case e.Type == nil:
			unknown[e.WireType] = append(unknown[e.WireType], item)
		}
	}
	for reason, items := range refused {
		newest := items[0]
		x.find(Finding{
			Check: "refused", Severity: Warning, Subject: "stream " + s.Key, Since: itemAt(items[len(items)-1], x.d.At),
			Summary:  fmt.Sprintf("%d of the newest %s of %s do not decode (%s): every group has to dead-letter them", len(items), countOf(int64(len(page)), "entry"), s.Key, reason),
			Evidence: fmt.Sprintf("the newest is %s: %s", newest.Envelope.ID, newest.Refusal.Detail),
			Advice:   "Have the publisher " + publisherOf(newest) + "write what docs/wire.md says",
			Command:  x.freshet("events", "get", newest.Envelope.ID, "--stream", s.Key),
		})
	}
	for typ, items := range unknown {
		newest := items[0]
		advice := "Have the publisher " + publisherOf(newest) + "use a name of the catalogue"
		if near := events.Nearest(typ); near != "" {
			advice += fmt.Sprintf("; the closest is %s", near)
		}
		x.find(Finding{
			Check: "unknown_type", Severity: Warning, Subject: "stream " + s.Key, Since: itemAt(items[len(items)-1], x.d.At),
			Summary:  fmt.Sprintf("%d of the newest %s of %s have the type %q, which no handler can be for: they are settled and ignored", len(items), countOf(int64(len(page)), "entry"), s.Key, typ),
			Evidence: "the newest is " + newest.Envelope.ID,
			Advice:   advice,
			Command:  x.freshet("events", "get", newest.Envelope.ID, "--stream", s.Key),
		})
	}
	return nil
}

// publisherOf names who has published an event, as far as that is said.
func publisherOf(item Item) string {
	if source := item.Envelope.Source; source != "" && len(source) <= 64 {
		return "(" + source + ") "
	}
	return ""
}

func itemAt(item Item, now time.Time) time.Time {
	id, err := wire.ParseID(item.Envelope.ID)
	if err != nil {
		return time.Time{}
	}
	return timeAt(id, now)
}

// notAStream is a key of a stream's name that holds something else.
func (x *examination) notAStream(key string) {
	x.find(Finding{
		Check: "not_a_stream", Severity: Critical, Subject: "stream " + key,
		Summary:  key + " is no stream: nothing can be published to it or consumed from it",
		Evidence: "the server answers WRONGTYPE",
		Advice:   "Find out who wrote it, and move it out of the way",
		Command:  x.redis("", "RENAMENX", key, strings.TrimSuffix(key, ":")+":moved"),
	})
}
