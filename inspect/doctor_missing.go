package inspect

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

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

// redrivenToNone looks at what was redriven to groups that are not there. Of
// those that are known to be missing it is one reason more to mend that.
func (x *examination) redrivenToNone() {
	for _, g := range x.d.Snapshot.Absent {
		retries := redisstream.RetryKey(g.Stream, g.Name)
		todo := workOf(g)
		evidence := fmt.Sprintf("redriven to it, on %s: %d", retries, g.Redriven)
		if !todo.oldest.IsZero() {
			evidence += fmt.Sprintf(", the oldest %s ago", span(x.d.At.Sub(todo.oldest)))
		}
		f := Finding{
			Check: "group_missing", Severity: Critical, Subject: "group " + on(g), Since: todo.oldest,
			Summary:  fmt.Sprintf("%s does not exist on %s, and %s redriven to it", g.Name, g.Stream, countOf(g.Redriven, "event")+plural(g.Redriven, " was", " were")),
			Evidence: evidence,
		}
		if n := slices.IndexFunc(x.d.Findings, func(known Finding) bool { return known.Check == f.Check && known.Subject == f.Subject }); n >= 0 {
			x.d.Findings[n].Severity = Critical
			x.d.Findings[n].Evidence += "; " + evidence
			continue
		}
		f.Advice, f.Command = x.starts(g.Name)
		f.Advice += "; where the group is no longer wanted, delete what waits for it: " + x.redis("", "DEL", retries)
		x.find(f)
	}
}

// after is the least id above one, where a group begins that has settled
// everything up to it.
func after(id wire.ID) string {
	if id.Seq++; id.Seq == 0 {
		id.Ms++
	}
	return id.String()
}

func timeOfID(id wire.ID) time.Time {
	if id == (wire.ID{}) {
		return time.Time{}
	}
	return time.UnixMilli(int64(min(id.Ms, 1<<53)))
}
