package redisstream

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/wire"
)

// Losses counts what a Group found lost since it was made.
type Losses struct {
	Unread    int64 // entries that were trimmed or deleted before the group read them
	Recreated int64 // groups and streams that were gone, and created again
	Acks      int64 // entries that this consumer settled, and was given again
	SetBack   int64 // streams whose newest entries the server lost
}

type losses struct{ unread, recreated, acks, setBack atomic.Int64 }

// Losses returns the counts so far. Each loss was logged when it was found.
func (g *Group) Losses() Losses {
	return Losses{
		Unread:    g.losses.unread.Load(),
		Recreated: g.losses.recreated.Load(),
		Acks:      g.losses.acks.Load(),
		SetBack:   g.losses.setBack.Load(),
	}
}

// How often losses are looked for: within these bounds, for about a hundredth
// of the time.
const (
	lossesMin = time.Second
	lossesMax = 10 * time.Second
)

// lookForLossesIfDue looks for what nobody would notice: streams that were
// trimmed before the group read them, and servers that have forgotten what
// they had handed out. What keeps it from looking keeps nobody from reading.
func (g *Group) lookForLossesIfDue(ctx context.Context) {
	g.mu.Lock()
	due := !time.Now().Before(g.lossesNext)
	g.mu.Unlock()
	if !due || ctx.Err() != nil {
		return
	}
	// Not given up: it might enter the group after this consumer has left.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), silence, errNoAnswer)
	defer cancel()
	start := time.Now()
	if err := g.lookForLosses(ctx); err != nil && ctx.Err() == nil {
		g.log.Debug("losses could not be looked for", "group", g.cfg.Group, "error", err)
	}
	g.mu.Lock()
	g.lossesNext = time.Now().Add(min(max(100*time.Since(start), lossesMin), lossesMax))
	g.mu.Unlock()
}

// lookForLossesSoon has the next look follow the next read that succeeds:
// what has failed may have been a server that comes back without its end.
func (g *Group) lookForLossesSoon() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lossesNext = time.Time{}
}

func (g *Group) lookForLosses(ctx context.Context) error {
	var names []string
	var calls []scriptCall
	for _, name := range g.Streams() {
		if _, is := g.retried(name); is {
			continue // every entry is deleted once it is settled
		}
		names = append(names, name)
		calls = append(calls, scriptCall{[]string{name, StateKey(name, g.cfg.Group)}, []string{g.cfg.Group, g.delivered(name).String(), g.cfg.Consumer}})
	}
	var last error
	for i, reply := range g.c.runAll(ctx, lookScript, calls) {
		look, err := parseLook(reply)
		if err == nil {
			g.noteRewind(names[i], look.rewound)
			if g.noteLook(names[i], look) {
				err = g.moveBack(ctx, names[i], look.at)
			}
		}
		if err != nil && ClassOf(err) != NoGroup {
			last = err
		}
	}
	return last
}

// look is what look.lua returns.
type look struct {
	unread    int64   // lost
	setBack   bool    // the server has lost the stream's newest entries
	end       wire.ID // of the stream
	found     bool    // the group; the others are of it
	at        wire.ID // last delivered
	pending   wire.ID // the lowest; zero: none
	consumers int64
	rewound   string // see stream.rewound
	entered   int64  // how often consumers have entered the group
	run       string // the server that answered; "" where it does not tell
	another   bool   // the group did not have this consumer, which has entered it now
	pruned    int64  // how many consumers were removed from the group for having been silent
}

func parseLook(reply rueidis.RedisResult) (look, error) {
	parts, err := reply.ToArray()
	if err != nil {
		return look{}, err
	}
	if len(parts) != 11 {
		return look{}, fmt.Errorf("script returned %d parts, want 11", len(parts))
	}
	var l look
	var errs [11]error
	l.unread, errs[0] = parts[0].AsInt64()
	back, err := parts[1].AsInt64()
	l.setBack, errs[1] = back == 1, err
	l.end, errs[2] = idOf(parts[2])
	at, err := parts[3].ToString()
	l.found = at != ""
	if l.found && err == nil {
		l.at, err = wire.ParseID(at)
	}
	errs[3] = err
	l.pending, errs[4] = idOf(parts[4])
	l.consumers, errs[5] = parts[5].AsInt64()
	l.rewound, errs[6] = parts[6].ToString()
	l.entered, errs[7] = parts[7].AsInt64()
	l.run, errs[8] = parts[8].ToString()
	another, err := parts[9].AsInt64()
	l.another, errs[9] = another == 1, err
	l.pruned, errs[10] = parts[10].AsInt64()
	return l, errors.Join(errs[:]...)
}

// noteLook counts what was found lost, and remembers what the group had
// settled, for the case that the group vanishes. It tells whether the group is
// another one than at the last look: it does not have this consumer, which was
// not removed for having been silent.
func (g *Group) noteLook(stream string, l look) (another bool) {
	g.mu.Lock()
	s := g.streams[stream] // one that was subscribed once stays
	had := s.delivered
	another = l.another && l.pruned == s.pruned
	if l.another && !another {
		s.open.clear() // it held nothing any more
	}
	s.pruned = l.pruned
	if l.setBack {
		s.delivered = l.end
	}
	if s.run != "" && l.run != "" && s.run != l.run {
		g.elsewhere = true
	}
	s.run = l.run
	if l.another {
		s.joined = true
	}
	if another {
		s.madeAgain = time.Now()
	}
	if l.found {
		// Others that were in it come into a group that was made again at their
		// next look.
		s.alone = l.consumers <= 1 && (s.alone || time.Since(s.madeAgain) > 2*lossesMax)
		s.floor, s.entered = l.at, l.entered
		if l.pending != (wire.ID{}) {
			s.floor = l.pending.Prev()
		}
	}
	g.mu.Unlock()
	if l.unread > 0 {
		g.losses.unread.Add(l.unread)
		g.log.Error("entries were trimmed or deleted before the group read them: lost",
			"stream", stream, "group", g.cfg.Group, "count", l.unread)
	}
	if l.setBack {
		g.losses.setBack.Add(1)
		g.log.Error("the server has lost the stream's newest entries, as by a failover or a power loss; what was published then is gone, or was handled here and is unknown to others",
			"stream", stream, "group", g.cfg.Group, "had", had.String(), "ends_at", l.end.String())
	}
	return another
}

// movedElsewhere tells, once, whether another server answers than before, or the
// same one was started since.
func (g *Group) movedElsewhere() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	was := g.elsewhere
	g.elsewhere = false
	return was
}

// countLostAcks counts those of the entries that were handed out before, and
// settled, as far as this consumer knows: their acknowledgments are lost. It is
// called before the entries are noted.
func (g *Group) countLostAcks(ctx context.Context, entries []wire.Entry) {
	g.noticeRewinds(ctx, entries)
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range entries {
		e := &entries[i]
		if !g.settledBefore(e) {
			continue
		}
		s := g.streams[e.Stream]
		if s.lostAcks++; s.lostAcks == 1 {
			g.log.Warn("entries that were settled are delivered again: the server has lost acknowledgments, or the group was moved back by a command that is none of the project's",
				"stream", e.Stream, "group", g.cfg.Group, "first_id", e.ID.String())
		}
		g.losses.acks.Add(1)
	}
}

// settledBefore tells whether an entry was handed out before and settled, as
// far as this consumer knows. g.mu is held.
func (g *Group) settledBefore(e *wire.Entry) bool {
	s := g.streams[e.Stream]
	if s == nil || s.unsure || e.ID.Compare(s.delivered) > 0 {
		return false
	}
	_, just := g.settledMeanwhile[e.Ref()]
	return !s.open.has(e.ID) && !just
}

// setUnsure says whether entries may be pending with this consumer that it was
// never given, because the reply in which it took them over was lost. Until it
// has listed all that it owns they cannot be told from those it had settled.
func (g *Group) setUnsure(stream string, unsure bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.streams[stream]; s != nil {
		s.unsure = unsure
	}
}
