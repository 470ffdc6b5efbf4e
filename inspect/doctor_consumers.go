package inspect

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

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
