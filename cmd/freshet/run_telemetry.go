package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/daemon"
	"github.com/freshet/freshet/internal/telemetry"
	"github.com/freshet/freshet/internal/web"
	"github.com/freshet/freshet/repair"
	"github.com/freshet/freshet/replica"
)

// Bounds of what is done last, beside the drain.
const (
	httpGrace  = time.Second
	traceGrace = 3 * time.Second
)

// observed is `freshet run` as others see it: what it serves and sends, from
// its first moment to its last. The zero value serves and sends nothing.
type observed struct {
	metrics  *telemetry.Metrics // nil: none are served
	tracer   trace.Tracer       // nil: none
	consumer atomic.Pointer[freshet.Consumer]
	pages    atomic.Pointer[web.Dashboard]
	ctx      context.Context // when it ends, the process is no longer ready
	closers  []func()
}

// observe begins to serve and to send what the configuration asks for.
func (c *cli) observe(ctx context.Context, cfg daemon.Config, log *slog.Logger) (*observed, error) {
	o := &observed{ctx: ctx}
	if cfg.Tracing != "" || telemetry.TracingWanted() {
		tracer, stop, err := telemetry.StartTracing(ctx, cfg.Tracing, cfg.App, version(), log)
		if err != nil {
			return nil, err
		}
		o.tracer = tracer
		o.closers = append(o.closers, bounded(traceGrace, stop))
	}
	if cfg.HTTPAddress != "" {
		token, err := cfg.HTTPToken()
		if err == nil {
			err = o.serve(cfg, telemetry.Token(token), log)
		}
		if err != nil {
			o.close()
			return nil, err
		}
	}
	o.closers = append(o.closers, telemetry.Notify(ctx, o.ready, log))
	return o, nil
}

func (o *observed) serve(cfg daemon.Config, token telemetry.Token, log *slog.Logger) error {
	l, err := net.Listen("tcp", cfg.HTTPAddress)
	if err != nil {
		return fmt.Errorf("--http: %w", err)
	}
	o.metrics = telemetry.NewMetrics(version())
	mux := http.NewServeMux()
	mux.Handle("GET /livez", telemetry.Live())
	mux.Handle("GET /readyz", telemetry.Ready(o.ready, token.Allowed))
	mux.Handle("GET /metrics", token.Require(o.metrics.Handler()))
	mux.HandleFunc("/", o.dashboard)
	log.Info("serving metrics, health and the dashboard", "address", l.Addr().String())
	o.closers = append(o.closers, bounded(httpGrace, telemetry.Serve(l, mux, log)))
	return nil
}

// dashboard serves the dashboard's pages from when there is something to show.
func (o *observed) dashboard(w http.ResponseWriter, r *http.Request) {
	if pages := o.pages.Load(); pages != nil {
		pages.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Retry-After", "1")
	http.Error(w, "starting or stopping", http.StatusServiceUnavailable)
}

// bounded makes a closer of what takes a context.
func bounded(most time.Duration, stop func(context.Context)) func() {
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), most)
		defer cancel()
		stop(ctx)
	}
}

// configure has the consumer-to-be tell what it does.
func (o *observed) configure(cfg *daemon.Config) {
	if o.metrics != nil {
		cfg.Consumer.OnSettled = o.metrics.Settled
		cfg.Applied = o.metrics.Applied
	}
}

// follow observes a consumer, and the groups beside it, until the process
// ends.
func (o *observed) follow(consumer *freshet.Consumer, cfg daemon.Config, connection freshet.Config, log *slog.Logger) error {
	o.consumer.Store(consumer)
	if o.metrics == nil {
		return nil
	}
	o.metrics.Consumer(cfg.Consumer.Group, consumer.Stats, o.ready)
	inspector, err := inspect.Open(o.ctx, connection)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background()) // a drain is worth a look too
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		o.metrics.Watch(ctx, func(ctx context.Context) (*inspect.Snapshot, error) {
			return inspector.Snapshot(ctx, inspect.SnapshotConfig{Patterns: cfg.Consumer.Streams})
		}, log)
	}()
	o.closers = append(o.closers, func() {
		cancel()
		<-ended
		inspector.Close()
	})
	return o.openPages(inspector, cfg, connection, log)
}

// openPages opens the dashboard. The token that reads the metrics is the one to
// log in with. It is closed before the server: its live tails end then.
func (o *observed) openPages(inspector *inspect.Inspector, cfg daemon.Config, connection freshet.Config, log *slog.Logger) error {
	token, err := cfg.HTTPToken()
	if err != nil {
		return err
	}
	pages := web.Config{Inspector: inspector, OperateToken: token, Server: daemon.Redact(connection.URL), Log: log}
	if strings.HasPrefix(cfg.Replica, "sqlite://") {
		if pages.Copy, err = replica.OpenToRead(o.ctx, cfg.Replica); err != nil {
			return err
		}
		o.closers = append(o.closers, func() { pages.Copy.Close() })
	}
	if pages.Repairer, err = repair.Open(o.ctx, connection); err != nil {
		return err
	}
	dashboard := web.New(pages)
	o.closers = append(o.closers, pages.Repairer.Close, func() {
		o.pages.Store(nil)
		dashboard.Close()
	})
	o.pages.Store(dashboard)
	return nil
}

// ready is why the process is not ready, nil when it is. It is the first to
// change when the process is told to stop.
func (o *observed) ready() error {
	if o.ctx.Err() != nil {
		return errors.New("stopping")
	}
	consumer := o.consumer.Load()
	if consumer == nil {
		return errors.New("starting")
	}
	return consumer.Ready()
}

// close ends what was begun, the last first.
func (o *observed) close() {
	for i := len(o.closers) - 1; i >= 0; i-- {
		o.closers[i]()
	}
}
