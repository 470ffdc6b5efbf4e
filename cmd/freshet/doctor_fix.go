package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/repair"
)

// fixing is what the flags say about mending.
type fixing struct{ wanted, yes bool }

func (f *fixing) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.wanted, "fix", false, "make the changes that are safe, after asking about each")
	cmd.Flags().BoolVar(&f.yes, "yes", false, "with --fix: do not ask")
}

// fix makes the changes that the findings know to be safe and the person
// agrees to, and returns how many. One that fails does not keep the others from
// being made.
func (c *cli) fix(ctx context.Context, d *inspect.Diagnosis, f fixing) (fixed int, err error) {
	repairer, err := c.openRepairer(ctx)
	if err != nil {
		return 0, err
	}
	defer repairer.Close()
	answers := bufio.NewScanner(c.stdin)
	var errs []error
	for _, finding := range d.Findings {
		if finding.Fix == nil {
			continue
		}
		fmt.Fprintf(c.stderr, "%s.\n  %s\n", escape(finding.Summary), escape(finding.Command))
		if !f.yes && !c.agreed(answers) {
			continue
		}
		done, err := apply(ctx, repairer, *finding.Fix)
		if err != nil {
			errs = append(errs, serverError(err))
			fmt.Fprintln(c.stderr, "failed:", escape(err.Error()))
			continue
		}
		fixed++
		fmt.Fprintln(c.stderr, escape(done))
	}
	return fixed, errors.Join(errs...)
}

// agreed asks, and takes anything but yes for a no.
func (c *cli) agreed(answers *bufio.Scanner) bool {
	fmt.Fprint(c.stderr, "Do that? [y/N] ")
	if !answers.Scan() {
		fmt.Fprintln(c.stderr)
		return false
	}
	answer := strings.ToLower(strings.TrimSpace(answers.Text()))
	return answer == "y" || answer == "yes"
}

func apply(ctx context.Context, r *repair.Repairer, f inspect.Fix) (done string, err error) {
	switch {
	case f.Setting != "":
		if err := r.SetConfig(ctx, f.Server, f.Setting, f.Value); err != nil {
			return "", err
		}
		return fmt.Sprintf("%s is %s until the server ends: write it into its configuration file too", f.Setting, f.Value), nil
	case f.Start != "":
		created, err := r.CreateGroup(ctx, repair.CreateGroupConfig{Stream: f.Stream, Group: f.Group, Start: f.Start})
		if err == nil && !created {
			return "it has been created meanwhile", nil
		}
		return fmt.Sprintf("created %s on %s", f.Group, f.Stream), err
	}
	pruned, err := r.PruneConsumers(ctx, repair.PruneConfig{Streams: []string{f.Stream}, Group: f.Group, Idle: f.Idle})
	removed := 0
	for _, p := range pruned {
		if p.Removed {
			removed++
		}
		err = errors.Join(err, p.Err)
	}
	return fmt.Sprintf("removed %d consumers of %s on %s", removed, f.Group, f.Stream), err
}
