package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/daemon"
)

// checkServer refuses a server that is set up to lose events, as the doctor
// finds it, unless the configuration takes it as it is. What a server does not
// tell is warned of.
func (c *cli) checkServer(ctx context.Context, cfg daemon.Config, log *slog.Logger) error {
	inspector, err := inspect.Open(ctx, c.silentConfig(cfg.App))
	if err != nil {
		return c.connectError(ctx, err)
	}
	defer inspector.Close()
	found, err := inspector.DataLoss(ctx)
	if err != nil {
		return serverError(err)
	}
	var problems []error
	for _, f := range found {
		allowed, flag := cfg.AllowEviction, "--allow-eviction"
		if f.Check == "persistence" {
			allowed, flag = cfg.AllowNoPersistence, "--allow-no-persistence"
		}
		switch {
		case f.Severity == inspect.Critical && allowed:
			log.Warn("started all the same: "+lowerFirst(f.Summary), "evidence", f.Evidence)
		case f.Severity == inspect.Critical:
			problems = append(problems, fmt.Errorf("%s: mend it with '%s' and in its configuration file, or start all the same with %s",
				lowerFirst(f.Summary), f.Command, flag))
		case !allowed:
			log.Warn(lowerFirst(f.Summary), "advice", f.Advice, "command", f.Command)
		}
	}
	return errors.Join(problems...)
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// silentConfig is for a connection beside the bus's, which has logged what is
// to be said about the server.
func (c *cli) silentConfig(app string) freshet.Config {
	cfg := c.config(app)
	cfg.Log = slog.New(slog.DiscardHandler)
	return cfg
}

// serverName names a master of a cluster by its address, and the one server
// without.
func serverName(addr string) string { return strings.TrimSpace("the server " + addr) }
