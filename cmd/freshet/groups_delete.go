package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/repair"
)

func (c *cli) groupsDeleteCommand() *cobra.Command {
	var cfg repair.DeleteGroupConfig
	cmd := &cobra.Command{
		Use:   "delete STREAM GROUP",
		Short: "Remove a group from a stream",
		Long: `Remove a consumer group from a stream. Nothing is removed while consumers of the
group are at work, which would create it again. Events that the group has never
been given are left unread with --yes. Pending entries are given up only with
--discard-pending and their exact number, which this command tells.

The events of the stream stay, and so do the dead letters of the group and what
was redriven to it.`,
		Example: `  freshet groups delete credit-events old-billing --dry-run
  freshet groups delete credit-events old-billing --yes
  freshet groups delete credit-events old-billing --yes --discard-pending 12`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if cfg.Stream, err = one(args); err != nil {
				return err
			}
			cfg.Group = args[1]
			return c.groupsDelete(cmd.Context(), cfg)
		},
		ValidArgs: events.ExplicitStreams(),
	}
	cmd.Flags().BoolVar(&cfg.Unread, "yes", false, "leave events unread")
	cmd.Flags().Int64Var(&cfg.DiscardPending, "discard-pending", 0, "give up the pending entries, of which there are `N`")
	cmd.Flags().BoolVar(&cfg.DryRun, "dry-run", false, "say what goes with it, and remove nothing")
	return cmd
}

type deletedJSON struct {
	Stream      string `json:"stream"`
	Group       string `json:"group"`
	Deleted     bool   `json:"deleted"`
	Pending     int64  `json:"pending"`
	Unread      *int64 `json:"unread"` // null: more than were counted
	UnreadMin   int64  `json:"unread_at_least"`
	Live        int64  `json:"live_consumers"`
	DeadLetters int64  `json:"dead_letters"` // they stay
	Redriven    int64  `json:"redriven"`     // not settled; they stay
}

func (c *cli) groupsDelete(ctx context.Context, cfg repair.DeleteGroupConfig) error {
	repairer, err := c.openRepairer(ctx)
	if err != nil {
		return err
	}
	defer repairer.Close()
	d, err := repairer.DeleteGroup(ctx, cfg)
	held := (*repair.HeldError)(nil)
	if err != nil && !errors.As(err, &held) {
		return changeError(err)
	}
	deleted := "no"
	if d.Deleted {
		deleted = "yes"
	}
	shown := c.show([]string{"STREAM", "GROUP", "DELETED", "PENDING", "UNREAD", "LIVE CONSUMERS", "DEAD LETTERS", "REDRIVEN"}, []row{{
		value: deletedJSON{d.Stream, d.Group, d.Deleted, d.Pending, exact(d.Unread), d.Unread.N, d.Live, d.DeadLetters, d.Redriven},
		cells: []string{
			d.Stream, d.Group, deleted, strconv.FormatInt(d.Pending, 10), d.Unread.String(),
			strconv.FormatInt(d.Live, 10), strconv.FormatInt(d.DeadLetters, 10), strconv.FormatInt(d.Redriven, 10),
		},
	}})
	if shown != nil || held == nil {
		if d.Deleted && d.DeadLetters+d.Redriven > 0 {
			fmt.Fprintf(c.stderr, "left: %d dead letters and %d redriven events of the group; see 'freshet dlq'\n", d.DeadLetters, d.Redriven)
		}
		return shown
	}
	if d.Live > 0 {
		return held
	}
	need := ""
	if d.Unread.N+d.Redriven > 0 {
		need = " --yes"
	}
	if d.Pending > 0 {
		need += fmt.Sprintf(" --discard-pending %d", d.Pending)
	}
	if need == "" {
		return usageError("%w; leave out --discard-pending", held)
	}
	return usageError("%w; to delete it all the same, add%s", held, need)
}
