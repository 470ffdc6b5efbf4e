package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/repair"
)

func (c *cli) consumersPruneCommand() *cobra.Command {
	var cfg repair.PruneConfig
	cmd := &cobra.Command{
		Use:   "prune STREAM|PATTERN GROUP",
		Short: "Remove consumers that are gone, and give away what they hold",
		Long: `Remove the consumers of a group that have asked for nothing for long. Entries
that one of them holds are given to a live consumer first, with their delivery
counts, and as idle as they were: whoever takes over idle entries finds them at
once. Without a live consumer such a consumer stays: no pending entry is dropped.`,
		Example: `  freshet consumers prune credit-events billing --dry-run
  freshet consumers prune '*' crm-copy --idle 1d
  freshet consumers prune credit-events billing --idle 10m --to billing-2`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cfg.Idle < time.Minute {
				return usageError("--idle %s: at least a minute, within which a consumer is live", cfg.Idle)
			}
			cfg.Streams, cfg.Group = args[:1], args[1]
			return c.consumersPrune(cmd.Context(), cfg)
		},
		ValidArgs: events.Streams(),
	}
	cfg.Idle = 2 * time.Hour
	cmd.Flags().Var(durationFlag{&cfg.Idle}, "idle", "remove consumers that have asked for nothing for longer than `AGE`")
	cmd.Flags().StringVar(&cfg.To, "to", "", "give what they hold to `CONSUMER` (default the live one that was seen last)")
	cmd.Flags().BoolVar(&cfg.DryRun, "dry-run", false, "say what would be done, and change nothing")
	return cmd
}

type prunedJSON struct {
	Stream   string  `json:"stream"`
	Group    string  `json:"group"`
	Consumer string  `json:"consumer"`
	LastSeen float64 `json:"last_seen_seconds"`
	Pending  int64   `json:"pending"` // that it held
	To       *string `json:"to"`
	Moved    int64   `json:"moved"`
	Gone     int64   `json:"gone"` // entries that the stream has no longer
	Removed  bool    `json:"removed"`
	DryRun   bool    `json:"dry_run"`
	Error    *string `json:"error"`
}

func (c *cli) consumersPrune(ctx context.Context, cfg repair.PruneConfig) error {
	repairer, err := c.openRepairer(ctx)
	if err != nil {
		return err
	}
	defer repairer.Close()
	pruned, err := repairer.PruneConsumers(ctx, cfg)
	if err != nil && len(pruned) == 0 {
		return changeError(err)
	}
	removed := "REMOVED"
	if cfg.DryRun {
		removed = "WOULD GO"
	}
	rows := make([]row, len(pruned))
	left := 0
	for i, p := range pruned {
		rows[i] = prunedRow(p, cfg.DryRun)
		if p.Err != nil {
			left++
			err = errors.Join(err, serverErrorOnly(p.Err))
		}
	}
	if err := errors.Join(c.show([]string{"CONSUMER", "GROUP", "STREAM", "LAST SEEN", "PENDING", "GIVEN TO", "MOVED", removed, "WHY NOT"}, rows), changeError(err)); err != nil {
		return err
	}
	if left > 0 {
		return fmt.Errorf("consumers that stay: %d", left)
	}
	return nil
}

// serverErrorOnly keeps an error that has an exit code of its own.
func serverErrorOnly(err error) error {
	if coded := serverError(err); errors.As(coded, new(*exitError)) {
		return coded
	}
	return nil
}

func prunedRow(p repair.PrunedConsumer, dryRun bool) row {
	removed, why, problem := "no", "-", (*string)(nil)
	if p.Removed {
		removed = "yes"
	}
	if p.Err != nil {
		why = p.Err.Error()
		problem = &why
	}
	style := plain
	if p.Err != nil {
		style = red
	}
	to := p.To
	if p.Pending == 0 {
		to = ""
	}
	return row{
		value: prunedJSON{p.Stream, p.Group, p.Name, seconds(p.Idle), p.Pending, orNull(to), p.Moved, p.Gone, p.Removed, dryRun, problem},
		style: style,
		cells: []string{
			p.Name, p.Group, p.Stream, span(p.Idle) + " ago", strconv.FormatInt(p.Pending, 10), orDash(to),
			strconv.FormatInt(p.Moved, 10), removed, why,
		},
	}
}
