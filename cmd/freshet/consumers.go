package main

import (
	"cmp"
	"slices"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/inspect"
)

func (c *cli) consumersCommand() *cobra.Command {
	var l looking
	cmd := &cobra.Command{
		Use:   "consumers [PATTERN...]",
		Short: "Show the consumers of each group, and what they hold; prune",
		Long: `Show the consumers of the groups on the streams that match a PATTERN (a key or a
Redis glob; by default every stream of the suite).

A consumer is live when the server has heard of it within the last minute, on
this stream or, where there is nothing for it to do, on another. Before Redis 7.2
it does not hear of one that waits: a consumer that is silent may live where
nothing comes. One that holds entries is dead, and shown in red.`,
		Example: `  freshet consumers
  freshet consumers credit-events --group crm-consumers
  freshet consumers -o json --jq '.live == false and .pending > 0'`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			l.Patterns = args
			return c.look(cmd.Context(), &l, func(s *inspect.Snapshot, _ inspect.Rates) ([]row, error) {
				return consumerRows(&l, s), nil
			}, "CONSUMER", "GROUP", "STREAM", "PENDING", "LAST SEEN", "STATE")
		},
	}
	l.addFlags(cmd, true)
	cmd.AddCommand(c.consumersPruneCommand())
	return cmd
}

type consumerJSON struct {
	Stream   string  `json:"stream"`
	Group    string  `json:"group"`
	Consumer string  `json:"consumer"`
	Pending  int64   `json:"pending"`
	LastSeen float64 `json:"last_seen_seconds"`
	Live     bool    `json:"live"`
}

func consumerRows(l *looking, s *inspect.Snapshot) (rows []row) {
	var all []inspect.Consumer
	for _, g := range groupsOf(l, s) {
		all = append(all, g.Consumers...)
	}
	slices.SortStableFunc(all, func(a, b inspect.Consumer) int {
		return cmp.Or(cmp.Compare(a.Group, b.Group), cmp.Compare(a.Name, b.Name))
	})
	for _, k := range all {
		r := row{
			value: consumerJSON{k.Stream, k.Group, k.Name, k.Pending, seconds(k.Idle), k.Live},
			name:  k.Stream + " " + k.Group + " " + k.Name,
			cells: []string{k.Name, k.Group, k.Stream, countCell(k.Pending), span(k.Idle) + " ago", stateOfConsumer(k)},
		}
		if !k.Live && k.Pending > 0 {
			r.style = red
		}
		rows = append(rows, r)
	}
	return rows
}

func stateOfConsumer(k inspect.Consumer) string {
	switch {
	case k.Live:
		return "live"
	case k.Pending > 0:
		return "dead"
	}
	return "silent"
}
