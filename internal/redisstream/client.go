package redisstream

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Config says how to reach the server. URL is required; errors and logs never
// contain its text.
type Config struct {
	URL               string        // see parseURL
	CAFile            string        // PEM: authorities trusted besides the system's
	CertFile, KeyFile string        // PEM: the client's certificate and key
	PasswordFile      string        // holds the password, and is read for every connection
	ClientName        string        // as CLIENT LIST shows it
	AddTimeout        time.Duration // of adds whose context has no deadline; default 5 s
	Log               *slog.Logger
}

const (
	dialTimeout = 5 * time.Second // TCP, TLS and greeting
	// A connection on which nothing arrives for this long, though asked, is
	// given up. One that is idle is asked; with that it takes two askGaps more.
	silence = 2500 * time.Millisecond
	askGap  = 500 * time.Millisecond
	// How often the map of a cluster is fetched. A node that has stopped
	// answering tells nobody that another serves its slots now.
	mapRefresh = 100 * time.Millisecond
)

// Client is a connection to one server, to a cluster or to a master that is
// watched by Sentinels. It is safe for concurrent use. No command is ever
// repeated behind the caller's back.
type Client struct {
	rc      rueidis.Client
	cluster bool
	target  Target
	log     *slog.Logger
	adds    *sendQueue
	aside   *aside
	closed  context.Context // of all goroutines of the client's own
	close   context.CancelFunc
}

// Open connects and waits until the server answers; a server that is loading
// its data is waited for until ctx ends, one that cannot be reached is an
// error at once.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	a, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	log := cfg.Log
	if log == nil {
		log = slog.Default()
	}
	option, err := clientOption(a, cfg, log)
	if err != nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	if a.exposed() {
		log.Warn("redis is not on this machine and the connection is not encrypted: passwords and events can be read on the way; use rediss://")
	}
	c, err := connect(ctx, option, a, log)
	if err != nil {
		if a.tls && ClassOf(err) == Unreachable && !NotSent(err) {
			err = handshakeError{fmt.Errorf("%w (after the TLS handshake: the server may ask for another client certificate)", err)}
		}
		return nil, fmt.Errorf("redis: connect: %w", err)
	}
	if err := c.waitReady(ctx); err != nil {
		c.Close()
		return nil, fmt.Errorf("redis: %w", err)
	}
	c.target = targetOf(a, cfg)
	c.adds.timeout = cmp.Or(cfg.AddTimeout, c.adds.timeout)
	return c, nil
}

// Target tells what the client connects to.
func (c *Client) Target() Target { return c.target }

// Close ends the connections.
func (c *Client) Close() {
	c.close()
	c.rc.Close()
}

func clientOption(a address, cfg Config, log *slog.Logger) (rueidis.ClientOption, error) {
	option := rueidis.ClientOption{
		InitAddress:   a.hosts,
		Username:      a.user,
		Password:      a.pass,
		SelectDB:      a.db,
		ClientName:    printable(cfg.ClientName),
		ClientSetInfo: rueidis.DisableClientSetInfo, // unknown before 7.2, and an ACL may forbid it
		DisableCache:  true,
		DisableRetry:  true, // a repeated XADD is a second entry, a repeated XREADGROUP loses a batch
		// Always through the pipeline, where a call that is given up leaves
		// the connection, and the calls of others on it, alone.
		AlwaysPipelining:   true,
		RingScaleEachConn:  12,
		ReadBufferEachConn: 32 << 10, // repliesConn has one of its own
		// The server begins with a pipeline before it was written to its end.
		WriteBufferEachConn: 32 << 10,
		Dialer:              net.Dialer{Timeout: dialTimeout, KeepAlive: askGap},
		ConnWriteTimeout:    silence,
		ForceSingleClient:   !a.cluster,
		ClusterOption:       rueidis.ClusterOption{ShardsRefreshInterval: mapRefresh, MaxMovedRedirections: 16},
	}
	if a.tls {
		var err error
		if option.TLSConfig, err = tlsConfig(cfg.CAFile, cfg.CertFile, cfg.KeyFile, log); err != nil {
			return option, err
		}
	} else if cfg.CAFile != "" || cfg.CertFile != "" || cfg.KeyFile != "" {
		return option, errors.New("certificate files are given, but the URL does not ask for TLS; use rediss://")
	}
	network := "tcp"
	if a.unix {
		network = "unix"
	}
	option.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, cfg *tls.Config) (net.Conn, error) {
		conn, err := dial(ctx, network, addr, d, cfg)
		if err != nil {
			return nil, dialError{err}
		}
		if d.Control != nil {
			return sentinelConn{conn}, nil
		}
		return conn, nil
	}
	if cfg.PasswordFile != "" {
		if a.pass != "" {
			return option, errors.New("there is a password in the URL and a password file: give one of them")
		}
		if _, err := readPassword(cfg.PasswordFile); err != nil {
			return option, err
		}
		option.AuthCredentialsFn = passwordFrom(cfg.PasswordFile, a.user)
	}
	if a.master != "" {
		option.Sentinel = rueidis.SentinelOption{
			MasterSet:               a.master,
			Dialer:                  option.Dialer,
			TLSConfig:               option.TLSConfig,
			TopologyRefreshInterval: 5 * time.Second,
		}
		option.Sentinel.Dialer.Control = toSentinel
	}
	return option, nil
}

// dial bounds the TLS handshake too: with a server that speaks no TLS it
// would hang.
func dial(ctx context.Context, network, addr string, d *net.Dialer, cfg *tls.Config) (net.Conn, error) {
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil || cfg == nil {
		return conn, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	cfg = cfg.Clone()
	cfg.ServerName, _, _ = net.SplitHostPort(addr)
	secure := tls.Client(conn, cfg)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, handshakeError{fmt.Errorf("tls handshake with %s: %w", addr, err)}
	}
	return secure, nil
}

// printable makes a name that the server takes: no spaces or control
// characters.
func printable(name string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '-'
		}
		return r
	}, name)
}

// connect makes the client. A single host may be a node of a cluster, which
// its greeting tells.
func connect(ctx context.Context, option rueidis.ClientOption, a address, log *slog.Logger) (*Client, error) {
	aside := newAside()
	option.DialCtxFn = aside.dialer(option.DialCtxFn)
	rc, err := newClient(ctx, option)
	if err != nil {
		return nil, err
	}
	c := clientOf(rc, a.cluster, log, aside)
	if a.cluster || a.unix || a.master != "" {
		return c, nil
	}
	hello, err := c.do(ctx, rc.B().Arbitrary("HELLO").Build()).AsMap()
	if err != nil {
		return c, nil // an old server, or one that wants to be waited for
	}
	mode := hello["mode"]
	if text, _ := mode.ToString(); text != "cluster" {
		return c, nil
	}
	c.Close()
	option.ForceSingleClient = false
	if rc, err = newClient(ctx, option); err != nil {
		return nil, err
	}
	return clientOf(rc, true, log, aside), nil
}

func clientOf(rc rueidis.Client, cluster bool, log *slog.Logger, aside *aside) *Client {
	c := &Client{rc: rc, cluster: cluster, log: log, aside: aside}
	c.closed, c.close = context.WithCancel(context.Background())
	c.adds = &sendQueue{send: c.sendAdds, senders: senders, slow: slow, timeout: 5 * time.Second, idle: time.Minute, closed: c.closed.Done()}
	return c
}

// newClient is rueidis.NewClient that ends with ctx.
func newClient(ctx context.Context, option rueidis.ClientOption) (rueidis.Client, error) {
	type result struct {
		rc  rueidis.Client
		err error
	}
	made := make(chan result, 1)
	go func() {
		rc, err := rueidis.NewClient(option)
		if err != nil && rc != nil {
			rc.Close()
		}
		if repeatsArgs(err) {
			err = argsError{err}
		}
		made <- result{rc, err}
	}()
	select {
	case r := <-made:
		return r.rc, r.err
	case <-ctx.Done():
		go func() {
			if r := <-made; r.err == nil {
				r.rc.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

func (c *Client) waitReady(ctx context.Context) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := c.do(ctx, c.rc.B().Ping().Build()).Error()
		if text, ok := replyError(err); !ok || !strings.HasPrefix(text, "LOADING") {
			return err
		}
		if wait == 50*time.Millisecond {
			c.log.Info("redis is loading its data; waiting")
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// do sends one command and waits for the reply, but not longer than ctx.
func (c *Client) do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	return c.doMulti(ctx, cmd)[0]
}

// doMulti sends commands as one pipeline; every command has a result. It
// returns when ctx ends even where the client library does not: while it
// waits for a connection that another call is making, or for room in the
// queue of a connection whose server has stopped answering.
func (c *Client) doMulti(ctx context.Context, cmds ...rueidis.Completed) []rueidis.RedisResult {
	if err := ctx.Err(); err != nil {
		return failAll(len(cmds), notSentError{err})
	}
	replies := make(chan []rueidis.RedisResult, 1)
	go func() { replies <- c.exchange(ctx, cmds) }()
	select {
	case results := <-replies:
		return results
	case <-ctx.Done():
		return failAll(len(cmds), context.Cause(ctx))
	}
}

// exchange is doMulti that may take longer than ctx.
func (c *Client) exchange(ctx context.Context, cmds []rueidis.Completed) []rueidis.RedisResult {
	var results []rueidis.RedisResult
	if len(cmds) == 1 {
		results = []rueidis.RedisResult{c.rc.Do(ctx, cmds[0])}
	} else {
		results = c.rc.DoMulti(ctx, cmds...)
	}
	for i, r := range results {
		err := r.Error()
		if err == nil {
			continue
		}
		ended := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
		switch {
		case ended && !NotSent(err):
			results[i] = rueidis.NewErrorResult(endOf(ctx))
		case repeatsArgs(err):
			results[i] = rueidis.NewErrorResult(argsError{err})
		}
	}
	return results
}

// doBlocking sends a command that the server may answer up to block later. A
// server that does not answer then either has gone away.
func (c *Client) doBlocking(ctx context.Context, cmd rueidis.Completed, block time.Duration) rueidis.RedisResult {
	ctx, cancel := context.WithTimeoutCause(ctx, block+silence, errNoAnswer)
	defer cancel()
	return c.do(ctx, cmd)
}

// endOf says why a call ended early. When its own context has not ended, it
// was another call's: calls that wait for one connection share the fate of
// the call that makes it.
func endOf(ctx context.Context) error {
	if ctx.Err() == nil {
		return errOthers
	}
	return context.Cause(ctx)
}

func failAll(n int, err error) []rueidis.RedisResult {
	results := make([]rueidis.RedisResult, n)
	for i := range results {
		results[i] = rueidis.NewErrorResult(err)
	}
	return results
}
