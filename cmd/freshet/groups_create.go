package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/repair"
)

func (c *cli) groupsCreateCommand() *cobra.Command {
	var cfg repair.CreateGroupConfig
	cmd := &cobra.Command{
		Use:   "create STREAM|PATTERN GROUP",
		Short: "Create a group of a stream, or of all that match",
		Long: `Create a consumer group of a stream, or of all streams that match a Redis glob.
A group that is there stays as it is. A stream that does not exist is created
only if it is one of the catalogue's, or with --make-stream.`,
		Example: `  freshet groups create credit-events billing
  freshet groups create 'crm:*' crm-copy --start new
  freshet groups create credit-events billing --start 2d`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if cfg.Start != repair.Beginning && cfg.Start != repair.New {
				start, err := parsePlace("--start", cfg.Start, time.Now())
				if err != nil {
					return err
				}
				cfg.Start = start
			}
			cfg.Group = args[1]
			return c.groupsCreate(cmd.Context(), args[0], cfg)
		},
		ValidArgs: events.ExplicitStreams(),
	}
	cmd.Flags().StringVar(&cfg.Start, "start", repair.Beginning, "begin `AT` beginning, new (what is published from now on), "+placeUsage+"; an entry with that id is included")
	cmd.Flags().BoolVar(&cfg.MakeStream, "make-stream", false, "create the stream, if there is none")
	return cmd
}

type createdJSON struct {
	Stream  string `json:"stream"`
	Group   string `json:"group"`
	Created bool   `json:"created"` // false: it was there
	Start   string `json:"start"`   // beginning, new or an entry id
}

func (c *cli) groupsCreate(ctx context.Context, pattern string, cfg repair.CreateGroupConfig) error {
	repairer, err := c.openRepairer(ctx)
	if err != nil {
		return err
	}
	defer repairer.Close()
	streams, err := repairer.Streams(ctx, []string{pattern})
	if err != nil {
		return serverError(err)
	}
	if len(streams) == 0 {
		return notFoundError("no stream matches %s", pattern)
	}
	var rows []row
	for _, stream := range streams {
		cfg.Stream = stream
		created, err := repairer.CreateGroup(ctx, cfg)
		if err != nil {
			return errors.Join(c.showCreated(rows), changeError(err))
		}
		state := "created"
		if !created {
			state = "was there, unchanged"
		}
		rows = append(rows, row{value: createdJSON{stream, cfg.Group, created, cfg.Start}, cells: []string{stream, cfg.Group, state}})
	}
	return c.showCreated(rows)
}

func (c *cli) showCreated(rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	return c.show([]string{"STREAM", "GROUP", "STATE"}, rows)
}

// changeError gives what keeps a change from being made its exit code.
func changeError(err error) error {
	if errors.Is(err, repair.ErrNoStream) || errors.Is(err, repair.ErrNoGroup) {
		return notFoundError("%w", err)
	}
	return serverError(err)
}

func one(streams []string) (string, error) {
	if redisstream.IsGlob(streams[0]) {
		return "", usageError("%s: name one stream", streams[0])
	}
	return streams[0], nil
}
