package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/inspect"
)

func (c *cli) groupsCommand() *cobra.Command {
	l := looking{rates: true}
	cmd := &cobra.Command{
		Use:   "groups [PATTERN...]",
		Short: "Show how far each group has got on each stream; create, rewind, delete",
		Long: `Show the consumer groups of the streams that match a PATTERN (a key or a Redis
glob; by default every stream of the suite). It looks for a second, to tell how
fast they settle entries.

LAG is how many entries were not delivered to the group: ">= N" where only so
many were counted, because the server's own number cannot be relied on, and
"unknown" where it cannot be told; -o wide says why. BEHIND is the age of the
oldest entry that the group has not settled, PENDING what was delivered and not
acknowledged. What was redriven to the group and is not settled stands behind
LAG, and counts for BEHIND from then on. LOST is how many entries are known to
have been removed before the group read them. A group in red has work waiting
that nobody does, or has lost some. One that is not on the stream is shown while
redriven entries wait for it.`,
		Example: `  freshet groups
  freshet groups --group crm-copy --watch
  freshet groups -o json --jq '.live_consumers == 0'`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			l.Patterns, l.Absent = args, true
			header := []string{"GROUP", "STREAM", "LAG", "BEHIND", "SETTLED/S", "PENDING", "RETRIED", "CONSUMERS", "DEAD LETTERS", "LOST"}
			if c.output == "wide" {
				header = append(header, "REDRIVEN", "LAST DELIVERED", "OLDEST UNSETTLED", "ATTEMPTS", "UNKNOWN BECAUSE")
			}
			return c.look(cmd.Context(), &l, func(s *inspect.Snapshot, r inspect.Rates) ([]row, error) {
				return c.groupRows(&l, s, r), nil
			}, header...)
		},
	}
	l.addFlags(cmd, true)
	cmd.AddCommand(c.groupsCreateCommand(), c.groupsRewindCommand(), c.groupsDeleteCommand())
	return cmd
}

type groupJSON struct {
	Stream         string         `json:"stream"`
	Group          string         `json:"group"`
	Lag            *int64         `json:"lag"` // null: unknown
	LagAtLeast     int64          `json:"lag_at_least"`
	LagUnknown     *string        `json:"lag_unknown"` // why
	Oldest         *unsettledJSON `json:"oldest_unsettled"`
	OldestUnknown  *string        `json:"oldest_unknown"` // why
	Settled        *float64       `json:"settled_per_second"`
	Pending        int64          `json:"pending"`
	OldestPending  *pendingJSON   `json:"oldest_pending"`
	Redelivered    *int64         `json:"redelivered"` // null: unknown
	RedeliveredMin int64          `json:"redelivered_at_least"`
	MaxDeliveries  int64          `json:"max_deliveries"`
	Live           *int64         `json:"live_consumers"`
	Silent         *int64         `json:"silent_consumers"`
	LastSeen       *float64       `json:"last_seen_seconds"`
	DeadLetters    *int64         `json:"dead_letters"`
	LastDeadLetter *string        `json:"last_dead_letter"`
	Redriven       *int64         `json:"redriven"`
	RedrivenSince  *string        `json:"redriven_since"`
	LostUnread     int64          `json:"lost_unread"`
	LastDelivered  string         `json:"last_delivered_id"`
	Read           *int64         `json:"entries_read"`
}

func (c *cli) groupRows(l *looking, snapshot *inspect.Snapshot, rates inspect.Rates) (rows []row) {
	now := snapshot.At
	for _, g := range groupsOf(l, snapshot) {
		settled := rates.Settled[inspect.GroupRef{Stream: g.Stream, Group: g.Name}]
		r := row{value: groupOf(g, settled, now), name: g.Stream + " " + g.Name, cells: []string{
			g.Name, g.Stream, lagCell(g), behindCell(snapshot, g), rateCell(settled), countCell(g.Pending), g.Redelivered.String(),
			consumersCell(g), deadLettersCell(g, now), countCell(g.LostUnread),
		}}
		if g.Unserved() && !g.Waiting().Within(0) || g.LostUnread > 0 {
			r.style = red
		}
		if c.output == "wide" {
			oldest := "-"
			if g.Oldest != nil {
				oldest = g.Oldest.ID + " " + stateOfHold(g.Oldest)
			}
			r.cells = append(r.cells, countCell(g.Redriven), orDash(g.LastDelivered), oldest, countCell(g.MaxDeliveries),
				orDash(cmp.Or(g.Lag.Unknown, g.OldestUnknown, g.Redelivered.Unknown)))
		}
		rows = append(rows, r)
	}
	return rows
}

// groupsOf are the groups that are meant, by name and stream.
func groupsOf(l *looking, s *inspect.Snapshot) (groups []*inspect.Group) {
	for n := range s.Streams {
		for k := range s.Streams[n].Groups {
			if g := &s.Streams[n].Groups[k]; l.meant(g.Name) {
				groups = append(groups, g)
			}
		}
	}
	for n := range s.Absent {
		if g := &s.Absent[n]; l.meant(g.Name) {
			groups = append(groups, g)
		}
	}
	slices.SortStableFunc(groups, func(a, b *inspect.Group) int { return cmp.Compare(a.Name, b.Name) })
	return groups
}

func groupOf(g *inspect.Group, settled inspect.Rate, now time.Time) groupJSON {
	value := groupJSON{
		Stream: g.Stream, Group: g.Name,
		Lag: exact(g.Lag), LagAtLeast: g.Lag.N, LagUnknown: orNull(g.Lag.Unknown),
		Oldest: unsettled(g.Oldest, now), OldestUnknown: orNull(g.OldestUnknown), Settled: perSecond(settled),
		Pending: g.Pending, Redelivered: exact(g.Redelivered), RedeliveredMin: g.Redelivered.N, MaxDeliveries: g.MaxDeliveries,
		Live: known(int64(g.Live)), Silent: known(int64(g.Dead)),
		DeadLetters: known(g.DeadLetters), LastDeadLetter: timeOrNull(g.LastDeadAt), Redriven: known(g.Redriven),
		RedrivenSince: timeOrNull(g.RedrivenAt), LostUnread: g.LostUnread, LastDelivered: g.LastDelivered, Read: known(g.Read),
	}
	if g.OldestPending != nil {
		value.OldestPending = pendingOf(*g.OldestPending, now)
	}
	if g.Live+g.Dead > 0 {
		value.LastSeen = new(seconds(g.LastSeen))
	}
	return value
}

// exact is a number, or null where only a bound is known, if that.
func exact(n inspect.Count) *int64 {
	if !n.Known() {
		return nil
	}
	return &n.N
}

// lagCell is the lag, and what was redriven.
func lagCell(g *inspect.Group) string {
	if g.Redriven <= 0 {
		return g.Lag.String()
	}
	return fmt.Sprintf("%s, %d redriven", g.Lag, g.Redriven)
}

func behindCell(s *inspect.Snapshot, g *inspect.Group) string {
	age, known := s.OldestAge(g)
	switch {
	case !known:
		return "unknown"
	case g.WaitingSince().IsZero():
		return "-"
	}
	return span(age)
}

func consumersCell(g *inspect.Group) string {
	switch {
	case g.Live < 0:
		return fmt.Sprintf("%d, unknown which live", g.Members)
	case g.Live+g.Dead == 0:
		return "none"
	case g.Dead == 0:
		return fmt.Sprintf("%d live", g.Live)
	case g.Live == 0:
		return fmt.Sprintf("%d silent for %s", g.Dead, span(g.LastSeen))
	}
	return fmt.Sprintf("%d live, %d silent", g.Live, g.Dead)
}

func deadLettersCell(g *inspect.Group, now time.Time) string {
	if g.LastDeadAt.IsZero() {
		return countCell(g.DeadLetters)
	}
	return fmt.Sprintf("%d, last %s", g.DeadLetters, agoCell(g.LastDeadAt, now))
}
