package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redisstream"
)

func (c *cli) lagCommand() *cobra.Command {
	var l looking
	var limits lagLimits
	cmd := &cobra.Command{
		Use:   "lag [PATTERN...]",
		Short: "Show how far groups are behind, and fail when that is too far",
		Long: `Show the lag of the groups on the streams that match a PATTERN (a key or a Redis
glob; by default every stream of the suite): LAG is how many entries were not
delivered to the group, and how many were redriven to it and are not settled;
BEHIND is the age of the oldest that it has not settled. What was redriven
counts from then on.

With --max or --max-age the exit code is 3 when a group exceeds it; --max counts
what was redriven, too, also to a group that does not exist. What is not known
exceeds any limit: a lag that could not be told, or only to be at least so many,
and groups that could not be looked at. Where there is no group at all the exit
code is 4. Entries are counted as far as --max needs, up to 100,000 a group.`,
		Example: `  freshet lag
  freshet lag --max-age 60s
  freshet lag 'crm:*' --group crm-consumers --max 1000 --max-age 5m -o json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			l.Patterns, l.Absent = args, true
			limits.given = cmd.Flags().Changed("max")
			l.CountTo = max(1000, limits.entries+1)
			exceeded := false
			err := c.look(cmd.Context(), &l, func(s *inspect.Snapshot, _ inspect.Rates) ([]row, error) {
				rows, over, err := lagRows(&l, s, limits)
				exceeded = over
				return rows, err
			}, "GROUP", "STREAM", "LAG", "BEHIND", "STATE")
			if err == nil && exceeded && l.every == 0 {
				return &exitError{exitFindings, errors.New("lag: more than allowed")}
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.Int64Var(&limits.entries, "max", 0, "fail when more than `N` entries were not delivered to a group, or were redriven to it and are not settled")
	flags.Var(durationFlag{&limits.age}, "max-age", "fail when an entry that a group has not settled is older than `AGE`, such as 60s")
	l.addFlags(cmd, true)
	return cmd
}

// lagLimits are how far groups may be behind.
type lagLimits struct {
	given   bool // entries is: 0 allows none
	entries int64
	age     time.Duration // 0: any
}

// exceeded says what of a group is beyond the limits, or not known to be within.
func (l lagLimits) exceeded(s *inspect.Snapshot, g *inspect.Group) (reasons []string) {
	todo := g.Lag
	todo.N += max(g.Redriven, 0)
	switch {
	case !l.given || todo.Within(l.entries) && g.Redriven >= 0:
	case todo.N > l.entries && g.Lag.N <= l.entries:
		reasons = append(reasons, fmt.Sprintf("more than %d with what was redriven", l.entries))
	case todo.N > l.entries:
		reasons = append(reasons, fmt.Sprintf("more than %d", l.entries))
	default:
		reasons = append(reasons, "unknown: "+cmp.Or(g.Lag.Unknown, "what was redriven could not be counted"))
	}
	if age, known := s.OldestAge(g); l.age > 0 && (!known || age > l.age) {
		reason := "older than " + l.age.String()
		if !known {
			reason = "age unknown: " + g.OldestUnknown
		}
		reasons = append(reasons, reason)
	}
	return reasons
}

type lagJSON struct {
	Stream        string         `json:"stream"`
	Group         string         `json:"group"`
	Lag           *int64         `json:"lag"` // null: unknown
	LagAtLeast    int64          `json:"lag_at_least"`
	LagUnknown    *string        `json:"lag_unknown"` // why
	Oldest        *unsettledJSON `json:"oldest_unsettled"`
	OldestUnknown *string        `json:"oldest_unknown"` // why
	Redriven      *int64         `json:"redriven"`
	RedrivenSince *string        `json:"redriven_since"`
	Exceeded      bool           `json:"exceeded"`
	Reasons       []string       `json:"reasons"`
}

func lagRows(l *looking, s *inspect.Snapshot, limits lagLimits) (rows []row, exceeded bool, err error) {
	limited := limits.given || limits.age > 0
	groups := groupsOf(l, s)
	for _, g := range groups {
		reasons := limits.exceeded(s, g)
		state, style := "-", plain
		switch {
		case len(reasons) > 0:
			state, style, exceeded = strings.Join(reasons, ", "), red, true
		case limited:
			state = "ok"
		}
		rows = append(rows, row{
			value: lagJSON{
				Stream: g.Stream, Group: g.Name, Lag: exact(g.Lag), LagAtLeast: g.Lag.N, LagUnknown: orNull(g.Lag.Unknown),
				Oldest: unsettled(g.Oldest, s.At), OldestUnknown: orNull(g.OldestUnknown),
				Redriven: known(g.Redriven), RedrivenSince: timeOrNull(g.RedrivenAt),
				Exceeded: len(reasons) > 0, Reasons: append([]string{}, reasons...),
			},
			name: g.Stream + " " + g.Name, style: style,
			cells: []string{g.Name, g.Stream, lagCell(g), behindCell(s, g), state},
		})
	}
	switch {
	case !limited:
		return rows, false, nil
	case incomplete(s):
		return rows, true, nil // the warnings say what is missing
	case len(groups) == 0:
		return nil, false, notFoundError("lag: no group to look at")
	}
	return rows, exceeded, nil
}

// incomplete tells whether there may be groups that are not in the snapshot.
func incomplete(s *inspect.Snapshot) bool {
	for _, p := range s.Problems {
		noStream := redisstream.ClassOf(p.Err) == redisstream.WrongType
		if p.Part == "streams" || p.Part == "groups" || p.Part == "stream" && !noStream {
			return true
		}
	}
	return false
}
