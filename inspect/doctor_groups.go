package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// snapshot looks at the streams and their groups.
func (x *examination) snapshot(ctx context.Context) error {
	s, err := x.Snapshot(ctx, SnapshotConfig{Patterns: x.cfg.Patterns})
	if err != nil {
		x.d.Snapshot = &Snapshot{At: x.d.At}
		return err
	}
	x.d.At, x.d.Snapshot = s.At, s
	for _, p := range s.Problems {
		switch {
		case redisstream.ClassOf(p.Err) == redisstream.Unreachable:
			return p.Err
		case redisstream.ClassOf(p.Err) == redisstream.WrongType:
			x.notAStream(p.Stream)
		default:
			x.problem(p.Err)
		}
	}
	return nil
}

// membership is a group on all the streams that it is on.
type membership struct {
	name string
	on   []Group
}

func (m membership) live() bool {
	return slices.ContainsFunc(m.on, func(g Group) bool { return g.Live > 0 })
}

// served tells whether it is known who works for the group.
func (m membership) known() bool {
	return !slices.ContainsFunc(m.on, func(g Group) bool { return g.Live < 0 })
}

// groups looks at how the groups are getting on.
func (x *examination) groups(ctx context.Context) error {
	byName := map[string][]Group{}
	for _, s := range x.d.Snapshot.Streams {
		x.streamPending(s)
		for _, g := range s.Groups {
			byName[g.Name] = append(byName[g.Name], g)
			x.unknownLag(g)
			x.groupPending(g)
			x.retention(s, g)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		m := membership{name, byName[name]}
		x.served(m)
		for _, g := range m.on {
			x.consumers(m, g)
		}
	}
	return errors.Join(x.losses(ctx), x.missing(ctx, byName), x.conflicts(ctx, byName))
}

// work is what groups have to do: entries that nobody has, and those that are
// pending.
type work struct {
	Count
	streams int
	oldest  time.Time // when the oldest was published; zero: none, or unknown
}

func workOf(groups ...Group) work {
	var w work
	for _, g := range groups {
		todo := g.Waiting()
		if todo.N == 0 && todo.Known() && g.Oldest == nil {
			continue
		}
		w.N += todo.N
		w.streams++
		if !todo.Known() {
			w.Unknown = todo.Unknown
		}
		if g.Oldest != nil && (w.oldest.IsZero() || g.Oldest.At.Before(w.oldest)) {
			w.oldest = g.Oldest.At
		}
	}
	return w
}

// String says it in words: "1,204 events wait".
func (w work) String() string {
	text := countOf(w.N, "event") + plural(w.N, " waits", " wait")
	if !w.Known() {
		text = "at least " + text
	}
	return text
}

// served looks at whether anybody works for the group. A consumer that lives
// may not be known on a stream from which it was never given anything, so it
// counts for all streams on which nothing waits.
func (x *examination) served(m membership) {
	if !m.known() {
		return // a problem has said so
	}
	if m.live() {
		for _, g := range m.on {
			x.behind(g)
		}
		return
	}
	todo := workOf(m.on...)
	f := Finding{Check: "no_consumer", Severity: Warning, Subject: "group " + m.name, Summary: m.name + " has no consumer", Since: todo.oldest}
	f.Evidence = fmt.Sprintf("the group is on %s, with %s in all", countOf(int64(len(m.on)), "stream"), countOf(m.members(), "consumer"))
	overdue := todo.streams > 0
	if seen, ever := m.lastSeen(); ever {
		f.Since = x.d.At.Add(-seen)
		f.Severity = Info
		f.Summary = fmt.Sprintf("%s has had no live consumer for %s", m.name, span(seen))
		// What was published just now wakes a consumer that was silent because
		// there was nothing to read, as it is before Redis 7.2.
		overdue = overdue && x.d.At.Sub(todo.oldest) > overdueAfter
	}
	if todo.streams > 0 {
		f.Summary += fmt.Sprintf(": %s on %s", todo, countOf(int64(todo.streams), "stream"))
		if !todo.oldest.IsZero() {
			f.Evidence += fmt.Sprintf("; the oldest event that it has not settled is %s old", span(x.d.At.Sub(todo.oldest)))
		}
	} else {
		f.Summary += "; nothing waits"
	}
	if overdue {
		f.Severity = Critical
	}
	f.Advice = fmt.Sprintf("Start the application that consumes as %s, as it was configured; a group that is no longer wanted is removed with freshet groups delete", m.name)
	if app, ok := strings.CutSuffix(m.name, "-copy"); ok && app != "" {
		f.Advice = "Start freshet run again, with the copy and the streams that it had; a group that is no longer wanted is removed with freshet groups delete"
		f.Command = x.freshet("run", "--app", app, "--replica", "sqlite://suite.db")
	}
	x.find(f)
}

// overdueAfter is how long an event waits at most for a consumer that lives and
// has nothing else to do.
const overdueAfter = 10 * time.Second

// lastSeen is how long ago any consumer was, and whether there are any.
func (m membership) lastSeen() (least time.Duration, ever bool) {
	for _, g := range m.on {
		if g.Members > 0 && (!ever || g.LastSeen < least) {
			least, ever = g.LastSeen, true
		}
	}
	return least, ever
}

func (m membership) members() (n int64) {
	for _, g := range m.on {
		n = max(n, g.Members)
	}
	return n
}

// behind looks at a group that somebody works for.
func (x *examination) behind(g Group) {
	if g.Oldest == nil {
		return
	}
	todo, age := workOf(g), x.d.At.Sub(g.Oldest.At)
	f := Finding{
		Check: "lag", Severity: x.limits().LagAge.of(age), Subject: "group " + on(g), Since: g.Oldest.At,
		Summary:  fmt.Sprintf("%s is behind on %s: %s, the oldest for %s", g.Name, g.Stream, todo, span(age)),
		Evidence: fmt.Sprintf("lag %s, pending %d, live consumers %d; the oldest that is not settled is %s", g.Lag, g.Pending, g.Live, g.Oldest.ID),
		Advice:   "Start more consumers of the group; where the oldest is pending, see why it is not settled",
		Command:  x.freshet("pending", g.Stream, g.Name),
	}
	if g.Live == 0 && age > DefaultLiveWithin {
		f.Check, f.Severity = "no_consumer", worse(Warning, f.Severity)
		f.Summary = fmt.Sprintf("No consumer of %s reads %s: %s, the oldest for %s", g.Name, g.Stream, todo, span(age))
		f.Evidence += "; consumers of the group live on other streams"
		f.Advice = "Have the group's application subscribe to the stream; where it no longer should, remove the group from it"
		f.Command = x.freshet("groups", "delete", g.Stream, g.Name)
	}
	if f.Severity != "" {
		x.find(f)
	}
}

// worse is the worse of two.
func worse(a, b Severity) Severity {
	if b != "" && slices.Index(severities, b) < slices.Index(severities, a) {
		return b
	}
	return a
}

// on names a group of a stream.
func on(g Group) string { return g.Name + " on " + g.Stream }

// consumers looks at those that are gone.
func (x *examination) consumers(m membership, g Group) {
	var dead []Consumer // that hold entries
	var idle int
	var held int64
	limits := x.limits()
	for _, c := range g.Consumers {
		switch {
		case c.Live:
		case c.Pending == 0 && c.Idle >= limits.ConsumerIdle.Critical:
			idle++
		case c.Pending > 0 && (c.Idle >= limits.ConsumerIdle.Warning || c.Pending >= limits.ConsumerPending.Warning || !m.live()):
			dead = append(dead, c)
			held += c.Pending
		}
	}
	if idle >= idleConsumers {
		x.find(Finding{
			Check: "idle_consumers", Severity: Info, Subject: "group " + on(g),
			Summary:  fmt.Sprintf("%s has %s on %s that are gone and hold nothing", g.Name, countOf(int64(idle), "consumer"), g.Stream),
			Evidence: fmt.Sprintf("not seen for %s or longer", span(limits.ConsumerIdle.Critical)),
			Advice:   "Consumers of Freshet remove such by themselves; others need it done",
			Command:  x.freshet("consumers", "prune", g.Stream, g.Name, "--idle", flagDuration(limits.ConsumerIdle.Critical)),
			Fix:      &Fix{Stream: g.Stream, Group: g.Name, Idle: limits.ConsumerIdle.Critical},
		})
	}
	if len(dead) == 0 {
		return
	}
	slices.SortFunc(dead, func(a, b Consumer) int { return int(max(min(b.Idle-a.Idle, 1), -1)) })
	severity := Warning
	var names []string
	for n, c := range dead {
		severity = worse(severity, limits.ConsumerIdle.of(c.Idle))
		severity = worse(severity, limits.ConsumerPending.of(c.Pending))
		if n < 5 {
			names = append(names, fmt.Sprintf("%s holds %d, not seen for %s", c.Name, c.Pending, span(c.Idle)))
		}
	}
	advice := "What it holds is moved to a consumer that lives"
	if !m.live() {
		advice = "Start a consumer of the group first: what it holds is moved to one that lives"
	}
	size := int64(len(dead))
	x.find(Finding{
		Check: "dead_consumer", Severity: severity, Subject: "group " + on(g), Since: x.d.At.Add(-dead[0].Idle),
		Summary: fmt.Sprintf("%s of %s on %s %s gone and %s %s, for %s", countOf(size, "consumer"), g.Name, g.Stream,
			plural(size, "is", "are"), plural(size, "holds", "hold"), countOf(held, "entry"), span(dead[0].Idle)),
		Evidence: strings.Join(names, "; "),
		Advice:   advice,
		Command:  x.freshet("consumers", "prune", g.Stream, g.Name, "--idle", flagDuration(DefaultLiveWithin)),
	})
}

// idleConsumers is from how many consumers on that hold nothing they are told.
const idleConsumers = 10

func (x *examination) unknownLag(g Group) {
	if g.Lag.Known() {
		return
	}
	x.find(Finding{
		Check: "unknown_lag", Severity: Info, Subject: "group " + on(g),
		Summary:  fmt.Sprintf("It is not known exactly how far %s is behind on %s: %s", g.Name, g.Stream, g.Lag),
		Evidence: g.Lag.Unknown,
		Advice:   "The age of the oldest event that is not settled is known all the same; go by that",
		Command:  x.freshet("lag", g.Stream, "--group", g.Name),
	})
}

// stale tells whether the oldest pending entry has neither been delivered nor
// renewed lately: what live consumers of the project have in hand is renewed,
// however much it is.
func stale(g Group) bool {
	return g.Pending > 0 && (g.OldestPending == nil || g.OldestPending.Idle > DefaultLiveWithin)
}

func oldestPendingAt(g Group) time.Time {
	if g.OldestPending == nil {
		return time.Time{}
	}
	return g.OldestPending.At
}

func (x *examination) groupPending(g Group) {
	severity := x.limits().GroupPending.of(g.Pending)
	if severity == "" || !stale(g) {
		return
	}
	x.find(Finding{
		Check: "pending", Severity: severity, Subject: "group " + on(g), Since: oldestPendingAt(g),
		Summary:  fmt.Sprintf("%s has %s on %s that were delivered and are not settled", g.Name, countOf(g.Pending, "entry"), g.Stream),
		Evidence: fmt.Sprintf("XPENDING counts %d", g.Pending),
		Advice:   "See which consumers hold them, and why they do not settle them",
		Command:  x.freshet("pending", g.Stream, g.Name),
	})
}

func (x *examination) streamPending(s Stream) {
	var n int64
	anyStale, anyGroup := false, false
	for _, g := range s.Groups {
		n += max(g.Pending, 0)
		anyStale = anyStale || stale(g)
		anyGroup = anyGroup || x.limits().GroupPending.of(g.Pending) != ""
	}
	severity := x.limits().StreamPending.of(n)
	if severity == "" || !anyStale || anyGroup { // which is told by itself
		return
	}
	x.find(Finding{
		Check: "pending", Severity: severity, Subject: "stream " + s.Key,
		Summary:  fmt.Sprintf("The groups of %s together have %s that were delivered and are not settled", s.Key, countOf(n, "entry")),
		Evidence: fmt.Sprintf("XPENDING of %s counts %d", countOf(int64(len(s.Groups)), "group"), n),
		Advice:   "See which groups have them",
		Command:  x.freshet("groups", s.Key),
	})
}

// losses looks at what groups will never get, but for what an operator has
// taken note of.
func (x *examination) losses(ctx context.Context) error {
	var lost []Group
	var refs []redisstream.GroupRef
	for _, s := range x.d.Snapshot.Streams {
		for _, g := range s.Groups {
			x.trimmedPending(g)
			if g.LostUnread > 0 {
				lost, refs = append(lost, g), append(refs, redisstream.GroupRef{Stream: g.Stream, Group: g.Name})
			}
		}
	}
	kept, err := x.client.Kept(ctx, refs)
	if err != nil {
		kept = make([]redisstream.Kept, len(lost))
	}
	for n, g := range lost {
		if news := g.LostUnread - kept[n].Noted; news > 0 {
			x.find(Finding{
				Check: "trimmed_unread", Severity: Critical, Subject: "group " + on(g),
				Summary:  fmt.Sprintf("%s has lost %s of %s: they were removed before it had read them", g.Name, countOf(news, "event"), g.Stream),
				Evidence: fmt.Sprintf("%d that were added to the stream were neither read by the group nor can be", g.LostUnread),
				Advice:   "Have them published again, or load what they say from their source, and find out who trims (freshet trim removes nothing that is unread); then take note of it",
				Command:  x.redis("", "HSET", redisstream.StateKey(g.Stream, g.Name), "noted", fmt.Sprint(g.LostUnread)),
			})
		}
	}
	return err
}

func (x *examination) trimmedPending(g Group) {
	if p := g.OldestPending; p != nil && p.Trimmed {
		x.find(Finding{
			Check: "trimmed_unread", Severity: Warning, Subject: "group " + on(g), Since: p.At,
			Summary:  fmt.Sprintf("%s has entries of %s pending that were removed before it had settled them", g.Name, g.Stream),
			Evidence: fmt.Sprintf("the oldest pending entry, %s, is before the first of the stream; it was delivered to %s", p.ID, p.Consumer),
			Advice:   "Find out who trims; a consumer of Freshet counts them as lost and goes on by itself",
			Command:  x.freshet("pending", g.Stream, g.Name),
		})
	}
}

// retention looks at what is about to be removed before the group has settled
// it. Freshet itself removes only what all groups have settled; others, and
// MAXLEN, do not look.
func (x *examination) retention(s Stream, g Group) {
	if g.Oldest == nil {
		return
	}
	age := x.d.At.Sub(g.Oldest.At)
	severity := x.limits().Retention.of(age)
	f := Finding{
		Check: "retention", Severity: severity, Subject: "group " + on(g), Since: g.Oldest.At,
		Summary:  fmt.Sprintf("%s has not settled events of %s that are %s old: who trims by age removes them, and freshet trim keeps everything behind them", g.Name, g.Stream, span(age)),
		Evidence: fmt.Sprintf("the oldest is %s", g.Oldest.ID),
		Advice:   "Have a consumer of the group settle them; a group that is no longer wanted is removed with freshet groups delete",
		Command:  x.freshet("pending", g.Stream, g.Name),
	}
	trimmed := s.Added > s.Length && s.Length > 0
	settled := s.Length - g.Lag.N - max(g.Pending, 0) // entries between the edge and the group
	if severity == "" && trimmed && g.Lag.Known() && settled*10 < s.Length && age > x.limits().LagAge.Critical {
		f.Severity = Warning
		f.Summary = fmt.Sprintf("%s has not settled what stands at the beginning of %s, and that stream is trimmed: the next trim that does not look takes unread events", g.Name, g.Stream)
		f.Evidence = fmt.Sprintf("%d entries were added, %d are left, and of those the group has settled %d", s.Added, s.Length, max(settled, 0))
	}
	if f.Severity != "" {
		x.find(f)
	}
}

// missing looks for groups that are not where they have been, or have to be.
func (x *examination) missing(ctx context.Context, byName map[string][]Group) error {
	has := func(stream, group string) bool {
		return slices.ContainsFunc(byName[group], func(g Group) bool { return g.Stream == stream })
	}
	for _, s := range x.d.Snapshot.Streams {
		for _, group := range x.cfg.Groups {
			if slices.Contains(events.ExplicitStreams(), s.Key) && !has(s.Key, group) {
				x.find(Finding{
					Check: "group_missing", Severity: Critical, Subject: "group " + group + " on " + s.Key, Since: s.FirstAt,
					Summary:  fmt.Sprintf("%s does not exist on %s: it gets none of its %s", group, s.Key, countOf(s.Length, "event")),
					Evidence: "XINFO GROUPS does not name it", Advice: "Create it, or start its consumer, which does that",
					Command: x.freshet("groups", "create", s.Key, group, "--start", "beginning"),
					Fix:     &Fix{Stream: s.Key, Group: group, Start: "beginning"},
				})
			}
		}
	}
	refs, err := x.client.KeptGroups(ctx)
	if err != nil {
		return err
	}
	refs = slices.DeleteFunc(refs, func(r redisstream.GroupRef) bool {
		there := slices.ContainsFunc(x.d.Snapshot.Streams, func(s Stream) bool { return s.Key == r.Stream })
		return !there || has(r.Stream, r.Group) || slices.Contains(x.cfg.Groups, r.Group)
	})
	kept, err := x.client.Kept(ctx, refs)
	if err != nil {
		return err
	}
	for n, r := range refs {
		if !kept[n].Known {
			continue
		}
		start := after(kept[n].Settled)
		x.find(Finding{
			Check: "group_missing", Severity: Warning, Subject: "group " + r.Group + " on " + r.Stream, Since: timeOfID(kept[n].Settled),
			Summary:  fmt.Sprintf("%s was on %s and is gone: somebody destroyed it, and it gets nothing", r.Group, r.Stream),
			Evidence: fmt.Sprintf("it had settled everything up to %s", kept[n].Settled),
			Advice:   fmt.Sprintf("Start its consumer, or create it where it had got to; where it was removed on purpose, have that forgotten: %s", x.redis("", "DEL", redisstream.StateKey(r.Stream, r.Group))),
			Command:  x.freshet("groups", "create", r.Stream, r.Group, "--start", start),
			Fix:      &Fix{Stream: r.Stream, Group: r.Group, Start: start},
		})
	}
	return nil
}

// after is the least id above one, where a group begins that has settled
// everything up to it.
func after(id wire.ID) string {
	if id.Seq++; id.Seq == 0 {
		id.Ms++
	}
	return id.String()
}

// flagDuration is a duration as a person would write it in a flag: 2h.
func flagDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func timeOfID(id wire.ID) time.Time {
	if id == (wire.ID{}) {
		return time.Time{}
	}
	return time.UnixMilli(int64(min(id.Ms, 1<<53)))
}
