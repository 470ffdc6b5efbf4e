package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
)

// snapshot looks at the streams and their groups.
func (x *examination) snapshot(ctx context.Context) error {
	s, err := x.Snapshot(ctx, SnapshotConfig{Patterns: x.cfg.Patterns, Absent: true})
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
	err := errors.Join(x.losses(ctx), x.missing(ctx, byName), x.conflicts(ctx, byName))
	x.redrivenToNone()
	return err
}

// membership is a group on all the streams that it is on.
type membership struct {
	name string
	on   []Group
}

func (m membership) live() bool {
	return slices.ContainsFunc(m.on, func(g Group) bool { return g.Live > 0 })
}

// known tells whether it is known who works for the group.
func (m membership) known() bool {
	return !slices.ContainsFunc(m.on, func(g Group) bool { return g.Live < 0 })
}

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
		switch age := span(x.d.At.Sub(todo.oldest)); {
		case todo.oldest.IsZero():
		case todo.redriven == 0:
			f.Evidence += fmt.Sprintf("; the oldest event that it has not settled is %s old", age)
		default:
			f.Evidence += fmt.Sprintf("; redriven to it, of these: %d; the oldest has waited for %s", todo.redriven, age)
		}
	} else {
		f.Summary += "; nothing waits"
	}
	if overdue {
		f.Severity = Critical
	}
	f.Advice, f.Command = x.starts(m.name)
	f.Advice += "; a group that is no longer wanted is removed with freshet groups delete"
	x.find(f)
}

// starts says what starts the consumer of a group.
func (x *examination) starts(group string) (advice, command string) {
	if app, ok := CopyOf(group); ok {
		return "Start freshet run again, with the copy and the streams that it had", x.freshet("run", "--app", app, "--replica", "sqlite://suite.db")
	}
	return fmt.Sprintf("Start the application that consumes as %s, as it was configured", group), ""
}

// CopyOf returns the application whose copy a group is for, by the name that
// freshet run gives it.
func CopyOf(group string) (app string, ok bool) {
	app, ok = strings.CutSuffix(group, "-copy")
	return app, ok && app != ""
}

// overdueAfter is how long an event waits at most for a consumer that lives and
// has nothing else to do.
const overdueAfter = 10 * time.Second

// behind looks at a group that somebody works for.
func (x *examination) behind(g Group) {
	since := g.WaitingSince()
	if since.IsZero() {
		return
	}
	todo, age := workOf(g), x.d.At.Sub(since)
	f := Finding{
		Check: "lag", Severity: x.limits().LagAge.of(age), Subject: "group " + on(g), Since: since,
		Summary:  fmt.Sprintf("%s is behind on %s: %s, the oldest for %s", g.Name, g.Stream, todo, span(age)),
		Evidence: fmt.Sprintf("lag %s, pending %d, redriven %d, live consumers %d", g.Lag, g.Pending, max(g.Redriven, 0), g.Live),
		Advice:   "Start more consumers of the group; where the oldest is pending, see why it is not settled",
		Command:  x.freshet("pending", g.Stream, g.Name),
	}
	if g.Oldest != nil {
		f.Evidence += "; the oldest of the stream that is not settled is " + g.Oldest.ID
	} else {
		f.Command = x.freshet("pending", redisstream.RetryKey(g.Stream, g.Name), g.Name)
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

// work is what groups have to do: entries that nobody has, those that are
// pending, and those that were redriven.
type work struct {
	Count
	redriven int64 // of Count
	streams  int
	oldest   time.Time // when the oldest was published, or redriven; zero: none, or unknown
}

func workOf(groups ...Group) work {
	var w work
	for _, g := range groups {
		todo, since := g.Waiting(), g.WaitingSince()
		if todo.N == 0 && todo.Known() && since.IsZero() {
			continue
		}
		w.N += todo.N
		w.redriven += max(g.Redriven, 0)
		w.streams++
		if !todo.Known() {
			w.Unknown = todo.Unknown
		}
		if !since.IsZero() && (w.oldest.IsZero() || since.Before(w.oldest)) {
			w.oldest = since
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

// on names a group of a stream.
func on(g Group) string { return g.Name + " on " + g.Stream }

// worse is the worse of two.
func worse(a, b Severity) Severity {
	if b != "" && slices.Index(severities, b) < slices.Index(severities, a) {
		return b
	}
	return a
}
