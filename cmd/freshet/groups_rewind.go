package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/repair"
)

func (c *cli) groupsRewindCommand() *cobra.Command {
	var cfg repair.RewindConfig
	cmd := &cobra.Command{
		Use:   "rewind STREAM GROUP --to PLACE",
		Short: "Move a group back, so that it gets events again",
		Long: `Move a consumer group back, so that the events of a stream from a place on are
delivered to it again. Its consumers may be at work: Freshet's take it for what
it is. What has effects once by its identity, as the copy has, is not done twice.

Entries that are pending stay pending. --dry-run says how many events would be
delivered again, and what they are. A group is never moved ahead.`,
		Example: `  freshet groups rewind credit-events billing --to 15m --dry-run
  freshet groups rewind credit-events billing --to 1735987200000-0
  freshet groups rewind credit-events billing --to beginning`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if cfg.Stream, err = one(args); err != nil {
				return err
			}
			if cfg.To == "" {
				return usageError("--to: say where to")
			}
			if cfg.Group = args[1]; cfg.To != repair.Beginning {
				if cfg.To, err = parsePlace("--to", cfg.To, time.Now()); err != nil {
					return err
				}
			}
			return c.groupsRewind(cmd.Context(), cfg)
		},
		ValidArgs: events.ExplicitStreams(),
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.To, "to", "", "the `PLACE` of the first event to deliver again: beginning, "+placeUsage)
	flags.Int64Var(&cfg.CountTo, "count-to", 100_000, "count up to `N` events")
	flags.BoolVar(&cfg.DryRun, "dry-run", false, "say what would be delivered again, and change nothing")
	return cmd
}

type rewoundJSON struct {
	Stream        string         `json:"stream"`
	Group         string         `json:"group"`
	DryRun        bool           `json:"dry_run"`
	LastDelivered string         `json:"last_delivered_id"` // before
	First         *string        `json:"first_id"`          // that is delivered next; null: none
	Again         *int64         `json:"delivered_again"`   // null: more than were counted
	AgainMin      int64          `json:"delivered_again_at_least"`
	Unread        *int64         `json:"unread"` // null: more than were counted
	UnreadMin     int64          `json:"unread_at_least"`
	Pending       int64          `json:"pending"`
	Trimmed       bool           `json:"trimmed"` // events from the place on have been removed
	Sampled       int            `json:"sampled"`
	Types         map[string]int `json:"types"`   // of those sampled
	Tenants       map[string]int `json:"tenants"` // of those sampled
}

func (c *cli) groupsRewind(ctx context.Context, cfg repair.RewindConfig) error {
	repairer, err := c.openRepairer(ctx)
	if err != nil {
		return err
	}
	defer repairer.Close()
	r, err := repairer.RewindGroup(ctx, cfg)
	switch {
	case errors.Is(err, repair.ErrNotBack) && r != nil:
		return usageError("%w: it is at %s, and a group is never moved ahead", err, r.LastDelivered)
	case err != nil:
		return changeError(err)
	}
	if !c.tabular() {
		value := rewoundJSON{
			Stream: r.Stream, Group: r.Group, DryRun: cfg.DryRun, LastDelivered: r.LastDelivered, First: orNull(r.First),
			Again: exact(r.Again), AgainMin: r.Again.N, Unread: exact(r.Unread), UnreadMin: r.Unread.N,
			Pending: r.Pending, Trimmed: r.Trimmed, Sampled: r.Sampled, Types: r.Types, Tenants: r.Tenants,
		}
		return c.single(value)
	}
	did := "moved back"
	if cfg.DryRun {
		did = "would be moved back"
	}
	fmt.Fprintf(c.stdout, "group %s of %s %s from %s\n", escape(r.Group), escape(r.Stream), did, r.LastDelivered)
	fmt.Fprintf(c.stdout, "  delivered again  %s%s\n", r.Again, from(r.First))
	fmt.Fprintf(c.stdout, "  unread, behind   %s\n", r.Unread)
	if r.Sampled > 0 {
		of := "of these"
		if !r.Again.Known() || int64(r.Sampled) < r.Again.N {
			of = fmt.Sprintf("of the first %d", r.Sampled)
		}
		fmt.Fprintf(c.stdout, "  types, %s: %s\n", of, escape(tally(r.Types)))
		fmt.Fprintf(c.stdout, "  tenants, %s: %s\n", of, escape(tally(r.Tenants)))
	}
	if r.Pending > 0 {
		fmt.Fprintf(c.stderr, "warning: entries that are pending, and stay so: %d\n", r.Pending)
	}
	if r.Trimmed {
		fmt.Fprintln(c.stderr, "warning: events before the first one have been removed from the stream, and cannot be delivered again")
	}
	return nil
}

func from(first string) string {
	if first == "" {
		return ""
	}
	return ", from " + first
}

// tally names what there is most of.
func tally(counts map[string]int) string {
	const most = 8
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var parts []string
	for i, name := range names {
		if i == most {
			parts = append(parts, fmt.Sprintf("and %d more", len(names)-most))
			break
		}
		parts = append(parts, orDash(name)+" "+strconv.Itoa(counts[name]))
	}
	return strings.Join(parts, ", ")
}

// single writes one result in the JSON formats.
func (c *cli) single(value any) error {
	out := c.list(true)
	if err := out.add(value, plain); err != nil {
		return err
	}
	return out.close()
}
