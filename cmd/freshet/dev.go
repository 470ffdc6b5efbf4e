package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/connection"
	"github.com/freshet/freshet/internal/daemon"
	"github.com/freshet/freshet/internal/devserver"
	"github.com/freshet/freshet/internal/fake"
	"github.com/freshet/freshet/internal/shell"
	"github.com/freshet/freshet/replica"
)

var demoTenants = []string{"acme", "globex", "initech"}

type devOptions struct {
	data string // directory to keep; "" for a temporary one
	demo bool
	rate float64
	seed uint64
}

func (c *cli) devCommand() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run everything on this machine, to try it or to develop against",
		Long: `Start a server, consume the suite's events into a SQLite copy and show each row
as it is synced, until Ctrl-C.

The server is the one that --redis or REDIS_URL names; else a private
redis-server, where there is one on PATH; else an embedded one in memory.
Everything that was started or made is removed at the end, but for what is in
the directory that --data names: with it, the next run goes on where this one
was.`,
		Example: `  freshet dev --demo
  freshet dev --data ./dev
  REDIS_URL=redis://localhost:6379 freshet dev`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case c.output != "table":
				return usageError("dev shows rows to people; for JSON, run freshet tail -o jsonl beside it")
			case !(o.rate > 0 && o.rate <= 10_000):
				return usageError("--rate: from above 0 to 10000")
			case !o.demo && (cmd.Flags().Changed("rate") || cmd.Flags().Changed("seed")):
				return usageError("--rate and --seed are for --demo")
			}
			return c.dev(cmd.Context(), o)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.demo, "demo", false, "publish a steady stream of linked events for three tenants")
	flags.Float64Var(&o.rate, "rate", 5, "`EVENTS` a second that --demo publishes")
	flags.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "`NUMBER` that the story of --demo follows from")
	flags.Lookup("seed").DefValue = "" // another one each time
	flags.StringVar(&o.data, "data", "", "keep the data in `DIR`")
	return cmd
}

// dev sets the parts up in the order in which they depend on each other, and
// takes them down in the reverse one.
func (c *cli) dev(ctx context.Context, o devOptions) (err error) {
	dir, removeDir, err := dataDirectory(o.data)
	if err != nil {
		return err
	}
	defer removeDir()

	group := "freshet-dev"
	server, err := c.devServer(ctx, filepath.Join(dir, "redis"))
	if err != nil {
		return err
	}
	if server != nil {
		defer server.Stop()
	} else {
		// The group goes with the copy: another copy has to begin anew.
		group = fmt.Sprintf("freshet-dev-%.4x", sha256.Sum256([]byte(dir)))
	}

	database := filepath.Join(dir, "replica.db")
	store, err := replica.Open(ctx, "sqlite://"+database, replica.Options{})
	if err != nil {
		return err
	}
	defer store.Close()
	bus, err := c.open(ctx, "freshet")
	if err != nil {
		return err
	}
	defer bus.Close()
	if server == nil && o.data == "" {
		defer func() { err = errors.Join(err, c.destroyGroup(group)) }()
	}

	feed := newFeed(c, server != nil)
	cfg := daemon.Config{Consumer: freshet.ConsumerConfig{Group: group, OnSettled: feed.settled, DrainTimeout: 3 * time.Second}}
	consumer := daemon.NewConsumer(bus, cfg, store)
	dashboard, serveDashboard, closeDashboard, err := c.devDashboard(ctx, store.DB())
	if err != nil {
		return err
	}
	defer closeDashboard()
	c.printAddresses(server, database, group, dashboard, o)

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if server != nil {
		go func() {
			<-server.Done()
			stop(errors.New("the private redis-server ended"))
		}()
	}
	var parts sync.WaitGroup
	consumed := make(chan struct{})
	parts.Go(func() { feed.show(consumed) })
	parts.Go(func() {
		if err := serveDashboard(ctx); err != nil {
			fmt.Fprintln(c.stderr, "dashboard:", err)
		}
	})
	if o.demo {
		parts.Go(func() { c.publishDemo(ctx, bus, o) })
	}
	err = consumer.Run(ctx)
	stop(nil) // which has no effect where there was a cause before
	close(consumed)
	parts.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = cause
	}
	fmt.Fprintf(c.stderr, "Stopped. %d events handled.%s\n", consumer.Stats().Handled, kept(dir, o))
	return err
}

func kept(dir string, o devOptions) string {
	if o.data == "" {
		return " Their copy is removed; --data DIR keeps it."
	}
	return " The data is in " + dir + "."
}

// dataDirectory returns the directory for all data, by its full path, and
// what removes it if it is a temporary one.
func dataDirectory(keep string) (dir string, remove func(), err error) {
	if keep == "" {
		dir, err = os.MkdirTemp("", "freshet-dev-")
		return dir, func() { os.RemoveAll(dir) }, err
	}
	if dir, err = filepath.Abs(keep); err != nil {
		return "", nil, err
	}
	return dir, func() {}, os.MkdirAll(dir, 0o700)
}

// devServer starts a server and makes it the one that c connects to. It
// returns nil when the user has named one.
func (c *cli) devServer(ctx context.Context, dir string) (*devserver.Server, error) {
	if c.redis != "" || os.Getenv("REDIS_URL") != "" {
		return nil, nil
	}
	server, err := devserver.Start(ctx, dir)
	if err != nil {
		return nil, err
	}
	c.redis = server.URL()
	if server.Embedded() {
		fmt.Fprint(c.stderr, `warning: no redis-server on PATH, using an embedded imitation in memory. It is good
for a look around; its events end with this command. Install redis for the real one.

`)
	}
	return server, nil
}

// destroyGroup removes the group of a copy that is removed: a group that
// nobody reads would look like a consumer that has died.
func (c *cli) destroyGroup(group string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err := connection.Open(ctx, c.config("freshet"))
	if err != nil {
		return fmt.Errorf("group %s stays on the server: %w", group, err)
	}
	defer client.Close()
	return client.DestroyGroup(ctx, group, events.Streams())
}

func (c *cli) publishDemo(ctx context.Context, bus *freshet.Bus, o devOptions) {
	suite := fake.New(o.seed, demoTenants)
	tick := time.NewTicker(time.Duration(float64(time.Second) / o.rate))
	defer tick.Stop()
	failing := false
	message := suite.Next()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		_, err := bus.PublishMessage(ctx, message)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			message, failing = suite.Next(), false
		case !failing:
			failing = true
			fmt.Fprintln(c.stderr, "demo: publish fails, going on to try:", err)
		}
	}
}

// printAddresses says what runs where, and what to try next.
func (c *cli) printAddresses(server *devserver.Server, database, group, dashboard string, o devOptions) {
	url, redisFlag := c.config("").URL, ""
	kind := "yours"
	switch {
	case server == nil:
		if c.redis != "" && daemon.Redact(url) == url {
			redisFlag = " --redis " + shell.Word(url)
		}
	case server.Embedded():
		kind, redisFlag = "embedded, in memory", " --redis "+url
	default:
		kind, redisFlag = "private redis-server, its data beside the copy", " --redis "+url
	}
	program := programName()
	fmt.Fprintf(c.stdout, "Freshet runs on this machine. Ctrl-C stops it.\n\n")
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "  bus\t%s\t%s\n", daemon.Redact(url), kind)
	fmt.Fprintf(w, "  dashboard\t%s\topen it in a browser\n", dashboard)
	fmt.Fprintf(w, "  copy\t%s\tSQLite, kept up to date by group %s\n", database, group)
	if o.demo {
		fmt.Fprintf(w, "  demo\t%s\t%g events a second\n", strings.Join(demoTenants, ", "), o.rate)
	}
	w.Flush()
	fmt.Fprintf(c.stdout, "\nTry next, in another terminal:\n\n")
	fmt.Fprintf(c.stdout, "  %s tail%s\n", program, redisFlag)
	fmt.Fprintf(c.stdout, "  %s doctor%s\n", program, redisFlag)
	fmt.Fprintf(c.stdout, "  %s trigger user_created --tenant acme%s\n", program, redisFlag)
	fmt.Fprintf(c.stdout, "  sqlite3 %s 'select * from users'\n\n", shell.Word(database))
}

// programName is how the next commands call this program.
func programName() string {
	if path, err := exec.LookPath("freshet"); err == nil && path != "" {
		return "freshet"
	}
	path, err := os.Executable()
	if err != nil || strings.Contains(path, "go-build") { // by go run, which removes it
		return "go run ./cmd/freshet"
	}
	return shell.Word(path)
}
