package inspect

import (
	"context"
	"fmt"
	"slices"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// maxPage bounds a page of entries: nobody reads more at once.
const maxPage = 500

// PageConfig says which page of a stream is meant. Without After and Before it
// is the newest.
type PageConfig struct {
	Stream string
	After  string // only entries with greater ids, the ones next to it
	Before string // only entries with lesser ids, the ones next to it
	Limit  int    // from 1 to 500
}

// Page returns entries of a stream, the newest first.
func (i *Inspector) Page(ctx context.Context, cfg PageConfig) ([]Item, error) {
	entries, err := i.page(ctx, cfg)
	if err != nil {
		return nil, err
	}
	items := make([]Item, len(entries))
	var d wire.Decoder
	for n := range entries {
		envelope, refusal := d.Decode(&entries[n])
		items[n] = Item{Envelope: envelope}
		if refusal != nil {
			items[n].Refusal = &Refusal{Reason: string(refusal.Reason), Detail: detail(refusal)}
		}
	}
	return items, nil
}

func (i *Inspector) page(ctx context.Context, cfg PageConfig) ([]wire.Entry, error) {
	limit := min(max(cfg.Limit, 1), maxPage)
	if cfg.After != "" {
		after, err := wire.ParseID(cfg.After)
		if err != nil {
			return nil, fmt.Errorf("page of %s: %w", cfg.Stream, err)
		}
		entries, err := i.client.Range(ctx, cfg.Stream, after, limit)
		slices.Reverse(entries)
		return entries, err
	}
	before := wire.ID{}
	if cfg.Before != "" {
		var err error
		if before, err = wire.ParseID(cfg.Before); err != nil {
			return nil, fmt.Errorf("page of %s: %w", cfg.Stream, err)
		}
	}
	return i.client.RangeBefore(ctx, cfg.Stream, before, limit)
}

// DeadLetterPage returns dead letters of one stream and group, the oldest
// first: those whose own ids are greater than after, "" for the first. It reads
// no more than the page.
func (i *Inspector) DeadLetterPage(ctx context.Context, stream, group, after string, limit int) ([]*DeadLetter, error) {
	from := wire.ID{}
	if after != "" {
		var err error
		if from, err = wire.ParseID(after); err != nil {
			return nil, fmt.Errorf("dead letters of %s of group %s: %w", stream, group, err)
		}
	}
	entries, err := i.client.Range(ctx, redisstream.DeadLetterKey(stream, group), from, min(max(limit, 1), maxPage))
	if err != nil {
		return nil, err
	}
	letters := make([]*DeadLetter, len(entries))
	for n, entry := range entries {
		letters[n] = readDeadLetter(entry)
	}
	return letters, nil
}

// DeadLetterByID returns the dead letter of a stream and group that has this
// id of its own, and nil when there is none.
func (i *Inspector) DeadLetterByID(ctx context.Context, stream, group, id string) (*DeadLetter, error) {
	own, err := wire.ParseID(id)
	if err != nil {
		return nil, fmt.Errorf("dead letter of %s of group %s: %w", stream, group, err)
	}
	entries, err := i.client.Range(ctx, redisstream.DeadLetterKey(stream, group), own.Prev(), 1)
	if err != nil || len(entries) == 0 || entries[0].ID != own {
		return nil, err
	}
	return readDeadLetter(entries[0]), nil
}

// DeadLetterCounts returns how many dead letters there are, by stream and
// group, sorted. It costs one look over the keys and one command for each
// pair.
func (i *Inspector) DeadLetterCounts(ctx context.Context) ([]DeadLetterCount, error) {
	keys, err := i.client.DeadLetterKeys(ctx)
	if err != nil {
		return nil, err
	}
	lengths, err := i.client.Lengths(ctx, keys)
	if err != nil {
		return nil, err
	}
	counts := make([]DeadLetterCount, 0, len(keys))
	for n, key := range keys {
		if lengths[n] > 0 {
			stream, group, _ := redisstream.SplitDeadLetterKey(key)
			counts = append(counts, DeadLetterCount{stream, group, lengths[n]})
		}
	}
	return counts, nil
}

// DeadLetterCount is how many dead letters of a stream a group has.
type DeadLetterCount struct {
	Stream, Group string
	Count         int64
}

// Entry returns the entry of a stream that has this id, and nil when there is
// none.
func (i *Inspector) Entry(ctx context.Context, stream, id string) (*Item, error) {
	at, err := wire.ParseID(id)
	if err != nil {
		return nil, fmt.Errorf("entry of %s: %w", stream, err)
	}
	if at == (wire.ID{}) {
		return nil, nil // no entry can have it
	}
	items, err := i.Page(ctx, PageConfig{Stream: stream, After: at.Prev().String(), Limit: 1})
	if err != nil || len(items) == 0 || items[0].Envelope.ID != at.String() {
		return nil, err
	}
	return &items[0], nil
}
