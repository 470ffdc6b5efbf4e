package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/freshet/freshet/internal/daemon"
	"github.com/freshet/freshet/repair"
)

const (
	retentionFirst = 5 * time.Second // after the start, when the consumer has begun
	retentionEvery = 10 * time.Minute
)

// keepRetention removes old entries of the streams that are copied, again and
// again until stop is called.
func (c *cli) keepRetention(ctx context.Context, cfg daemon.Config, log *slog.Logger) (stop func(), err error) {
	repairer, err := repair.Open(ctx, c.silentConfig(cfg.App))
	if err != nil {
		return nil, c.connectError(ctx, err)
	}
	trim := repair.TrimConfig{Streams: cfg.Consumer.Streams, OlderThan: cfg.Retention}
	r := retention{log: log, trim: func(ctx context.Context) (repair.TrimReport, error) { return repairer.Trim(ctx, trim) }}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.run(ctx)
	}()
	return func() {
		cancel()
		<-ended
		repairer.Close()
	}, nil
}

// retention is the job that removes old entries. What keeps it from that
// lasts, so each cause is logged when it appears and not each time.
type retention struct {
	trim func(context.Context) (repair.TrimReport, error)
	log  *slog.Logger

	warned map[string]bool // causes that there were last time
}

func (r *retention) run(ctx context.Context) {
	timer := time.NewTimer(retentionFirst)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		r.once(ctx)
		timer.Reset(retentionEvery)
	}
}

func (r *retention) once(ctx context.Context) {
	report, err := r.trim(ctx)
	if ctx.Err() != nil {
		return
	}
	warnings := trimWarnings(report)
	if err != nil {
		warnings = append(warnings, warning{"all", err.Error()})
	}
	var removed int64
	for _, s := range report.Streams {
		removed += s.Removed
		if s.Err != nil && !errors.Is(s.Err, repair.ErrNoStream) { // which the consumer will see to
			warnings = append(warnings, warning{"failed " + s.Stream, s.Err.Error()})
		}
	}
	if removed > 0 {
		r.log.Info("removed old entries", "entries", removed)
	}
	causes := map[string]bool{}
	for _, w := range warnings {
		if !r.warned[w.cause] && !causes[w.cause] {
			r.log.Warn("retention: " + w.text)
		}
		causes[w.cause] = true
	}
	r.warned = causes
}
