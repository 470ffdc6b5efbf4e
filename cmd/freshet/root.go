package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/redisstream"
)

// Exit codes. They are part of the command line's contract.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitFindings    = 3 // something is not as it should be
	exitNotFound    = 4
	exitUnreachable = 5
)

// exitError carries the exit code of an error.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func notFoundError(format string, args ...any) error {
	return &exitError{exitNotFound, fmt.Errorf(format, args...)}
}

// cli is what every command has: the streams and the global flags.
type cli struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	redis, passwordFile    string
	tlsCA, tlsCert, tlsKey string
	output                 string
	verbose                bool
	service                bool // runs for long: see logger
}

// run executes one command line and returns its exit code. Data goes to
// stdout, everything else to stderr.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &cli{stdin: stdin, stdout: stdout, stderr: stderr}
	root := c.rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	// The errors of package freshet begin with its name already.
	fmt.Fprintln(stderr, "freshet:", escapeLines(strings.TrimPrefix(err.Error(), "freshet: ")))
	if exit := (*exitError)(nil); errors.As(err, &exit) {
		return exit.code
	}
	return exitFailure
}

func (c *cli) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "freshet",
		Short:         "Keep the applications of a suite in sync over Redis Streams",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkGiven(cmd.Flags()); err != nil {
				return err
			}
			return c.checkOutput(cmd)
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError("%w\nSee '%s --help'.", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&c.redis, "redis", "", "server `URL`: redis://, rediss:// or unix:// (default $REDIS_URL, else redis://localhost:6379)")
	flags.StringVar(&c.passwordFile, "redis-password-file", "", "take the server's password from `FILE`, anew for each connection")
	flags.StringVar(&c.tlsCA, "tls-ca", "", "PEM `FILE` of the authority to trust")
	flags.StringVar(&c.tlsCert, "tls-cert", "", "PEM `FILE` of the client certificate")
	flags.StringVar(&c.tlsKey, "tls-key", "", "PEM `FILE` of the client key")
	flags.StringVarP(&c.output, "output", "o", "table", "output `FORMAT`: table, wide, json, jsonl, yaml or name")
	flags.BoolVarP(&c.verbose, "verbose", "v", false, "log more")
	completeFlag(root, "output", outputFormats)
	for _, purpose := range []struct {
		title    string
		commands []*cobra.Command
	}{
		{"Try", []*cobra.Command{c.devCommand(), c.triggerCommand()}},
		{"Run", []*cobra.Command{c.runCommand(), c.publishCommand(), c.dashboardCommand()}},
		{"What is wrong", []*cobra.Command{c.healthCommand(), c.doctorCommand(), c.lagCommand(), c.topCommand()}},
		{"Look", []*cobra.Command{c.streamsCommand(), c.groupsCommand(), c.consumersCommand(), c.pendingCommand(), c.tailCommand(), c.eventsCommand(), c.traceCommand()}},
		{"Act", []*cobra.Command{c.dlqCommand(), c.replayCommand(), c.trimCommand()}},
	} {
		root.AddGroup(&cobra.Group{ID: purpose.title, Title: purpose.title + ":"})
		for _, cmd := range purpose.commands {
			cmd.GroupID = purpose.title
			root.AddCommand(cmd)
		}
	}
	usageArgs(root)
	return root
}

// version is what the binary was built from: a tag, or the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}

// usageArgs makes wrong arguments exit with the code for usage, in cmd and
// below.
func usageArgs(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError("%w\nUsage: %s\nSee '%s --help'.", err, strings.TrimSuffix(cmd.UseLine(), " [flags]"), cmd.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		usageArgs(sub)
	}
}

// checkGiven refuses flags that are given with nothing, as by a variable of the
// shell that is not set: a server or a selection that is left out is not what was
// meant.
func checkGiven(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		empty := f.Value.Type() == "string" && f.Value.String() == ""
		if list, is := f.Value.(pflag.SliceValue); is {
			empty = len(list.GetSlice()) == 0 || slices.Contains(list.GetSlice(), "")
		}
		if empty && err == nil {
			err = usageError("--%s is empty: give it a value, or leave it out", f.Name)
		}
	})
	return err
}

// config returns the connection that the global flags and the environment
// ask for.
func (c *cli) config(app string) freshet.Config {
	url := c.redis
	if url == "" {
		url = os.Getenv("REDIS_URL")
	}
	if url == "" {
		url = "redis://localhost:6379"
	}
	return freshet.Config{
		URL: url, PasswordFile: c.passwordFile, TLSCA: c.tlsCA, TLSCert: c.tlsCert, TLSKey: c.tlsKey,
		App: app, Log: c.logger(),
	}
}

// open connects to the bus, or fails with the exit code for unreachable.
func (c *cli) open(ctx context.Context, app string) (*freshet.Bus, error) {
	return c.connect(ctx, c.config(app))
}

func (c *cli) connect(ctx context.Context, cfg freshet.Config) (*freshet.Bus, error) {
	bus, err := freshet.Open(ctx, cfg)
	if err != nil {
		return nil, c.connectError(ctx, err)
	}
	return bus, nil
}

// connectError gives the failure to connect its exit code, and what mends it:
// what is wrong with the URL or the certificates is a matter of usage.
func (c *cli) connectError(ctx context.Context, err error) error {
	class := redisstream.ClassOf(err)
	advice := ""
	switch {
	case class == redisstream.Other && ctx.Err() == nil:
		return &exitError{exitUsage, err}
	case class == redisstream.Auth && strings.Contains(err.Error(), ": NOAUTH "):
		// The server's text explains a command of its own.
		err = errors.New("the server asks for a password, and was given none (NOAUTH)")
		advice = "Give it in a file with --redis-password-file, or in the URL: redis://USER:PASSWORD@HOST"
	case class == redisstream.Auth && strings.Contains(err.Error(), ": WRONGPASS "):
		advice = "The user or the password is wrong: give the right one in the URL, or in a file with --redis-password-file"
	case redisstream.HandshakeFailed(err) && speaksNoTLS(err):
		advice = "The server may speak no TLS there: its URL is redis:// instead of rediss:// then"
	case class == redisstream.Unreachable && c.redis == "" && os.Getenv("REDIS_URL") == "":
		advice = "Name the server with --redis or REDIS_URL; 'freshet dev' brings one of its own"
	}
	if advice != "" {
		err = fmt.Errorf("%w\n%s", err, advice)
	}
	return &exitError{exitUnreachable, err}
}

// speaksNoTLS tells whether a handshake failed as with a server that speaks no
// TLS: redis-server waits for the end of a line then, others answer in plain.
func speaksNoTLS(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, new(tls.RecordHeaderError))
}

// logger logs what a person should know; a service logs what it does, too,
// and in JSON where no person is watching.
func (c *cli) logger() *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.LevelWarn}
	switch {
	case c.verbose:
		options.Level = slog.LevelDebug
	case c.service:
		options.Level = slog.LevelInfo
	}
	if c.service && !isTerminal(c.stderr) {
		return slog.New(slog.NewJSONHandler(c.stderr, options))
	}
	return slog.New(slog.NewTextHandler(c.stderr, options))
}
