package repair

import (
	"cmp"
	"context"
	"slices"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/connection"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// Repairer is a connection for changes. It is safe for concurrent use.
type Repairer struct{ client *redisstream.Client }

// Open connects and makes sure that the server answers.
func Open(ctx context.Context, cfg freshet.Config) (*Repairer, error) {
	client, err := connection.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Repairer{client}, nil
}

// Close ends the connections.
func (r *Repairer) Close() { r.client.Close() }

// Streams returns the streams that the patterns name, sorted: of Redis globs
// those that exist, without the project's own keys; a plain key stands for
// itself.
func (r *Repairer) Streams(ctx context.Context, patterns []string) ([]string, error) {
	return r.client.Keys(ctx, patterns)
}

// letters are dead letters of one stream and group.
type letters struct {
	stream, group string
	ids           []wire.ID
}

// runs sorts dead letters by the ids of the original entries, over all streams,
// and parts them into runs of one stream and group, each of at most size.
func runs(refs []inspect.DeadLetterRef, size int) ([]letters, error) {
	type letter struct {
		inspect.DeadLetterRef
		id, entry wire.ID
	}
	sorted := make([]letter, len(refs))
	for i, ref := range refs {
		l := letter{DeadLetterRef: ref}
		var err error
		if l.id, err = wire.ParseID(ref.ID); err != nil {
			return nil, err
		}
		if l.entry, err = wire.ParseID(cmp.Or(ref.EntryID, "0")); err != nil {
			return nil, err
		}
		sorted[i] = l
	}
	slices.SortStableFunc(sorted, func(a, b letter) int {
		return cmp.Or(a.entry.Compare(b.entry), cmp.Compare(a.Stream, b.Stream))
	})
	var all []letters
	for _, l := range sorted {
		last := len(all) - 1
		if last < 0 || all[last].stream != l.Stream || all[last].group != l.Group || len(all[last].ids) == size {
			all = append(all, letters{stream: l.Stream, group: l.Group})
			last++
		}
		all[last].ids = append(all[last].ids, l.id)
	}
	return all, nil
}
