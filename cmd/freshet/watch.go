package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

// watching is what the flags say about how often results are shown.
type watching struct{ every time.Duration }

func (w *watching) addFlags(cmd *cobra.Command) {
	cmd.Flags().Var(durationFlag{&w.every}, "watch", "show it again every `INTERVAL` until Ctrl-C")
	cmd.Flags().Lookup("watch").NoOptDefVal = "2s"
}

func (w *watching) validate() error {
	if w.every != 0 && w.every < 100*time.Millisecond {
		return usageError("--watch: at least 100ms")
	}
	return nil
}

// watch calls show once or, where that is asked for, again and again until ctx
// ends: on a terminal in place of what was there, else behind it. Only the
// first failure ends it: one who watches wants to see what comes back.
func (c *cli) watch(ctx context.Context, w watching, show func(context.Context) error) error {
	if w.every == 0 {
		return show(ctx)
	}
	for first := true; ; first = false {
		if isTerminal(c.stdout) {
			fmt.Fprint(c.stdout, "\x1b[H\x1b[2J") // home, and clear
			fmt.Fprintf(c.stdout, "every %v, %s; Ctrl-C ends it\n\n", w.every, time.Now().Format(time.TimeOnly))
		}
		err := show(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil:
			fmt.Fprintln(c.stderr, "freshet:", escapeLines(err.Error()))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(w.every):
		}
	}
}
