package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/inspect"
)

func (c *cli) traceCommand() *cobra.Command {
	var f finding
	cmd := &cobra.Command{
		Use:   "trace CORRELATION_ID",
		Short: "Show the events of one correlation id, and the way of each",
		Long: `Show the events that have a correlation id in their metadata, on all streams, in
the order of their ids, and what has become of each in the groups. The streams
are searched back from the newest entries, as far as --since and --limit say.`,
		Example: `  freshet trace req-7f3a
  freshet trace req-7f3a --since 2h --until 1h -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.parse(time.Now()); err != nil {
				return err
			}
			return c.trace(cmd.Context(), args[0], &f)
		},
	}
	f.addFlags(cmd)
	return cmd
}

// tracedJSON is an event of a trace in the JSON formats; 'events get' has the
// rest.
type tracedJSON struct {
	entryHead
	Error  *entryError `json:"error"` // why it does not decode
	Groups []wayJSON   `json:"groups"`
}

func (c *cli) trace(ctx context.Context, id string, f *finding) error {
	inspector, err := inspect.Open(ctx, c.config("freshet"))
	if err != nil {
		return c.connectError(ctx, err)
	}
	defer inspector.Close()
	search, err := inspector.TraceEvents(ctx, id, f.FindConfig)
	if err != nil {
		return serverError(err)
	}
	c.reportSearch(search)
	if len(search.Found) == 0 {
		return notFoundError("no event has the correlation id %q", id)
	}
	ways, problems, err := inspector.Ways(ctx, search.Found, f.Limit)
	if err != nil {
		return serverError(err)
	}
	c.warnOf(problems)
	rows := make([]row, len(search.Found))
	for i, item := range search.Found {
		e := item.Envelope
		value := tracedJSON{entryHead: headOf(e), Groups: waysOf(ways[i])}
		if item.Refusal != nil {
			value.Error = (*entryError)(item.Refusal)
		}
		var way []string
		for _, w := range ways[i] {
			way = append(way, w.Group+": "+wayCell(w))
		}
		rows[i] = row{value: value, style: plain, cells: []string{
			timeCell(e.Time), typeCell(e), orDash(strings.Join(way, "; ")), e.ID, e.Stream, c.entityCell(e.Entity), orDash(e.Source),
		}}
	}
	return c.show([]string{"TIME", "TYPE", "GROUPS", "ID", "STREAM", "ENTITY", "SOURCE"}, rows)
}
