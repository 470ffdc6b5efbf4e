package main

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
)

func (c *cli) topCommand() *cobra.Command {
	every := 2 * time.Second
	cmd := &cobra.Command{
		Use:   "top [PATTERN...]",
		Short: "Watch the streams and groups, the worst first, on the whole terminal",
		Long: `Watch the groups of the streams that match a PATTERN (a key or a Redis glob; by
default every stream of the suite) on the whole terminal: what is wrong and what
mends it, how fast entries come and are settled, and what waits. Enter goes from
a stream to its groups, their consumers, what they hold, and an entry, of which
personal data is masked; ? shows all keys. Nothing is changed.

While the server does not answer, what was seen last stays, and is marked as old.
"?" is what is not known; the line below the table says why.`,
		Example: `  freshet top
  freshet top 'crm:*' --interval 5s`,
		ValidArgs: events.Streams(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.top(cmd.Context(), args, every)
		},
	}
	cmd.Flags().Var(durationFlag{&every}, "interval", "look every `INTERVAL`")
	return cmd
}

func (c *cli) top(ctx context.Context, patterns []string, every time.Duration) error {
	switch {
	case every < topTick:
		return usageError("--interval: at least %v", topTick)
	case c.output != "table":
		return usageError("-o %s: top is for a terminal; see 'freshet groups --watch -o %s'", c.output, c.output)
	case !isTerminal(c.stdin) || !isTerminal(c.stdout):
		return usageError("top needs a terminal for input and output; see 'freshet groups --watch'")
	case os.Getenv("TERM") == "dumb":
		return usageError("top needs a terminal that can move its cursor, and TERM is dumb; see 'freshet groups --watch'")
	}
	// A log would be written over what is shown.
	quiet := *c
	quiet.stderr = io.Discard
	inspector, err := inspect.Open(ctx, quiet.config("freshet"))
	if err != nil {
		return c.connectError(ctx, err)
	}
	defer inspector.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // what is under way when the user quits
	m := newTop(ctx, &quiet, inspector, patterns, every)
	p := tea.NewProgram(m, tea.WithInput(c.stdin), tea.WithOutput(c.stdout), tea.WithoutSignalHandler())
	// Not the program's context: at its end the library does not wait for the
	// reader of the terminal before it closes what that reads.
	defer context.AfterFunc(ctx, p.Quit)()
	_, err = p.Run()
	if ctx.Err() != nil || errors.Is(err, tea.ErrInterrupted) {
		return nil // a signal is one of the ways to quit
	}
	return err
}
