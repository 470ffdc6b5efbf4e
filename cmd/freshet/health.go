package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
)

func (c *cli) healthCommand() *cobra.Command {
	var w watching
	var cfg inspect.DiagnoseConfig
	limits := inspect.DefaultThresholds()
	cfg.Thresholds = &limits
	cmd := &cobra.Command{
		Use:   "health [PATTERN...]",
		Short: "Say in a sentence how the bus is",
		Long: `Say in a sentence or two how the bus is: the worst that was found and what mends
it, or that all is well. 'freshet doctor' says everything that was found.

The exit code is 0 when nothing has to be done, 3 when something has, and 5 when
the server cannot be reached.`,
		Example: `  freshet health
  freshet health 'crm:*' -o json`,
		ValidArgs: events.Streams(),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Patterns, cfg.Freshet = args, c.ownCommand()
			return c.health(cmd.Context(), cfg, w)
		},
	}
	cmd.Flags().Var(thresholdFlag{&limits}, "threshold", "`NAME=WARNING,CRITICAL`: from which values on something has to be done (may be given several times); docs/doctor.md has the names")
	w.addFlags(cmd)
	return cmd
}

type healthJSON struct {
	Healthy  bool    `json:"healthy"`
	Verdict  string  `json:"verdict"`
	Worst    *string `json:"worst_severity"` // null: nothing was found
	Findings int     `json:"findings"`
}

func (c *cli) health(ctx context.Context, cfg inspect.DiagnoseConfig, w watching) error {
	if err := w.validate(); err != nil {
		return err
	}
	var last *inspect.Diagnosis
	err := c.watch(ctx, w, func(ctx context.Context) error {
		d, err := inspect.Diagnose(ctx, c.config("freshet"), cfg)
		if err != nil {
			return c.connectError(ctx, err)
		}
		last = d
		style := plain
		if !d.Healthy() {
			style = red
		}
		out := c.list(true)
		if c.tabular() {
			return out.line(style, escape(d.Verdict()))
		}
		return out.add(healthJSON{d.Healthy(), d.Verdict(), orNull(string(d.Worst())), len(d.Findings)}, style)
	})
	switch {
	case err != nil || last == nil || w.every > 0:
		return err
	case last.Unreachable:
		return &exitError{exitUnreachable, errors.New("the server cannot be reached")}
	case !last.Healthy():
		return &exitError{exitFindings, errors.New("something has to be done")}
	}
	return nil
}
