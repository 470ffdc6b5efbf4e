package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/daemon"
	"github.com/freshet/freshet/internal/web"
	"github.com/freshet/freshet/repair"
	"github.com/freshet/freshet/replica"
)

const dashboardAddress = "127.0.0.1:8080"

type dashboardOptions struct {
	http                     string
	tokenFile, viewTokenFile string
	replica                  string
	readOnly                 bool
}

func (c *cli) dashboardCommand() *cobra.Command {
	var o dashboardOptions
	cmd := &cobra.Command{
		Use:   "dashboard",
		Short: "Serve the dashboard: what happens on the bus, in a browser",
		Long: `Serve pages about streams, groups, events, dead letters and, with --replica, the
local copy, until Ctrl-C.

Without a token, the dashboard is served on the loopback interface alone, and
whoever is on this machine may do all that it can. To serve it on another
address, give a token to log in with: that of --token-file may change things
(redrive, drop, edit) and reveal personal data, that of --view-token-file may
look. Put a proxy that speaks TLS in front of it there.`,
		Example: `  freshet dashboard
  freshet dashboard --replica sqlite://suite.db --read-only
  freshet dashboard --http :8080 --token-file /etc/freshet/token --view-token-file /etc/freshet/view-token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.dashboard(cmd.Context(), o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.http, "http", dashboardAddress, "`ADDRESS` to serve on")
	flags.StringVar(&o.tokenFile, "token-file", "", "`FILE` with the token of those who may change things")
	flags.StringVar(&o.viewTokenFile, "view-token-file", "", "`FILE` with the token of those who may look")
	flags.StringVar(&o.replica, "replica", "", "local copy to show, sqlite://`FILE`; it is only read")
	flags.BoolVar(&o.readOnly, "read-only", false, "serve nothing that changes or reveals")
	return cmd
}

func (c *cli) dashboard(ctx context.Context, o dashboardOptions) (err error) {
	cfg, err := o.tokens()
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if cfg.OperateToken == "" && cfg.ViewToken == "" && !isLoopback(o.http) {
		return usageError("--http %s: can be reached by others, so it takes a --token-file", o.http)
	}
	if o.replica != "" {
		if cfg.Copy, err = replica.OpenToRead(ctx, o.replica); err != nil {
			return err
		}
		defer cfg.Copy.Close()
	}
	c.service = true
	dashboard, closeAll, err := c.openDashboard(ctx, cfg, o.readOnly)
	if err != nil {
		return err
	}
	defer closeAll()
	listener, err := net.Listen("tcp", o.http)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.stderr, "Dashboard: http://%s/\n", listener.Addr())
	return serve(ctx, listener, dashboard)
}

// tokens reads the tokens. The configuration has nothing else yet.
func (o dashboardOptions) tokens() (cfg web.Config, err error) {
	if cfg.OperateToken, err = readToken("--token-file", o.tokenFile); err != nil {
		return cfg, err
	}
	cfg.ViewToken, err = readToken("--view-token-file", o.viewTokenFile)
	if err == nil && cfg.ViewToken != "" && cfg.ViewToken == cfg.OperateToken {
		err = errors.New("--token-file and --view-token-file have the same token")
	}
	return cfg, err
}

const minToken = 16

func readToken(flag, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	info, err := os.Stat(file)
	var path *fs.PathError
	switch {
	case errors.As(err, &path):
		return "", fmt.Errorf("%s %s: %w", flag, file, path.Err)
	case err != nil:
		return "", fmt.Errorf("%s: %w", flag, err)
	case info.Mode().Perm()&0o077 != 0:
		return "", fmt.Errorf("%s: %s has mode %04o, others can use it: chmod 600", flag, file, info.Mode().Perm())
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	token := string(bytes.TrimSpace(content))
	if len(token) < minToken {
		return "", fmt.Errorf("%s: %s must hold at least %d characters", flag, file, minToken)
	}
	return token, nil
}

// openDashboard connects what the pages need.
func (c *cli) openDashboard(ctx context.Context, cfg web.Config, readOnly bool) (dashboard *web.Dashboard, closeAll func(), err error) {
	inspector, err := inspect.Open(ctx, c.config("freshet"))
	if err != nil {
		return nil, nil, c.connectError(ctx, err)
	}
	cfg.Inspector = inspector
	if !readOnly {
		if cfg.Repairer, err = repair.Open(ctx, c.config("freshet")); err != nil {
			inspector.Close()
			return nil, nil, c.connectError(ctx, err)
		}
	}
	cfg.Server = daemon.Redact(c.config("").URL)
	cfg.Log = c.logger()
	dashboard = web.New(cfg)
	return dashboard, func() {
		dashboard.Close()
		if cfg.Repairer != nil {
			cfg.Repairer.Close()
		}
		inspector.Close()
	}, nil
}

// devDashboard serves the dashboard of freshet dev, on the usual port or, where
// that is taken, on another one.
func (c *cli) devDashboard(ctx context.Context, db *sql.DB) (url string, serving func(context.Context) error, closeAll func(), err error) {
	dashboard, closeAll, err := c.openDashboard(ctx, web.Config{Copy: db}, false)
	if err != nil {
		return "", nil, nil, err
	}
	listener, err := net.Listen("tcp", dashboardAddress)
	if err != nil {
		listener, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		closeAll()
		return "", nil, nil, err
	}
	return "http://" + listener.Addr().String() + "/",
		func(ctx context.Context) error { return serve(ctx, listener, dashboard) }, closeAll, nil
}

// serve serves until ctx ends, and ends live tails with it.
func serve(ctx context.Context, listener net.Listener, dashboard *web.Dashboard) error {
	server := &http.Server{Handler: dashboard, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		dashboard.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if server.Shutdown(ctx) != nil {
			server.Close()
		}
	})
	err := server.Serve(listener)
	if !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	<-ended
	return nil
}

// isLoopback tells whether an address to serve on can be reached from this
// machine alone.
func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
