package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TracingWanted tells whether the standard variables of the environment name
// a collector.
func TracingWanted() bool {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" {
		return false
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// StartTracing returns a tracer whose spans go to a collector by OTLP over
// HTTP: the endpoint's, or where that is "" the one that the environment
// names. Other standard variables, for headers, the sampler and the resource,
// hold too. Spans are dropped when the collector does not keep up. stop sends
// what is left until its context ends.
func StartTracing(ctx context.Context, endpoint, app, version string, log *slog.Logger) (tracer trace.Tracer, stop func(context.Context), err error) {
	var options []otlptracehttp.Option
	if endpoint != "" {
		options = append(options, otlptracehttp.WithEndpointURL(endpoint))
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, nil, fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", app), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, nil, fmt.Errorf("traces: resource: %w", err)
	}
	limits := sdktrace.NewSpanLimits()
	limits.LinkCountLimit = -1 // a batch links to each of its events
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&quiet{SpanExporter: exporter, log: log}),
		sdktrace.WithResource(about),
		sdktrace.WithRawSpanLimits(limits),
	)
	stop = func(ctx context.Context) {
		if err := provider.Shutdown(ctx); err != nil {
			log.Warn("not all traces were sent", "error", err)
		}
	}
	return provider.Tracer("github.com/freshet/freshet"), stop, nil
}

// quiet logs that an exporter fails once a minute at most.
type quiet struct {
	sdktrace.SpanExporter
	log    *slog.Logger
	lost   atomic.Int64 // spans since the last line
	logged atomic.Int64 // when, in Unix nanoseconds
}

func (q *quiet) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := q.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	q.lost.Add(int64(len(spans)))
	now, last := time.Now().UnixNano(), q.logged.Load()
	if now-last >= int64(time.Minute) && q.logged.CompareAndSwap(last, now) {
		q.log.Warn("traces cannot be sent", "spans_lost", q.lost.Swap(0), "error", err)
	}
	return nil // told
}
