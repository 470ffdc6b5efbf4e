package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redisstream"
)

// looking is what the flags of a command that looks at the bus say.
type looking struct {
	watching
	inspect.SnapshotConfig
	groups []string
	jq     string
	rates  bool // the command shows some
}

// addFlags adds the flags of a command over streams that match its arguments
// and, with groups, over groups.
func (l *looking) addFlags(cmd *cobra.Command, groups bool) {
	l.watching.addFlags(cmd)
	cmd.Flags().StringVar(&l.jq, "jq", "", "only those for which the jq `EXPRESSION` is true, over what -o json prints of each")
	if groups {
		cmd.Flags().StringArrayVar(&l.groups, "group", nil, "only of consumer group `GROUP` (may be given several times)")
	}
	cmd.ValidArgs = events.Streams()
	cmd.Annotations = namesPrinted
}

// meant tells whether a group is.
func (l *looking) meant(group string) bool {
	return len(l.groups) == 0 || slices.Contains(l.groups, group)
}

// matcher makes a filter of the jq expression; without any, all match.
func (l *looking) matcher(ctx context.Context) (func(input any, what string) (bool, error), error) {
	if l.jq == "" {
		return func(any, string) (bool, error) { return true, nil }, nil
	}
	return jqFilter(ctx, l.jq)
}

// lookFor is how long a command looks to tell rates, when it does not watch.
const lookFor = time.Second

// look takes snapshots and shows them. Rates are those since the snapshot
// before, of which there is one where the command shows rates.
func (c *cli) look(ctx context.Context, l *looking, show func(*inspect.Snapshot, inspect.Rates) ([]row, error), header ...string) error {
	if err := l.validate(); err != nil {
		return err
	}
	inspector, err := inspect.Open(ctx, c.config("freshet"))
	if err != nil {
		return c.connectError(ctx, err)
	}
	defer inspector.Close()
	match, err := l.matcher(ctx)
	if err != nil {
		return err
	}
	var before *inspect.Snapshot
	return c.watch(ctx, l.watching, func(ctx context.Context) error {
		s, rates, err := snapshots(ctx, inspector, l, before)
		if err != nil {
			return serverError(err)
		}
		before = s
		rows, err := show(s, rates)
		if err != nil {
			return err
		}
		rows, err = matching(rows, match)
		if err != nil {
			return err
		}
		if err := c.show(header, rows); err != nil {
			return err
		}
		c.warnOf(s.Problems)
		return l.missing(s)
	})
}

// snapshots takes one snapshot, or two where rates are shown and there is none
// before.
func snapshots(ctx context.Context, i *inspect.Inspector, l *looking, before *inspect.Snapshot) (*inspect.Snapshot, inspect.Rates, error) {
	s, err := i.Snapshot(ctx, l.SnapshotConfig)
	if err != nil || !l.rates {
		return s, inspect.Rates{}, err
	}
	if before == nil {
		before = s
		select {
		case <-ctx.Done():
			return nil, inspect.Rates{}, context.Cause(ctx)
		case <-time.After(lookFor):
		}
		if s, err = i.Snapshot(ctx, l.SnapshotConfig); err != nil {
			return nil, inspect.Rates{}, err
		}
	}
	return s, inspect.RatesBetween(before, s), nil
}

func matching(rows []row, match func(any, string) (bool, error)) (kept []row, err error) {
	for _, r := range rows {
		value, err := jqValue(r.value)
		if err != nil {
			return nil, err
		}
		meant, err := match(value, r.name)
		if err != nil {
			return nil, err
		}
		if meant {
			kept = append(kept, r)
		}
	}
	return kept, nil
}

// warnOf says what could not be looked at.
func (c *cli) warnOf(problems []inspect.Problem) {
	for _, p := range problems {
		of := ""
		switch {
		case p.Group != "":
			of = fmt.Sprintf(" of group %s on %s", p.Group, p.Stream)
		case p.Stream != "":
			of = " of " + p.Stream
		}
		if p.Times > 1 {
			of += fmt.Sprintf(" and %d more", p.Times-1)
		}
		fmt.Fprintln(c.stderr, "warning:", escape(fmt.Sprintf("%s%s could not be looked at: %v", p.Part, of, p.Err)))
	}
}

// missing is the error of a stream that was named and does not exist.
func (l *looking) missing(s *inspect.Snapshot) error {
	for _, p := range l.Patterns {
		if !redisstream.IsGlob(p) && slices.Contains(s.Missing, p) {
			return notFoundError("no stream %s", p)
		}
	}
	return nil
}
