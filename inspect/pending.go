package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// MaxPending bounds a page of pending entries.
const MaxPending = 1000

// PendingConfig says which page of a group's pending entries is meant.
type PendingConfig struct {
	Stream, Group string
	Consumer      string // only what it holds; default all
	After         string // only entries with greater ids; default from the first
	Limit         int    // from 1 to MaxPending; default 100
}

// Validate reports the first value that is wrong.
func (c PendingConfig) Validate() error {
	if c.Limit < 0 || c.Limit > MaxPending {
		return fmt.Errorf("limit must be from 1 to %d", MaxPending)
	}
	if _, err := wire.ParseID(cmp.Or(c.After, "0")); err != nil {
		return fmt.Errorf("after: %w", err)
	}
	return nil
}

// PendingEntry was delivered to a consumer and is not acknowledged.
type PendingEntry struct {
	Stream, Group, ID string
	Consumer          string        // that holds it
	Idle              time.Duration // since it was last delivered, or its consumer said that it is at work on it
	Deliveries        int64
	At                time.Time // when it was published, by its id
	Trimmed           bool      // it was removed from the beginning of the stream: nobody can handle it
}

// ErrNoGroup is the error of a group, or of a stream, that does not exist.
var ErrNoGroup = errors.New("no such group")

// Pending returns a page of a group's pending entries, by id, in work that is
// that of the page. Fewer than the limit are the last.
func (i *Inspector) Pending(ctx context.Context, cfg PendingConfig) ([]PendingEntry, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("pending entries: %w", err)
	}
	after, err := wire.ParseID(cmp.Or(cfg.After, "0"))
	if err != nil {
		return nil, err
	}
	ref := redisstream.GroupRef{Stream: cfg.Stream, Group: cfg.Group}
	page := i.client.PendingPages(ctx, []redisstream.PendingPage{{
		GroupRef: ref, Consumer: cfg.Consumer, After: after, Count: int64(cmp.Or(cfg.Limit, 100)),
	}})[0]
	if page.Err == nil && len(page.Value) == 0 {
		return nil, nil
	}
	var first wire.ID
	if page.Err == nil {
		ids := i.client.IDsAfter(ctx, []redisstream.Position{{Stream: cfg.Stream}}, 1)[0]
		if page.Err = ids.Err; len(ids.Value.IDs) > 0 {
			first = ids.Value.IDs[0]
		}
	}
	switch {
	case redisstream.ClassOf(page.Err) == redisstream.NoGroup:
		return nil, fmt.Errorf("pending entries of group %s on %s: %w", cfg.Group, cfg.Stream, ErrNoGroup)
	case page.Err != nil:
		return nil, fmt.Errorf("pending entries of group %s on %s: %w", cfg.Group, cfg.Stream, page.Err)
	}
	ahead, _, err := i.client.Clock(ctx)
	if err != nil {
		return nil, err
	}
	now := time.Now().Add(ahead).Round(0).UTC()
	entries := make([]PendingEntry, len(page.Value))
	for n, p := range page.Value {
		entries[n] = pendingEntry(ref, p, now)
		entries[n].Trimmed = trimmed(p.ID, first)
	}
	return entries, nil
}

func pendingEntry(g redisstream.GroupRef, p redisstream.PendingInfo, now time.Time) PendingEntry {
	return PendingEntry{
		Stream: g.Stream, Group: g.Group, ID: p.ID.String(), Consumer: p.Consumer, Idle: p.Idle, Deliveries: p.Deliveries,
		At: timeAt(p.ID, now),
	}
}

// trimmed tells whether an entry has gone from a stream that begins with first,
// zero where there is no entry.
func trimmed(id, first wire.ID) bool { return first == wire.ID{} || id.Compare(first) < 0 }
