package inspect

import (
	"context"
	"fmt"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// FindRedriven returns the events that id may mean, see [Inspector.FindEvents],
// among those that were given to a group alone once more and are not settled:
// as the entries that they were, one for each group. They are there also when
// their stream, or the group, is not. Of the bounds Limit counts.
func (i *Inspector) FindRedriven(ctx context.Context, id string, cfg FindConfig) (*Search, error) {
	refs, err := i.client.RetriedGroups(ctx)
	if redisstream.ClassOf(err) == redisstream.NoPerm {
		return &Search{Problems: []Problem{{Part: "redriven entries", Err: err, Times: 1}}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find event: %w", err)
	}
	var keys []string
	for _, r := range refs {
		if len(cfg.Patterns) == 0 || redisstream.Matches(cfg.Patterns, r.Stream) {
			keys = append(keys, redisstream.RetryKey(r.Stream, r.Group))
		}
	}
	text := id
	if _, entry, ok := splitRef(id); ok {
		text = entry.String()
	}
	s := &searcher{Inspector: i, text: needle(text), read: redrivenItem, is: func(e *events.Envelope) bool {
		return id == e.ID || id == e.Stream+"/"+e.ID || isCalled(e, id)
	}}
	return s.run(ctx, keys, FindConfig{Limit: cfg.Limit})
}

// redrivenItem reads an entry of a stream of retries as the entry that it was.
func redrivenItem(entry *wire.Entry) Item {
	original := *entry
	ref, _ := redisstream.SplitRetryKey(entry.Stream)
	original.Stream = ref.Stream
	fields := entry.Fields.List()
	if at := len(fields) - 2; at >= 0 && fields[at].Name == "freshet-stream" && fields[at+1].Name == "freshet-id" {
		if id, err := wire.ParseID(fields[at+1].Value); err == nil {
			original.ID, original.Fields = id, events.FieldsOf(fields[:at]...)
		}
	}
	item := itemOf(&original)
	item.RedrivenTo = []string{ref.Group}
	return item
}
