package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
)

func (c *cli) pendingCommand() *cobra.Command {
	var l looking
	var cfg inspect.PendingConfig
	cmd := &cobra.Command{
		Use:   "pending STREAM GROUP",
		Short: "Show what was delivered to a group and is not settled",
		Long: `Show the entries of STREAM that were delivered to a consumer of GROUP and are not
acknowledged, the oldest first, a page at a time: who holds them, how often they
were delivered, and how long ago last.

An entry in red was trimmed from the stream: nobody can handle it any more. Its
group gives it up when it comes to it.`,
		Example: `  freshet pending crm:sync:user:user_created crm-consumers
  freshet pending credit-events crm-consumers --consumer crm-1 --limit 500
  freshet pending credit-events crm-consumers -o json --jq '.deliveries > 3'`,
		Args:        cobra.ExactArgs(2),
		Annotations: namesPrinted,
		ValidArgs:   events.Streams(),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Stream, cfg.Group = args[0], args[1]
			if err := errors.Join(cfg.Validate(), l.validate()); err != nil {
				return usageError("--%w", err)
			}
			return c.pending(cmd.Context(), cfg, l)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.Consumer, "consumer", "", "only what `CONSUMER` holds")
	flags.StringVar(&cfg.After, "after", "", "only entries behind `ID`, to see the next page")
	flags.IntVar(&cfg.Limit, "limit", 100, fmt.Sprintf("show at most `N` entries, %d at most", inspect.MaxPending))
	l.addFlags(cmd, false)
	return cmd
}

func (c *cli) pending(ctx context.Context, cfg inspect.PendingConfig, l looking) error {
	inspector, err := inspect.Open(ctx, c.config("freshet"))
	if err != nil {
		return c.connectError(ctx, err)
	}
	defer inspector.Close()
	match, err := l.matcher(ctx)
	if err != nil {
		return err
	}
	return c.watch(ctx, l.watching, func(ctx context.Context) error {
		now := time.Now()
		page, err := inspector.Pending(ctx, cfg)
		if errors.Is(err, inspect.ErrNoGroup) {
			return notFoundError("%w", err)
		}
		if err != nil {
			return serverError(err)
		}
		rows, err := matching(pendingRows(page, now), match)
		if err != nil {
			return err
		}
		if err := c.show([]string{"ID", "CONSUMER", "DELIVERIES", "IDLE", "PUBLISHED", "STATE"}, rows); err != nil {
			return err
		}
		if len(page) == cfg.Limit && c.tabular() {
			fmt.Fprintf(c.stderr, "there may be more: --after %s\n", page[len(page)-1].ID)
		}
		return nil
	})
}

type pendingJSON struct {
	Stream     string  `json:"stream"`
	Group      string  `json:"group"`
	ID         string  `json:"id"`
	Consumer   string  `json:"consumer"`
	Idle       float64 `json:"idle_seconds"`
	Deliveries int64   `json:"deliveries"`
	Time       string  `json:"time"`
	Age        float64 `json:"age_seconds"`
	Trimmed    bool    `json:"trimmed"`
}

func pendingOf(p inspect.PendingEntry, now time.Time) *pendingJSON {
	return &pendingJSON{p.Stream, p.Group, p.ID, p.Consumer, seconds(p.Idle), p.Deliveries, stamp(p.At), seconds(max(now.Sub(p.At), 0)), p.Trimmed}
}

func pendingRows(page []inspect.PendingEntry, now time.Time) []row {
	rows := make([]row, len(page))
	for n, p := range page {
		state := "pending"
		if p.Trimmed {
			state, rows[n].style = "trimmed from the stream", red
		}
		rows[n].value, rows[n].name = pendingOf(p, now), p.ID
		rows[n].cells = []string{p.ID, p.Consumer, countCell(p.Deliveries), span(p.Idle), agoCell(p.At, now), state}
	}
	return rows
}
