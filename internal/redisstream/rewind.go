package redisstream

import (
	"context"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/wire"
)

// An operator may move a group back ([Client.Rewind]). What its consumers are
// given again then had been settled, and is no loss.

// noticeRewinds looks whether the group was moved back on purpose, when
// entries are handed out that this consumer had settled. The regular looks may
// come later than these.
func (g *Group) noticeRewinds(ctx context.Context, entries []wire.Entry) {
	var names []string
	g.mu.Lock()
	last := ""
	for i := range entries {
		e := &entries[i]
		if _, redriven := g.retried(e.Stream); e.Stream != last && !redriven && g.settledBefore(e) {
			last = e.Stream
			names = append(names, last)
		}
	}
	g.mu.Unlock()
	if len(names) == 0 {
		return
	}
	cmds := make([]rueidis.Completed, len(names))
	for i, name := range names {
		cmds[i] = g.c.rc.B().Hget().Key(StateKey(name, g.cfg.Group)).Field("rewound").Build()
	}
	// The entries are handed out in any case: it must not keep them for long.
	ctx, cancel := context.WithTimeoutCause(ctx, 500*time.Millisecond, errNoAnswer)
	defer cancel()
	for i, reply := range g.c.doMulti(ctx, cmds...) {
		if text, err := reply.ToString(); err == nil {
			g.noteRewind(names[i], text)
		}
	}
}

// noteRewind takes up where the group was moved back to, once.
func (g *Group) noteRewind(stream, rewound string) {
	place, _, _ := strings.Cut(rewound, " ")
	to, err := wire.ParseID(place)
	g.mu.Lock()
	s := g.streams[stream]
	news := err == nil && s != nil && s.rewound != rewound
	if news {
		s.rewound = rewound
		if to.Compare(s.floor) < 0 {
			s.floor = to
		}
		if news = to.Compare(s.delivered) < 0; news {
			s.delivered = to
		}
	}
	g.mu.Unlock()
	if news {
		g.log.Warn("group was moved back by an operator; entries are delivered again", "stream", stream, "group", g.cfg.Group, "behind", to.String())
	}
}
