package freshet

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Logging logs each handler call: at debug level when it succeeds, as a
// warning when it fails. It logs ids, never payloads.
func Logging(log *slog.Logger) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, d *Delivery) error {
			start := time.Now()
			err := next(ctx, d)
			level, args := slog.LevelDebug, []any{
				"group", d.Group, "stream", d.Stream, "id", d.ID, "event_id", d.Identity,
				"type", d.TypeName(), "tenant", d.Tenant, "attempt", d.Attempt, "duration", time.Since(start),
			}
			if err != nil {
				level, args = slog.LevelWarn, append(args, "error", err)
			}
			log.Log(ctx, level, "handled", args...)
			return err
		}
	}
}

// Timeout gives handlers less time than [ConsumerConfig.HandlerTimeout].
func Timeout(d time.Duration) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, dl *Delivery) error {
			ctx, cancel := context.WithTimeout(ctx, d)
			defer cancel()
			return next(ctx, dl)
		}
	}
}

// Recover turns a panic into an error before outer middleware sees it. The
// consumer recovers panics in any case; use this where middleware such as
// [Tracing] should see them as errors, and add it last.
func Recover() Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, d *Delivery) (err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("handler panicked: %T", p)
				}
			}()
			return next(ctx, d)
		}
	}
}

// Metrics records the duration of each handler call, in seconds, by stream,
// group and outcome, as messaging.process.duration.
func Metrics(meter metric.Meter) (Middleware, error) {
	duration, err := meter.Float64Histogram(semProcessDuration,
		metric.WithUnit("s"), metric.WithDescription("Duration of handling one event"))
	if err != nil {
		return nil, err
	}
	return func(next Handler) Handler {
		return func(ctx context.Context, d *Delivery) error {
			start := time.Now()
			err := next(ctx, d)
			attrs := []attribute.KeyValue{semRedis, semOperation.String(semProcess), semDestination.String(d.Stream), semGroup.String(d.Group)}
			if err != nil {
				attrs = append(attrs, semErrorType.String(handlerFailure(err)))
			}
			duration.Record(ctx, time.Since(start).Seconds(), metric.WithAttributes(attrs...))
			return err
		}
	}, nil
}
