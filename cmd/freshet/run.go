package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/daemon"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/replica"
)

func (c *cli) runCommand() *cobra.Command {
	var cfg daemon.Config
	var file string
	var drain bool
	cmd := &cobra.Command{
		Use:   "run [-c FILE] --replica URL",
		Short: "Keep a copy of the suite's data in SQL",
		Long: `Consume the suite's events into a copy in SQL until SIGTERM or Ctrl-C, then
finish what is in hand. Losing the server, a stream or the database meanwhile
is survived.

Flags override the configuration file, where the key of --handler-timeout is
handler_timeout in the section consumer.`,
		Example: `  freshet run --app crm --replica sqlite://suite.db
  freshet run -c freshet.yaml
  freshet run --app crm --replica sqlite://suite.db --streams 'crm:*,credit-events' --tenants acme
  freshet run --app crm --replica sqlite://suite.db --drain -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.configure(&cfg, file, cmd.Flags()); err != nil {
				return &exitError{exitUsage, err}
			}
			return c.keepCopy(cmd.Context(), cfg, drain)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&file, "config", "c", "", "configuration `FILE`, YAML")
	flags.BoolVar(&drain, "drain", false, "handle all that is there, retries included, print the counts and exit")
	for _, s := range cfg.Settings() {
		addFlag(flags, s)
	}
	return cmd
}

// addFlag adds the flag of a setting, where it is not one that every command
// has.
func addFlag(flags *pflag.FlagSet, s daemon.Setting) {
	name := s.Flag()
	switch name {
	case "redis", "redis-password-file", "tls-ca", "tls-cert", "tls-key":
		return
	}
	switch field := s.Field.(type) {
	case *string:
		flags.StringVar(field, name, "", s.Usage)
	case *bool:
		flags.BoolVar(field, name, false, s.Usage)
	case *int:
		flags.IntVar(field, name, 0, s.Usage)
	case *time.Duration:
		flags.Var(durationFlag{field}, name, s.Usage)
	case *[]string:
		flags.StringSliceVar(field, name, nil, s.Usage)
	}
}

// configure completes cfg, which the command's flags have filled, by the
// global flags and the file, and checks it. The connection ends up in c.
func (c *cli) configure(cfg *daemon.Config, file string, flags *pflag.FlagSet) error {
	given := func(key string) bool {
		if key == "redis" || key == "redis_file" { // two ways to say one thing
			return flags.Changed("redis") || flags.Changed("redis-file")
		}
		return flags.Changed(daemon.Setting{Key: key}.Flag())
	}
	cfg.Redis, cfg.PasswordFile = c.redis, c.passwordFile
	cfg.TLSCA, cfg.TLSCert, cfg.TLSKey = c.tlsCA, c.tlsCert, c.tlsKey
	for _, s := range cfg.Settings() {
		if err := s.Check(); err != nil && given(s.Key) {
			return fmt.Errorf("--%s: %w", s.Flag(), err)
		}
	}
	if file != "" {
		if err := cfg.ReadFile(file, given); err != nil {
			return err
		}
	}
	if err := cfg.Validate(); err != nil {
		return err
	}
	if err := cfg.CheckPasswordFile(); err != nil {
		return err
	}
	var err error
	c.redis, err = cfg.RedisURL()
	c.passwordFile = cfg.PasswordFile
	c.tlsCA, c.tlsCert, c.tlsKey = cfg.TLSCA, cfg.TLSCert, cfg.TLSKey
	return err
}

// keepCopy consumes into the copy until ctx ends or, for a drain, until there
// is nothing left. To be told to stop while starting is not a failure, but of a
// drain.
func (c *cli) keepCopy(ctx context.Context, cfg daemon.Config, drain bool) error {
	err := c.consumeIntoCopy(ctx, cfg, drain)
	if ctx.Err() != nil && !drain && errors.Is(err, context.Cause(ctx)) {
		return nil
	}
	return err
}

func (c *cli) consumeIntoCopy(ctx context.Context, cfg daemon.Config, drain bool) error {
	streams, tenants := orAll(cfg.Consumer.Streams), orAll(cfg.Consumer.Tenants)
	cfg = cfg.WithDefaults()
	c.service = true
	log := c.logger()
	o, err := c.observe(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer o.close()
	o.configure(&cfg)
	store, err := replica.Open(ctx, cfg.Replica, replica.Options{Log: log})
	if err != nil {
		return fmt.Errorf("%s: %w", daemon.Redact(cfg.Replica), err)
	}
	defer store.Close()
	connection := c.config(cfg.App)
	connection.Tracer = o.tracer
	bus, err := c.connect(ctx, connection)
	if err != nil {
		return err
	}
	defer bus.Close()
	if err := c.checkServer(ctx, cfg, log); err != nil {
		return err
	}
	if cfg.Retention > 0 && !drain {
		stop, err := c.keepRetention(ctx, cfg, log)
		if err != nil {
			return err
		}
		defer stop()
	}
	consumer := daemon.NewConsumer(bus, cfg, store)
	if err := o.follow(consumer, cfg, c.silentConfig(cfg.App), log); err != nil {
		return c.connectError(ctx, err)
	}
	log.Info("consuming", "streams", streams, "tenants", tenants,
		"into", daemon.Redact(cfg.Replica), "group", cfg.Consumer.Group, "consumer", consumer.Name())
	consume := consumer.Run
	if drain {
		consume = consumer.Drain
	}
	err = consume(ctx)
	stats := consumer.Stats()
	switch conflict := (*freshet.FilterConflictError)(nil); {
	case errors.As(err, &conflict):
		return usageError("%w (--replace-tenants)", err)
	case redisstream.ClassOf(err) == redisstream.Unreachable:
		return &exitError{exitUnreachable, err}
	case err != nil:
		return err
	case !drain:
		log.Info("stopped", "counts", stats)
		return nil
	}
	if err := c.printCounts(stats); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return errors.New("told to stop before everything was handled")
	}
	return nil
}

func orAll(names []string) string {
	if len(names) == 0 {
		return "all"
	}
	return strings.Join(names, ",")
}

// printCounts shows a table that has, of what is out of the ordinary, only what
// there was.
func (c *cli) printCounts(s freshet.Stats) error {
	header := []string{"HANDLED", "IGNORED", "FILTERED", "DEAD-LETTERED", "RETRIED", "LOST"}
	cells := []string{number(s.Handled), number(s.Ignored), number(s.Filtered), number(s.DeadLettered), number(s.Retried), number(s.LostTrimmed + s.LostUnread)}
	for _, odd := range []struct {
		column string
		count  int64
	}{{"LOST ACKS", s.LostAcks}, {"RE-CREATED", s.GroupsRecreated}, {"SET BACK", s.StreamsSetBack}} {
		if odd.count > 0 {
			header, cells = append(header, odd.column), append(cells, number(odd.count))
		}
	}
	counts := c.list(true, header...)
	for i, cell := range cells {
		counts.widths[i] = max(counts.widths[i], len(cell))
	}
	counts.fit()
	if err := counts.add(s, plain, cells...); err != nil {
		return err
	}
	return counts.close()
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
