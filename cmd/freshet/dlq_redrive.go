package main

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/repair"
)

// dealing is which dead letters a command deals with.
type dealing struct {
	selection
	all bool
}

func (d *dealing) addFlags(cmd *cobra.Command) {
	d.selection.addFlags(cmd)
	cmd.Flags().BoolVar(&d.all, "all-matching", false, "all that match the selection; without one, all there are")
}

// check refuses what names nothing, or two things.
func (d *dealing) check(args []string) error {
	switch {
	case len(args) == 0 && d.empty() && !d.all:
		return usageError("name a dead letter by its ID, a selection such as --reason, or --all-matching")
	case len(args) > 0 && d.all:
		return usageError("an ID names one dead letter; --all-matching is for many")
	}
	return nil
}

// chosen are the dead letters that a command deals with.
type chosen struct {
	refs       []inspect.DeadLetterRef
	notDecoded int // left out: they have to be named one by one
	foreign    int // left out
}

// choose finds the dead letters that the arguments mean. Those that do not
// decode are redriven only when named by ID, and records that are no dead
// letters never.
func (c *cli) choose(ctx context.Context, d dealing, args []string, toRedrive bool) (chosen, error) {
	if len(args) > 0 {
		command := "drop"
		if toRedrive {
			command = "redrive"
		}
		letter, err := c.findDeadLetter(ctx, command, d.selection, args[0])
		switch {
		case err != nil:
			return chosen{}, err
		case letter.Foreign && toRedrive:
			return chosen{}, fmt.Errorf("%s is no dead letter and stays: it does not end with the fields of one, from freshet-stream to freshet-last-failed", letter.ID)
		}
		return chosen{refs: []inspect.DeadLetterRef{letter.DeadLetterRef}}, nil
	}
	var found chosen
	err := c.eachDeadLetter(ctx, d.selection, func(l *inspect.DeadLetter) error {
		switch {
		case l.Foreign:
			found.foreign++
		case l.Refusal != nil && toRedrive:
			found.notDecoded++
		default:
			found.refs = append(found.refs, l.DeadLetterRef)
		}
		return nil
	})
	if err == nil && len(found.refs)+found.left() == 0 {
		err = c.reportNone(ctx, d.selection)
	}
	return found, err
}

// left is how many were left out.
func (f chosen) left() int { return f.notDecoded + f.foreign }

// reportLeft says what a selection has left out.
func (c *cli) reportLeft(found chosen) {
	if found.notDecoded > 0 {
		fmt.Fprintf(c.stderr, "dead letters left out because they do not decode: %d; redrive them one by one, by ID\n", found.notDecoded)
	}
	if found.foreign > 0 {
		fmt.Fprintf(c.stderr, "records left out because they are no dead letters: %d\n", found.foreign)
	}
}

func (c *cli) dlqRedriveCommand() *cobra.Command {
	var d dealing
	var rate float64
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "redrive [ID]",
		Short: "Give dead letters to the group that failed once more",
		Long: `Give one dead letter, or all that a selection matches, once more to the group
that failed, and to no other: in the order of publishing, under the ids they
had, with all attempts before them. What fails again is a dead letter again.
Of a group that nobody serves it warns: what is redriven to it waits.

Dead letters that do not decode are redriven only when named by ID.`,
		Example: `  freshet dlq redrive 1735987200000-0
  freshet dlq redrive --group crm-copy --reason max_attempts --dry-run
  freshet dlq redrive --tenant acme --jq '.data.amount > 100'
  freshet dlq redrive --all-matching --rate 50`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkRate(cmd, rate); err != nil {
				return err
			}
			if err := d.check(args); err != nil {
				return err
			}
			return c.dlqRedrive(cmd.Context(), d, args, rate, dryRun)
		},
	}
	d.addFlags(cmd)
	cmd.Flags().Float64Var(&rate, "rate", 0, "at most `N` a second (default as fast as it goes)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "count, and redrive nothing")
	return cmd
}

// checkRate refuses a --rate that is given and is no rate.
func checkRate(cmd *cobra.Command, rate float64) error {
	if cmd.Flags().Changed("rate") && (!(rate > 0) || math.IsInf(rate, 0)) {
		return usageError("--rate %v: must be a positive number", rate)
	}
	return nil
}

func (c *cli) dlqRedrive(ctx context.Context, d dealing, args []string, rate float64, dryRun bool) error {
	found, err := c.choose(ctx, d, args, true)
	if err != nil {
		return err
	}
	c.reportLeft(found)
	if dryRun {
		return c.printRedriven(found, repair.RedriveResult{}, true, c.unserved(ctx, found.refs))
	}
	repairer, err := c.openRepairer(ctx)
	if err != nil {
		return err
	}
	defer repairer.Close()
	bar := newCountdown(c, len(found.refs))
	result, err := repairer.Redrive(ctx, found.refs, repair.RedriveConfig{Rate: rate, Progress: bar.set})
	bar.clear()
	unserved := []string{}
	if result.Redriven > 0 && ctx.Err() == nil {
		unserved = c.unserved(ctx, found.refs)
	}
	if printErr := c.printRedriven(found, result, false, unserved); printErr != nil {
		return errors.Join(err, printErr)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted; what is left is a dead letter as before")
	case err != nil:
		return serverError(fmt.Errorf("%w; what is left is a dead letter as before, and nothing is redriven twice", err))
	}
	return nil
}

type redriven struct {
	Matched  int      `json:"matched"`
	Redriven int      `json:"redriven"`
	Gone     int      `json:"gone"`
	LeftOut  int      `json:"left_out"` // would match, but do not decode or are no dead letters
	DryRun   bool     `json:"dry_run"`
	Unserved []string `json:"unserved"` // groups that nobody works for
}

func (c *cli) printRedriven(found chosen, r repair.RedriveResult, dryRun bool, unserved []string) error {
	out := c.list(true, "MATCHED", "REDRIVEN", "GONE", "LEFT OUT")
	value := redriven{len(found.refs), r.Redriven, r.Gone, found.left(), dryRun, unserved}
	if err := out.add(value, plain, fmt.Sprint(len(found.refs)), fmt.Sprint(r.Redriven), fmt.Sprint(r.Gone), fmt.Sprint(found.left())); err != nil {
		return err
	}
	return out.close()
}

func (c *cli) dlqDropCommand() *cobra.Command {
	var d dealing
	var yes bool
	cmd := &cobra.Command{
		Use:   "drop [ID]",
		Short: "Delete dead letters for good",
		Long: `Delete one dead letter, or all that a selection matches, for good. Without --yes
they are only counted. 'freshet dlq export' keeps a copy.`,
		Example: `  freshet dlq drop 1735987200000-0 --yes
  freshet dlq drop --group crm-copy --reason bad_json --yes`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := d.check(args); err != nil {
				return err
			}
			return c.dlqDrop(cmd.Context(), d, args, yes)
		},
	}
	d.addFlags(cmd)
	cmd.Flags().BoolVar(&yes, "yes", false, "really delete them")
	return cmd
}

func (c *cli) dlqDrop(ctx context.Context, d dealing, args []string, yes bool) error {
	found, err := c.choose(ctx, d, args, false)
	if err != nil {
		return err
	}
	c.reportLeft(found)
	if !yes && len(found.refs) > 0 {
		return usageError("dead letters that would be deleted for good: %d; say so with --yes", len(found.refs))
	}
	repairer, err := c.openRepairer(ctx)
	if err != nil {
		return err
	}
	defer repairer.Close()
	dropped, err := repairer.Drop(ctx, found.refs)
	out := c.list(true, "MATCHED", "DROPPED", "LEFT OUT")
	printErr := out.add(droppedJSON{len(found.refs), dropped, found.left()}, plain, fmt.Sprint(len(found.refs)), fmt.Sprint(dropped), fmt.Sprint(found.left()))
	return errors.Join(serverError(err), printErr, out.close())
}

type droppedJSON struct {
	Matched int `json:"matched"`
	Dropped int `json:"dropped"`
	LeftOut int `json:"left_out"` // are no dead letters
}

// countdown shows on a terminal how many of all are done.
type countdown struct{ bar *progressbar.ProgressBar }

func newCountdown(c *cli, all int) countdown {
	if !isTerminal(c.stderr) {
		return countdown{}
	}
	return countdown{progressbar.NewOptions(all,
		progressbar.OptionSetWriter(c.stderr),
		progressbar.OptionSetDescription("redriving"),
		progressbar.OptionShowCount(),
		progressbar.OptionSetPredictTime(true),
	)}
}

// Errors of drawing are of no interest.
func (d countdown) set(done int) {
	if d.bar != nil {
		_ = d.bar.Set(done)
	}
}

func (d countdown) clear() {
	if d.bar != nil {
		_ = d.bar.Clear()
	}
}
