package inspect

import (
	"context"
	"fmt"

	"github.com/freshet/freshet/internal/redisstream"
)

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
