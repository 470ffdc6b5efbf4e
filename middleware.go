package freshet

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Logging logs each handler call: at debug level when it succeeds, as a
// warning when it fails. It logs ids, never payloads.
func Logging(log *slog.Logger) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, d *Delivery) error {
			start := time.Now()
			err := next(ctx, d)
			level, args := slog.LevelDebug, []any{
				"stream", d.Stream, "id", d.ID, "type", d.TypeName(), "tenant", d.Tenant,
				"attempt", d.Attempt, "duration", time.Since(start),
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

// Attributes by the OpenTelemetry semantic conventions for messaging.
func spanAttributes(d *Delivery) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("messaging.system", "redis"),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.destination.name", d.Stream),
		attribute.String("messaging.consumer.group.name", d.Group),
		attribute.String("messaging.message.id", d.ID),
		attribute.String("messaging.message.conversation_id", d.CorrelationID),
	}
}

// Tracing makes a span of each handler call, linked to the span that
// published the event where its metadata carries one.
func Tracing(tracer trace.Tracer) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, d *Delivery) error {
			options := []trace.SpanStartOption{
				trace.WithSpanKind(trace.SpanKindConsumer),
				trace.WithAttributes(spanAttributes(d)...),
			}
			if d.Traceparent != "" {
				carrier := propagation.MapCarrier{"traceparent": d.Traceparent}
				producer := trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
				if producer.IsValid() {
					options = append(options, trace.WithLinks(trace.Link{SpanContext: producer}))
				}
			}
			ctx, span := tracer.Start(ctx, "process "+d.Stream, options...)
			defer span.End()
			err := next(ctx, d)
			if err != nil {
				span.SetStatus(codes.Error, err.Error())
			}
			return err
		}
	}
}

// Metrics records the duration of each handler call, in seconds, by stream,
// group and outcome, as messaging.process.duration.
func Metrics(meter metric.Meter) (Middleware, error) {
	duration, err := meter.Float64Histogram("messaging.process.duration",
		metric.WithUnit("s"), metric.WithDescription("Duration of handling one event"))
	if err != nil {
		return nil, err
	}
	return func(next Handler) Handler {
		return func(ctx context.Context, d *Delivery) error {
			start := time.Now()
			err := next(ctx, d)
			attrs := []attribute.KeyValue{
				attribute.String("messaging.system", "redis"),
				attribute.String("messaging.destination.name", d.Stream),
				attribute.String("messaging.consumer.group.name", d.Group),
			}
			if err != nil {
				attrs = append(attrs, attribute.String("error.type", "handler"))
			}
			duration.Record(ctx, time.Since(start).Seconds(), metric.WithAttributes(attrs...))
			return err
		}
	}, nil
}
