package redisstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/wire"
)

var _ delivery.Transport = (*Group)(nil)

// GroupConfig says which group, who in it, and over which streams.
type GroupConfig struct {
	Group    string
	Consumer string   // unique for each process
	Patterns []string // Redis globs over stream keys, resolved again and again
	Explicit []string // stream keys; created where absent
	StartNew bool     // groups that Setup creates begin at the streams' ends, not at their beginnings
	Log      *slog.Logger
}

// How often patterns are resolved again, and keys that were no streams looked
// at again: often where that is quick, as on a small server, at least every
// resolveMax, and never for more than a hundredth of the time.
const (
	resolveMin = time.Second
	resolveMax = 10 * time.Second
)

// Group is one consumer of a group over a set of streams: the engine's
// transport.
//
// It keeps in memory which entries were handed out and not settled, so that
// a group that vanishes can be created again at the right place.
type Group struct {
	c   *Client
	cfg GroupConfig
	log *slog.Logger

	recovering sync.Mutex // held while a lost group is looked for and created
	losses     losses

	mu          sync.Mutex
	streams     map[string]*stream
	names       []string // as Streams returns them; nil after a change
	resolveNext time.Time
	lossesNext  time.Time
	elsewhere   bool // another server was found to answer
	// settledMeanwhile are the entries that were settled while pending ones
	// are being listed, nil otherwise: the lists may still have them.
	settledMeanwhile map[wire.Ref]struct{}
	listing          int             // so many lists
	unread           map[string]bool // streams that were found and cannot be read
}

// stream is what a Group remembers of a stream.
type stream struct {
	wrongType  bool      // set aside: the key holds something else
	joined     bool      // the group on it has this consumer, unless it is another group by now
	floor      wire.ID   // everything up to it was settled by the group at the last look
	alone      bool      // the group had no other consumer then
	madeAgain  time.Time // when the group was last found to be another one
	entered    int64     // how often consumers had entered it then
	pruned     int64     // how many had been removed from it then for having been silent
	delivered  wire.ID   // greatest id handed out
	open       openIDs   // handed out, not settled
	unanswered int       // calls in a row that got no answer
	unsure     bool      // entries may be pending here that were never handed out
	lostAcks   int64     // entries that were settled and handed out again
	rewound    string    // where the group was moved back to last on purpose, and when; see place.lua
	run        string    // the server that answered the last look
	clock      clock     // of its server
}

// NewGroup returns a Group; call Setup before anything else.
func NewGroup(c *Client, cfg GroupConfig) *Group {
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	return &Group{c: c, cfg: cfg, log: log, streams: map[string]*stream{}}
}

// Setup finds the streams and creates the group on each where it is missing,
// and looks what was lost while no consumer was running.
func (g *Group) Setup(ctx context.Context) error {
	start := "0"
	if g.cfg.StartNew {
		start = "$"
	}
	if err := g.resolve(ctx, start); err != nil {
		return err
	}
	g.lookForLossesIfDue(ctx) // before anything is read: some servers forget it then
	return nil
}

// Streams returns the subscribed streams, sorted, without those whose key
// holds something else at the moment. The list is not to be changed.
func (g *Group) Streams() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.names != nil {
		return g.names
	}
	names := make([]string, 0, len(g.streams))
	for name, s := range g.streams {
		if !s.wrongType {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	g.names = names
	return names
}

// resolveIfDue resolves the patterns again when it is time. Streams that
// appeared while running are read from their beginning. It fails when the
// server cannot be reached; what else is wrong does not keep from reading the
// streams that are known.
func (g *Group) resolveIfDue(ctx context.Context) error {
	g.mu.Lock()
	due := !time.Now().Before(g.resolveNext)
	g.mu.Unlock()
	if !due {
		return nil
	}
	start := time.Now()
	switch err := g.resolve(ctx, "0"); {
	case ClassOf(err) == Unreachable:
		return err
	case err != nil && ctx.Err() == nil:
		g.log.Warn("streams could not be looked up; going on with those known", "group", g.cfg.Group, "error", err)
	}
	g.mu.Lock()
	g.resolveNext = time.Now().Add(min(max(100*time.Since(start), resolveMin), resolveMax))
	g.mu.Unlock()
	return nil
}

// resolve looks for streams that are not subscribed yet, and for set-aside
// ones that are streams again, and creates the group on them at start.
func (g *Group) resolve(ctx context.Context, start string) error {
	names, err := g.c.Keys(ctx, append(slices.Clone(g.cfg.Explicit), g.cfg.Patterns...))
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, g.braced)
	err = g.join(ctx, slices.DeleteFunc(names, g.subscribed), start)
	return errors.Join(err, g.resolveRetries(ctx))
}

// braced tells, and logs once, that a key cannot be read in a cluster: the keys
// that go with it are put into its slot by braces of their own.
func (g *Group) braced(name string) bool {
	if !g.c.cluster || !strings.ContainsAny(name, "{}") {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.unread[name] {
		if g.unread == nil {
			g.unread = map[string]bool{}
		}
		g.unread[name] = true
		g.log.Warn("stream is not read: in a cluster its name must have no braces", "stream", name, "group", g.cfg.Group)
	}
	return true
}

// join subscribes streams, and creates the group on them at start.
func (g *Group) join(ctx context.Context, names []string, start string) error {
	if len(names) == 0 {
		return nil
	}
	kept, err := g.kept(ctx, names)
	if err != nil {
		return err
	}
	cmds := make([]rueidis.Completed, len(names))
	for i, name := range names {
		at := start
		switch {
		case kept[i].Known:
			at = kept[i].Settled.String()
		case kept[i].Gone:
			at = "0"
		}
		cmds[i] = g.createGroup(name, at)
	}
	var errs []error
	for i, reply := range g.c.doMulti(ctx, cmds...) {
		err := reply.Error()
		switch {
		case err == nil, rueidis.IsRedisBusyGroup(err):
			g.subscribe(names[i], false)
			if err == nil && (kept[i].Known || kept[i].Gone) {
				g.noteRecreated(names[i], kept[i].Settled)
			}
		case ClassOf(err) == WrongType:
			g.subscribe(names[i], true)
		case g.exists(ctx, names[i]): // refused, for want of memory or a permission, but needless
			g.subscribe(names[i], false)
		default:
			errs = append(errs, fmt.Errorf("create group on %s: %w", names[i], err))
		}
	}
	return errors.Join(append(errs, g.enter(ctx, names))...)
}

// kept returns what is known of the group on streams, should it be gone. It is
// not known where it was never there, or the stream is another one by now.
func (g *Group) kept(ctx context.Context, names []string) ([]Kept, error) {
	refs := make([]GroupRef, len(names))
	for i, name := range names {
		refs[i] = GroupRef{name, g.cfg.Group}
	}
	all, err := g.c.Kept(ctx, refs)
	if ClassOf(err) == NoPerm {
		return make([]Kept, len(names)), nil
	}
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		if !all[i].Known {
			continue
		}
		end, err := g.c.end(ctx, name)
		switch class := ClassOf(err); {
		case err == nil && all[i].Settled.Compare(end) > 0:
			all[i].Known, all[i].Gone, all[i].Settled = false, true, wire.ID{}
		case class == WrongType, class == NoPerm:
			all[i].Known = false
		case err != nil:
			return nil, err
		}
	}
	return all, nil
}

// enter makes this consumer one of the group on streams, before it reads. A
// group that does not have it later is another one; see rejoin. That somebody
// entered is counted beside the group, where it outlives it.
func (g *Group) enter(ctx context.Context, names []string) error {
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !g.subscribed(name) })
	if len(names) == 0 {
		return nil
	}
	cmds := make([]rueidis.Completed, 0, 2*len(names))
	for _, name := range names {
		cmds = append(cmds, g.countEntry(name), g.createConsumer(name))
	}
	// Not given up: it might have its effect after this consumer has left.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), silence, errNoAnswer)
	defer cancel()
	var errs []error
	replies := g.c.doMulti(ctx, cmds...)
	for i, name := range names {
		g.noteEntry(name, replies[2*i])
		switch err := replies[2*i+1].Error(); {
		case err == nil:
			g.setJoined(name, true)
		case ClassOf(err) != NoPerm && ClassOf(err) != OutOfMemory && ClassOf(err) != NoGroup:
			errs = append(errs, fmt.Errorf("join group on %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// countEntry counts that a consumer enters the group on a stream.
func (g *Group) countEntry(stream string) rueidis.Completed {
	return g.c.rc.B().Hincrby().Key(StateKey(stream, g.cfg.Group)).Field("entered").Increment(1).Build()
}

// noteEntry takes the answer to countEntry: where nobody else has entered since
// the last look, the count is as good as looked at again.
func (g *Group) noteEntry(name string, reply rueidis.RedisResult) {
	n, err := reply.AsInt64()
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.streams[name]; s != nil && err == nil && n == s.entered+1 {
		s.entered = n
	}
}

func (g *Group) setJoined(name string, joined bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.streams[name]; s != nil {
		s.joined = joined
	}
}

func (g *Group) createConsumer(stream string) rueidis.Completed {
	return g.c.rc.B().XgroupCreateconsumer().Key(stream).Group(g.cfg.Group).Consumer(g.cfg.Consumer).Build()
}

func (g *Group) createGroup(stream, start string) rueidis.Completed {
	return g.c.rc.B().XgroupCreate().Key(stream).Group(g.cfg.Group).Id(start).Mkstream().Build()
}

func (g *Group) exists(ctx context.Context, stream string) bool {
	_, found, err := g.lastDelivered(ctx, stream)
	return found && err == nil
}

func (g *Group) subscribed(name string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.streams[name]
	return s != nil && !s.wrongType
}

// subscribe adds a stream, or sets it aside, and logs when that is news.
func (g *Group) subscribe(name string, wrongType bool) {
	g.mu.Lock()
	s := g.streams[name]
	if s == nil {
		s = &stream{}
		g.streams[name] = s
	}
	was := s.wrongType
	s.wrongType = wrongType
	g.names = nil
	g.mu.Unlock()
	switch {
	case wrongType && !was:
		g.log.Warn("key is no stream; set aside until it is one", "stream", name, "group", g.cfg.Group)
	case was && !wrongType:
		g.log.Info("key is a stream again", "stream", name, "group", g.cfg.Group)
	}
}

// handedOut remembers entries as unsettled.
func (g *Group) handedOut(entries []wire.Entry) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var s *stream
	for i := range entries {
		e := &entries[i]
		if i == 0 || e.Stream != entries[i-1].Stream { // they come stream by stream
			s = g.streams[e.Stream]
		}
		if s == nil {
			continue
		}
		if _, is := g.settledMeanwhile[e.Ref()]; !is {
			s.open.add(e.ID)
		}
		if e.ID.Compare(s.delivered) > 0 {
			s.delivered = e.ID
		}
	}
}

// settled forgets entries that are settled.
func (g *Group) settled(refs ...wire.Ref) {
	g.mu.Lock()
	if g.settledMeanwhile != nil {
		for _, r := range refs {
			g.settledMeanwhile[r] = struct{}{}
		}
	}
	g.mu.Unlock()
	g.notOurs(refs...)
}

// listPending begins a list of pending entries; the returned function ends it.
func (g *Group) listPending() (end func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.listing++; g.listing == 1 {
		g.settledMeanwhile = map[wire.Ref]struct{}{}
	}
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.listing--; g.listing == 0 {
			g.settledMeanwhile = nil
		}
	}
}

// notOurs forgets entries that are settled, another consumer's now, or gone.
func (g *Group) notOurs(refs ...wire.Ref) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var s *stream
	for i, r := range refs {
		if i == 0 || r.Stream != refs[i-1].Stream {
			s = g.streams[r.Stream]
		}
		if s != nil {
			s.open.remove(r.ID)
		}
	}
}

// cursor returns the id that everything up to has been settled, and the lowest
// id that this consumer has not settled (zero: none). Where nobody else can have
// had entries in hand, that is what this consumer did itself, or found when it
// came; else what was settled at the last look, its own or the one that is kept.
func (g *Group) cursor(name string, k Kept) (cursor, lowest wire.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.streams[name]
	if s == nil {
		return wire.ID{}, wire.ID{}
	}
	lowest = s.open.lowest()
	floor := s.floor
	if k.Known && k.Settled.Compare(floor) > 0 {
		floor = k.Settled
	}
	cursor = s.delivered
	if cursor.Compare(floor) < 0 { // others have been there since
		cursor = floor
	}
	if lowest != (wire.ID{}) {
		cursor = lowest.Prev()
	}
	alone := s.alone && (!k.Known || k.Entered == s.entered)
	if !alone && floor.Compare(cursor) < 0 {
		cursor = floor
	}
	return cursor, lowest
}

// forget drops what is known of a stream that has begun anew.
func (g *Group) forget(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.streams[name]; s != nil {
		s.delivered, s.floor = wire.ID{}, wire.ID{}
		s.open.clear()
	}
}
