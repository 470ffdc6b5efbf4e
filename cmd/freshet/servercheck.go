package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/connection"
	"github.com/freshet/freshet/internal/daemon"
	"github.com/freshet/freshet/internal/redisstream"
)

// checkServer refuses a server that is set up to lose events, unless the
// configuration takes it as it is. What a server does not tell is warned of.
func (c *cli) checkServer(ctx context.Context, cfg daemon.Config, log *slog.Logger) error {
	facts, err := c.serverFacts(ctx, cfg.App)
	if err != nil {
		return err
	}
	var problems []error
	for _, f := range facts {
		switch evicts := f.Policy != "noeviction"; {
		case cfg.AllowEviction && evicts:
			log.Info("started all the same on a server that may delete data when its memory is full", "server", f.Addr, "maxmemory-policy", f.Policy)
		case f.Policy == "":
			log.Warn("the server does not tell its maxmemory-policy: make sure that it is noeviction, or streams may vanish when its memory is full", "server", f.Addr)
		case evicts:
			problems = append(problems, fmt.Errorf("%s may delete %s when its memory is full, for its maxmemory-policy is %s: "+
				"mend it with '%s CONFIG SET maxmemory-policy noeviction' and in its configuration file, or start all the same with --allow-eviction",
				serverName(f.Addr), evicted(f.Policy), f.Policy, redisCLI(f.Addr)))
		}
		switch f.Persists() {
		case redisstream.Yes:
			if f.AppendOnly == redisstream.No && !cfg.AllowNoPersistence {
				log.Warn("the server has no append-only file: when it crashes, all that was published since its last snapshot is lost; set appendonly yes", "server", f.Addr)
			}
		case redisstream.Unknown:
			if !cfg.AllowNoPersistence {
				log.Warn("the server does not tell whether it writes to disk: make sure that it does, or all is lost when it ends", "server", f.Addr)
			}
		case redisstream.No:
			if cfg.AllowNoPersistence {
				log.Info("started all the same on a server that writes nothing to disk", "server", f.Addr)
				continue
			}
			problems = append(problems, fmt.Errorf("%s writes nothing to disk, so that all is lost when it ends: "+
				"mend it with '%s CONFIG SET appendonly yes' and in its configuration file, or start all the same with --allow-no-persistence",
				serverName(f.Addr), redisCLI(f.Addr)))
		}
	}
	return errors.Join(problems...)
}

// serverFacts asks the server, or the masters of a cluster, about themselves.
func (c *cli) serverFacts(ctx context.Context, app string) ([]redisstream.Facts, error) {
	client, err := connection.Open(ctx, c.silentConfig(app))
	if err != nil {
		return nil, connectError(ctx, err)
	}
	defer client.Close()
	facts, err := client.Facts(ctx)
	return facts, serverError(err)
}

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

// evicted says what a maxmemory-policy other than noeviction deletes.
func evicted(policy string) string {
	if strings.HasPrefix(policy, "volatile-") {
		return "keys that expire, such as the lease of an exclusive consumer,"
	}
	return "whole streams, unread events and groups included,"
}

// redisCLI is the command that reaches a master of a cluster, or the server.
func redisCLI(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "redis-cli"
	}
	return "redis-cli -h " + host + " -p " + port
}
