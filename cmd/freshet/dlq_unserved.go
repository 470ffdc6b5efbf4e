package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/shell"
)

// unserved returns the groups of dead letters that nobody is seen to work for,
// by name, and warns of each.
func (c *cli) unserved(ctx context.Context, letters []inspect.DeadLetterRef) []string {
	var refs []inspect.GroupRef
	for _, l := range letters {
		if r := (inspect.GroupRef{Stream: l.Stream, Group: l.Group}); !slices.Contains(refs, r) {
			refs = append(refs, r)
		}
	}
	var abandoned []inspect.Abandoned
	groups := []string{}
	inspector, err := inspect.Open(ctx, c.config("freshet"))
	if err == nil {
		defer inspector.Close()
		abandoned, err = inspector.Abandoned(ctx, refs)
	}
	if err != nil {
		fmt.Fprintln(c.stderr, "warning:", escape(fmt.Sprintf("whether anybody serves the group could not be looked at: %v", err)))
		return groups
	}
	slices.SortStableFunc(abandoned, func(a, b inspect.Abandoned) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Silent, b.Silent)) // what is sure comes first
	})
	for _, a := range abandoned {
		if slices.Contains(groups, a.Group) {
			continue
		}
		groups = append(groups, a.Group)
		what := fmt.Sprintf("nobody serves group %s", a.Group)
		if a.Silent > 0 {
			what = fmt.Sprintf("no consumer of group %s has been seen for %s", a.Group, span(a.Silent))
		}
		start := "the application that consumes as " + a.Group
		if app, ok := inspect.CopyOf(a.Group); ok {
			start = shell.Command(append(c.ownCommand(), "run", "--app", app, "--replica", "sqlite://suite.db")...)
		}
		fmt.Fprintln(c.stderr, "warning:", escape(fmt.Sprintf("%s: what is redriven to it waits until one runs; start %s", what, start)))
	}
	return groups
}
