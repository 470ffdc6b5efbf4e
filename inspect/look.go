package inspect

import (
	"cmp"
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
	pendingLooked = 100  // pending entries of a group that a snapshot looks at
	maxConsumers  = 5000 // of a group, whom a snapshot looks at; the server cannot give a page of them
)

// Snapshot looks at streams and their groups. The work is bounded, whatever is
// on the streams and pending: by the number of streams, groups and consumers,
// and CountTo. A part that cannot be looked at is a Problem, and does not hide
// the others. The error says that nothing could be looked at, or that ctx
// ended.
func (i *Inspector) Snapshot(ctx context.Context, cfg SnapshotConfig) (*Snapshot, error) {
	l := look{
		Inspector: i, s: &Snapshot{}, problems: map[string]int{},
		liveWithin: cmp.Or(cfg.LiveWithin, DefaultLiveWithin),
		countTo:    min(cmp.Or(max(cfg.CountTo, 0), 1000), 100_000),
	}
	steps := []func(context.Context) error{l.clock, l.find(cfg.Patterns), l.streams, l.consumers, l.pending, l.unread, l.deadLetters, l.redriven, l.losses}
	if cfg.Absent {
		steps = append(steps, l.absent(patternsOr(cfg.Patterns)))
	}
	for _, step := range steps {
		err := step(ctx)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, fmt.Errorf("look at the streams: %w", err)
		}
	}
	return l.snapshot(), nil
}

// look is the making of a snapshot.
type look struct {
	*Inspector
	liveWithin time.Duration
	countTo    int64

	s        *Snapshot
	problems map[string]int // index by what it is about
	keys     []string
	infos    []*streamLook
	groups   []*groupLook // of all streams
}

type streamLook struct {
	Stream
	info   redisstream.StreamInfo
	known  bool // info
	groups []*groupLook
}

type groupLook struct {
	Group
	of           *streamLook
	info         redisstream.GroupInfo
	gone         bool                     // since the look began
	lowest       *redisstream.PendingInfo // nil: none, or unknown
	pendingError error
	unread       wire.ID // the first; zero: none
	unreadError  error
}

func (g *groupLook) ref() redisstream.GroupRef {
	return redisstream.GroupRef{Stream: g.Stream, Group: g.Name}
}

// problem notes a part that could not be looked at. The same failure of the
// same part is noted once.
func (l *look) problem(part, stream, group string, err error) {
	key := part + "\x00" + err.Error()
	n, known := l.problems[key]
	if !known {
		n = len(l.s.Problems)
		l.problems[key] = n
		l.s.Problems = append(l.s.Problems, Problem{Part: part, Stream: stream, Group: group, Err: err})
	}
	l.s.Problems[n].Times++
}

// failed notes a failure to look at a group. A group that has gone since is
// none.
func (l *look) failed(part string, g *groupLook, err error) bool {
	switch {
	case err == nil:
		return false
	case redisstream.ClassOf(err) == redisstream.NoGroup:
		g.gone = true
	default:
		l.problem(part, g.Stream, g.Name, err)
	}
	return true
}

func (l *look) clock(ctx context.Context) error {
	ahead, _, err := l.client.Clock(ctx)
	if redisstream.ClassOf(err) == redisstream.Unreachable {
		return err
	}
	if err != nil {
		l.problem("clock", "", "", err)
	}
	l.s.At = time.Now().Add(ahead).Round(0).UTC()
	return nil
}

// find resolves the patterns.
func (l *look) find(patterns []string) func(context.Context) error {
	if len(patterns) == 0 {
		patterns = events.Streams()
	}
	return func(ctx context.Context) (err error) {
		l.keys, err = l.client.Keys(ctx, patterns)
		if redisstream.ClassOf(err) != redisstream.NoPerm {
			return err
		}
		l.problem("streams", "", "", err) // what is named is still looked at
		l.keys, err = l.client.Keys(ctx, slices.DeleteFunc(slices.Clone(patterns), redisstream.IsGlob))
		return err
	}
}

func (l *look) streams(ctx context.Context) error {
	infos := l.client.StreamInfos(ctx, l.keys)
	groups := l.client.GroupInfos(ctx, l.keys)
	lengths := l.client.EntryCounts(ctx, l.keys)
	sizes := l.client.MemoryUsage(ctx, l.keys)
	failed := 0
	for n, key := range l.keys {
		info, length, size := infos[n], lengths[n], sizes[n]
		switch redisstream.ClassOf(cmp.Or(length.Err, info.Err)) {
		case redisstream.WrongType:
			l.problem("stream", key, "", cmp.Or(length.Err, info.Err))
			continue
		case redisstream.Unreachable:
			l.problem("stream", key, "", cmp.Or(length.Err, info.Err))
			failed++
			continue
		}
		if errors.Is(info.Err, redisstream.ErrNoStream) || redisstream.ClassOf(groups[n].Err) == redisstream.NoGroup {
			l.s.Missing = append(l.s.Missing, key)
			continue
		}
		s := &streamLook{Stream: Stream{Key: key, Length: length.Value, Bytes: size.Value, Added: -1}}
		switch {
		case info.Err == nil:
			s.read(info.Value, l.s.At)
		case length.Err != nil:
			s.Length = -1
			fallthrough
		default:
			l.problem("stream", key, "", info.Err)
		}
		if size.Err != nil {
			s.Bytes = -1
			l.problem("memory", key, "", size.Err)
		}
		if err := groups[n].Err; err != nil {
			s.GroupsUnknown = reason(err)
			l.problem("groups", key, "", err)
		}
		for _, g := range groups[n].Value {
			s.groups = append(s.groups, &groupLook{of: s, info: g, Group: Group{
				Stream: key, Name: g.Name, LastDelivered: g.LastDelivered.String(), Read: g.Read,
				Pending: g.Pending, Members: g.Consumers, Live: -1, Dead: -1, DeadLetters: -1, Redriven: -1,
			}})
		}
		l.infos = append(l.infos, s)
		l.groups = append(l.groups, s.groups...)
	}
	if failed > 0 && failed == len(l.keys) {
		return l.s.Problems[len(l.s.Problems)-1].Err
	}
	return nil
}

func (s *streamLook) read(info redisstream.StreamInfo, now time.Time) {
	s.info, s.known = info, true
	s.Length, s.Added = info.Length, info.Added
	if info.First != (wire.ID{}) {
		s.FirstID, s.FirstAt = info.First.String(), timeAt(info.First, now)
		s.LastID, s.LastAt = info.Last.String(), timeAt(info.Last, now)
	}
}

func (l *look) consumers(ctx context.Context) error {
	var asked []*groupLook
	var refs []redisstream.GroupRef
	for _, g := range l.groups {
		if g.Members > maxConsumers {
			l.problem("consumers", g.Stream, g.Name, fmt.Errorf("%d consumers are too many to look at: remove those that have gone", g.Members))
			continue
		}
		asked, refs = append(asked, g), append(refs, g.ref())
	}
	for n, reply := range l.client.Consumers(ctx, refs) {
		g := asked[n]
		if l.failed("consumers", g, reply.Err) {
			continue
		}
		g.Consumers = make([]Consumer, len(reply.Value))
		for k, c := range reply.Value {
			g.Consumers[k] = Consumer{Stream: g.Stream, Group: g.Name, Name: c.Name, Pending: c.Pending, Idle: c.Idle}
		}
		slices.SortFunc(g.Consumers, func(a, b Consumer) int { return strings.Compare(a.Name, b.Name) })
	}
	return nil
}

// live tells the consumers that live from those that do not. Before Redis 7.2
// a server does not hear of a consumer that waits. On a stream where there is
// nothing for it to do, it counts that it was heard of on another.
func (l *look) live() {
	type consumer struct{ group, name string }
	heard := map[consumer]time.Duration{} // how long ago, on any stream
	for _, g := range l.groups {
		for _, c := range g.Consumers {
			who := consumer{c.Group, c.Name}
			if idle, known := heard[who]; !known || c.Idle < idle {
				heard[who] = c.Idle
			}
		}
	}
	for _, g := range l.groups {
		if g.Consumers == nil {
			continue
		}
		g.Live, g.Dead = 0, 0
		for k := range g.Consumers {
			c := &g.Consumers[k]
			seen := c.Idle
			if c.Pending == 0 && g.Lag.Within(0) {
				seen = heard[consumer{c.Group, c.Name}]
			}
			if c.Live = seen <= l.liveWithin; c.Live {
				g.Live++
			} else {
				g.Dead++
			}
			if k == 0 || seen < g.LastSeen {
				g.LastSeen = seen
			}
		}
	}
}

func (l *look) pending(ctx context.Context) error {
	var asked []*groupLook
	var pages []redisstream.PendingPage
	for _, g := range l.groups {
		if g.Pending > 0 {
			asked = append(asked, g)
			pages = append(pages, redisstream.PendingPage{GroupRef: g.ref(), Count: pendingLooked})
		}
	}
	for n, reply := range l.client.PendingPages(ctx, pages) {
		g := asked[n]
		if l.failed("pending entries", g, reply.Err) {
			g.pendingError = reply.Err
			g.Redelivered = Count{Unknown: reason(reply.Err)}
			continue
		}
		if len(reply.Value) > 0 {
			g.lowest = &reply.Value[0]
			first := pendingEntry(g.ref(), *g.lowest, l.s.At)
			first.Trimmed = g.of.known && trimmed(g.lowest.ID, g.of.info.First)
			g.OldestPending = &first
		}
		for _, p := range reply.Value {
			if p.Deliveries > 1 {
				g.Redelivered.N++
			}
			g.MaxDeliveries = max(g.MaxDeliveries, p.Deliveries)
		}
		if g.Pending > int64(len(reply.Value)) && len(reply.Value) == pendingLooked {
			g.Redelivered.AtLeast = g.Redelivered.N > 0
			g.Redelivered.Unknown = fmt.Sprintf("only the first %d of the pending entries were looked at", pendingLooked)
		}
	}
	return nil
}

// deadLetters counts what each group could not handle.
func (l *look) deadLetters(ctx context.Context) error {
	l.countDeadLetters(ctx, l.groups)
	return nil
}

func (l *look) countDeadLetters(ctx context.Context, groups []*groupLook) {
	dead := make([]string, len(groups))
	for n, g := range groups {
		dead[n] = redisstream.DeadLetterKey(g.Stream, g.Name)
	}
	var filled []*groupLook
	var keys []string
	for n, reply := range l.client.EntryCounts(ctx, dead) {
		g := groups[n]
		if l.failed("dead letters", g, reply.Err) {
			continue
		}
		if g.DeadLetters = reply.Value; reply.Value > 0 {
			filled, keys = append(filled, g), append(keys, dead[n])
		}
	}
	for n, reply := range l.client.NewestIDs(ctx, keys) {
		if !l.failed("newest dead letter", filled[n], reply.Err) && len(reply.Value.IDs) > 0 {
			filled[n].LastDeadAt = timeAt(reply.Value.IDs[0], l.s.At)
		}
	}
}

// redriven counts what was given to each group alone once more.
func (l *look) redriven(ctx context.Context) error {
	l.countRedriven(ctx, l.groups)
	return nil
}

func (l *look) countRedriven(ctx context.Context, groups []*groupLook) {
	keys := make([]string, len(groups))
	for n, g := range groups {
		keys[n] = redisstream.RetryKey(g.Stream, g.Name)
	}
	var filled []*groupLook
	var from []redisstream.Position
	for n, reply := range l.client.EntryCounts(ctx, keys) {
		g := groups[n]
		if l.failed("redriven entries", g, reply.Err) {
			continue
		}
		if g.Redriven = reply.Value; reply.Value > 0 {
			filled, from = append(filled, g), append(from, redisstream.Position{Stream: keys[n]})
		}
	}
	for n, reply := range l.client.IDsAfter(ctx, from, 1) {
		if !l.failed("oldest redriven entry", filled[n], reply.Err) && len(reply.Value.IDs) > 0 {
			filled[n].RedrivenAt = timeAt(reply.Value.IDs[0], l.s.At)
		}
	}
}

const noSuchGroup = "there is no such group on the stream"

// absent looks for groups that are not on their stream and for which redriven
// entries wait.
func (l *look) absent(patterns []string) func(context.Context) error {
	return func(ctx context.Context) error {
		refs, err := l.client.RetriedGroups(ctx)
		if err != nil {
			if redisstream.ClassOf(err) == redisstream.Unreachable {
				return err
			}
			l.problem("redriven entries of groups that do not exist", "", "", err)
			return nil
		}
		var groups []*groupLook
		for _, r := range refs {
			if redisstream.Matches(patterns, r.Stream) && !l.mayHave(r) {
				groups = append(groups, &groupLook{Group: Group{
					Stream: r.Stream, Name: r.Group, Lag: Count{Unknown: noSuchGroup}, Read: -1, DeadLetters: -1, Redriven: -1,
				}})
			}
		}
		l.countDeadLetters(ctx, groups)
		l.countRedriven(ctx, groups)
		for _, g := range groups {
			if g.Redriven > 0 {
				l.s.Absent = append(l.s.Absent, g.Group)
			}
		}
		return nil
	}
}

// mayHave tells whether a group is on its stream, or that is not known.
func (l *look) mayHave(r redisstream.GroupRef) bool {
	at := slices.IndexFunc(l.infos, func(s *streamLook) bool { return s.Key == r.Stream })
	if at < 0 {
		return !slices.Contains(l.s.Missing, r.Stream) && slices.Contains(l.keys, r.Stream)
	}
	return l.infos[at].GroupsUnknown != "" || slices.ContainsFunc(l.infos[at].groups, func(g *groupLook) bool { return g.Name == r.Group && !g.gone })
}

// losses finds what was removed before a group read it: by the server's
// counts, and by what consumers of the project have found.
func (l *look) losses(ctx context.Context) error {
	refs := make([]redisstream.GroupRef, len(l.groups))
	for n, g := range l.groups {
		refs[n] = g.ref()
		if g.Lag.Known() && g.Read >= 0 && g.of.Added >= 0 {
			g.LostUnread = max(g.of.Added-g.Read-g.Lag.N, 0)
		}
	}
	kept, err := l.client.Kept(ctx, refs)
	if err == nil {
		for n, k := range kept {
			l.groups[n].LostUnread = max(l.groups[n].LostUnread, k.Lost)
		}
		return nil
	}
	for n, g := range l.groups { // the failure of one does not hide the others
		one, err := l.client.Kept(ctx, refs[n:n+1])
		if !l.failed("losses", g, err) {
			g.LostUnread = max(g.LostUnread, one[0].Lost)
		}
		if redisstream.ClassOf(err) == redisstream.Unreachable {
			break
		}
	}
	return nil
}

// snapshot puts the parts together.
func (l *look) snapshot() *Snapshot {
	l.live()
	for _, s := range l.infos {
		for _, g := range s.groups {
			if g.gone {
				continue
			}
			g.settle(l.s.At)
			s.Groups = append(s.Groups, g.Group)
			if hold := g.Oldest; hold != nil && (s.HeldBack == nil || below(hold.ID, s.HeldBack.ID)) {
				s.HeldBack = hold
			}
		}
		slices.SortFunc(s.Groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
		l.s.Streams = append(l.s.Streams, s.Stream)
	}
	return l.s
}

// settle finds the first entry that the group has not settled, by the rule by
// which a trim does.
func (g *groupLook) settle(now time.Time) {
	for _, err := range []error{g.pendingError, g.unreadError} {
		if err != nil {
			g.OldestUnknown = reason(err)
			return
		}
	}
	lowest, pending := g.unread, false
	if g.lowest != nil && (lowest == wire.ID{} || g.lowest.ID.Compare(lowest) <= 0) {
		lowest, pending = g.lowest.ID, true
	}
	if lowest != (wire.ID{}) {
		g.Oldest = &Hold{Group: g.Name, ID: lowest.String(), At: timeAt(lowest, now), Pending: pending}
	}
}

func below(a, b string) bool {
	x, errX := wire.ParseID(a)
	y, errY := wire.ParseID(b)
	return errX == nil && errY == nil && x.Compare(y) < 0
}
