package inspect

import (
	"context"
	"slices"
	"time"

	"github.com/freshet/freshet/events"
)

// abandonedAfter is how long the consumers of a group may be silent.
const abandonedAfter = 5 * time.Minute

// Abandoned is a group that nobody is seen to work for.
type Abandoned struct {
	GroupRef

	// Silent is for how long no consumer has been seen; 0: there is none, or the
	// group is not on the stream. Before Redis 7.2 one that waits is silent, too,
	// for as long as nothing comes.
	Silent time.Duration
}

// Abandoned returns those of the groups that nobody is seen to work for: a group
// that is not on its stream, or has had no live consumer on any for some
// minutes. One of which that cannot be told is none of them.
func (i *Inspector) Abandoned(ctx context.Context, refs []GroupRef) (abandoned []Abandoned, err error) {
	if len(refs) == 0 {
		return nil, nil
	}
	patterns := events.Streams() // a consumer may have been seen on another stream only
	for _, r := range refs {
		patterns = append(patterns, r.Stream)
	}
	s, err := i.Snapshot(ctx, SnapshotConfig{Patterns: patterns, LiveWithin: abandonedAfter})
	if err != nil {
		return nil, err
	}
	members := map[string]membership{}
	for _, stream := range s.Streams {
		for _, g := range stream.Groups {
			m := members[g.Name]
			members[g.Name] = membership{g.Name, append(m.on, g)}
		}
	}
	for _, r := range refs {
		n := slices.IndexFunc(s.Streams, func(s Stream) bool { return s.Key == r.Stream })
		if n < 0 && !slices.Contains(s.Missing, r.Stream) || n >= 0 && s.Streams[n].GroupsUnknown != "" {
			continue
		}
		m := members[r.Group]
		there := slices.ContainsFunc(m.on, func(g Group) bool { return g.Stream == r.Stream })
		switch seen, ever := m.lastSeen(); {
		case !there, m.known() && !m.live() && !ever:
			abandoned = append(abandoned, Abandoned{GroupRef: r})
		case m.known() && !m.live():
			abandoned = append(abandoned, Abandoned{r, seen})
		}
	}
	return abandoned, nil
}
