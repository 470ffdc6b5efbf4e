package redisstream

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// Dead letters are redriven to {<stream>}:retry:<group>, which the group reads
// beside the stream itself. An entry there is a copy of the original, followed
// by freshet-stream and freshet-id; once settled it is deleted.

// retried returns the stream of which name is the group's stream of retries.
func (g *Group) retried(name string) (stream string, ok bool) {
	rest, braced := strings.CutPrefix(name, "{")
	stream, ours := strings.CutSuffix(rest, "}:retry:"+g.cfg.Group)
	return stream, braced && ours
}

// SplitRetryKey undoes [RetryKey].
func SplitRetryKey(key string) (ref GroupRef, ok bool) {
	rest, braced := strings.CutPrefix(key, "{")
	stream, group, marked := strings.Cut(rest, "}:retry:")
	return GroupRef{stream, group}, braced && marked && stream != "" && group != ""
}

// RetriedGroups returns the groups that have a stream of retries, whether they
// exist or not, sorted.
func (c *Client) RetriedGroups(ctx context.Context) ([]GroupRef, error) {
	found := map[GroupRef]bool{}
	err := c.eachKey(ctx, "{*}:retry:*", "stream", func(key string) {
		if ref, ok := SplitRetryKey(key); ok {
			found[ref] = true
		}
	})
	if err != nil {
		return nil, fmt.Errorf("scan for what was redriven: %w", err)
	}
	refs := slices.Collect(maps.Keys(found))
	slices.SortFunc(refs, func(a, b GroupRef) int {
		return cmp.Or(strings.Compare(a.Stream, b.Stream), strings.Compare(a.Group, b.Group))
	})
	return refs, nil
}

// resolveRetries looks for streams of retries that are not subscribed yet.
// Most streams never have one, so none is created before there is something
// to read.
func (g *Group) resolveRetries(ctx context.Context) error {
	var names []string
	var cmds []rueidis.Completed
	for _, stream := range g.Streams() {
		if _, is := g.retried(stream); is {
			continue
		}
		if name := RetryKey(stream, g.cfg.Group); !g.subscribed(name) {
			names = append(names, name)
			cmds = append(cmds, g.c.rc.B().Exists().Key(name).Build())
		}
	}
	if len(names) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, silence, errNoAnswer)
	defer cancel()
	var found []string
	for i, reply := range g.c.doMulti(ctx, cmds...) {
		n, err := reply.AsInt64()
		if err != nil {
			return fmt.Errorf("look for %s: %w", names[i], err)
		}
		if n > 0 {
			found = append(found, names[i])
		}
	}
	return g.join(ctx, found, "0")
}

// resolveRetriesOf looks for more streams of retries when some of the entries
// came from one. Redriven entries of one entity may be on several, the older
// ones on one that did not exist at the last look: it must be known before
// these are passed on.
func (g *Group) resolveRetriesOf(ctx context.Context, entries []wire.Entry) error {
	if !slices.ContainsFunc(entries, func(e wire.Entry) bool { _, is := g.retried(e.Stream); return is }) {
		return nil
	}
	err := g.resolveRetries(ctx)
	if err != nil {
		g.mu.Lock()
		g.resolveNext = time.Time{} // before anything else is read
		g.mu.Unlock()
	}
	return err
}

// original returns what an entry is a copy of, when it was redriven, and else
// the entry as it is.
func (g *Group) original(e wire.Entry) (stream, id string, fields []events.Field) {
	stream, is := g.retried(e.Stream)
	if !is {
		return e.Stream, e.ID.String(), e.Fields.List()
	}
	fields = e.Fields.List()
	at := len(fields) - 2
	if at < 0 || fields[at].Name != "freshet-stream" || fields[at+1].Name != "freshet-id" {
		return stream, e.ID.String(), fields // not ours to interpret
	}
	return stream, fields[at+1].Value, fields[:at]
}
