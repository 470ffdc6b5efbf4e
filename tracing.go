package freshet

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/freshet/freshet/internal/delivery"
)

// Spans carry ids and streams, and of a failure one word. An error's text may
// quote the event, and traces go further than logs: the log has it, under the
// same ids.

// Tracing makes a span of each handler call, linked to the span that
// published the event where its metadata carries one. A bus with
// [Config.Tracer] does so without.
func Tracing(tracer trace.Tracer) Middleware {
	return func(next Handler) Handler {
		return func(ctx context.Context, d *Delivery) error {
			options := []trace.SpanStartOption{
				trace.WithSpanKind(trace.SpanKindConsumer),
				trace.WithAttributes(
					semRedis, semOperation.String(semProcess), semOperationType.String(semProcess),
					semDestination.String(d.Stream), semGroup.String(d.Group),
					semMessageID.String(d.ID), semEventID.String(d.Identity), semAttempt.Int(d.Attempt),
				),
			}
			if d.CorrelationID != "" {
				options = append(options, trace.WithAttributes(semConversationID.String(d.CorrelationID)))
			}
			if producer := remoteSpan(d.Traceparent); producer.IsValid() {
				options = append(options, trace.WithLinks(trace.Link{SpanContext: producer}))
			}
			return inSpan(ctx, tracer, semProcess+" "+d.Stream, options, func(ctx context.Context) error {
				return next(ctx, d)
			})
		}
	}
}

// traceBatch is Tracing for a batch handler: one span, with a link for each
// event that carries one.
func (c *Consumer) traceBatch(next func(context.Context, []*delivery.Message) error) func(context.Context, []*delivery.Message) error {
	return func(ctx context.Context, ms []*delivery.Message) error {
		links := make([]trace.Link, 0, len(ms))
		stream := ms[0].Envelope.Stream // of all; "" where there are several
		for _, m := range ms {
			env := m.Envelope
			if env.Stream != stream {
				stream = ""
			}
			if producer := remoteSpan(env.Traceparent); producer.IsValid() {
				links = append(links, trace.Link{SpanContext: producer, Attributes: []attribute.KeyValue{
					semDestination.String(env.Stream), semMessageID.String(env.ID),
					semEventID.String(env.Identity), semAttempt.Int(m.Attempt),
				}})
			}
		}
		name := semProcess
		attrs := []attribute.KeyValue{
			semRedis, semOperation.String(semProcess), semOperationType.String(semProcess),
			semGroup.String(c.cfg.Group), semBatchCount.Int(len(ms)),
		}
		if stream != "" {
			name += " " + stream
			attrs = append(attrs, semDestination.String(stream))
		}
		options := []trace.SpanStartOption{
			trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(attrs...), trace.WithLinks(links...),
		}
		return inSpan(ctx, c.bus.cfg.Tracer, name, options, func(ctx context.Context) error { return next(ctx, ms) })
	}
}

// inSpan runs a handler in a span, which ends in a panic too.
func inSpan(ctx context.Context, tracer trace.Tracer, name string, options []trace.SpanStartOption, handle func(context.Context) error) error {
	ctx, span := tracer.Start(ctx, name, options...)
	failure := "panic"
	defer func() { // not span.End itself, which would record what was panicked with
		fail(span, failure)
		span.End()
	}()
	err := handle(ctx)
	failure = handlerFailure(err)
	return err
}

// fail marks a span as failed, unless what is "".
func fail(span trace.Span, what string) {
	if what != "" {
		span.SetAttributes(semErrorType.String(what))
		span.SetStatus(codes.Error, what)
	}
}

// handlerFailure is a handler's error in one word of a closed set.
func handlerFailure(err error) string {
	var permanent interface{ Permanent() bool }
	var unavailable interface{ Unavailable() bool }
	switch {
	case err == nil:
		return ""
	case errors.As(err, &permanent) && permanent.Permanent():
		return "permanent"
	case errors.As(err, &unavailable) && unavailable.Unavailable():
		return "unavailable"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	}
	return "handler"
}

// startSend begins the span of a publish, whose context the events carry.
// Without a tracer there is none: nil.
func (b *Bus) startSend(ctx context.Context, events int) (context.Context, trace.Span) {
	if b.cfg.Tracer == nil {
		return ctx, nil
	}
	attrs := []attribute.KeyValue{semRedis, semOperation.String(semSend), semOperationType.String(semSend)}
	if events > 1 {
		attrs = append(attrs, semBatchCount.Int(events))
	}
	return b.cfg.Tracer.Start(ctx, semSend, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...))
}

// endSend ends the span of a publish. It is named by the stream, which only
// the encoded events tell, where they have one stream.
func endSend(span trace.Span, results []PublishResult) {
	if span == nil {
		return
	}
	defer span.End()
	stream, failure := "", ""
	for i, r := range results {
		if refused := (*PublishError)(nil); errors.As(r.Err, &refused) {
			r.Receipt = Receipt{Stream: refused.Stream, EventID: refused.EventID}
		}
		switch {
		case i == 0:
			stream = r.Receipt.Stream
		case r.Receipt.Stream != stream:
			stream = ""
		}
		if failure == "" {
			failure = publishFailure(r.Err)
		}
		if len(results) > 1 {
			continue
		}
		if r.Receipt.EventID != "" {
			span.SetAttributes(semEventID.String(r.Receipt.EventID))
		}
		if r.Receipt.ID != "" {
			span.SetAttributes(semMessageID.String(r.Receipt.ID))
		}
	}
	if stream != "" {
		span.SetName(semSend + " " + stream)
		span.SetAttributes(semDestination.String(stream))
	}
	fail(span, failure)
}

// publishFailure is a publish's error in one word.
func publishFailure(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrUnknown):
		return "unknown"
	}
	return "failed"
}

// traceparent renders the span of ctx for the event's metadata, so that a
// consumer's span can link to it; "" without one.
func traceparent(ctx context.Context) string {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() {
		return ""
	}
	return "00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-" + sc.TraceFlags().String()
}

// remoteSpan reads what traceparent wrote; it is not valid where that is
// another text.
func remoteSpan(traceparent string) trace.SpanContext {
	if traceparent == "" {
		return trace.SpanContext{}
	}
	carrier := propagation.MapCarrier{"traceparent": traceparent}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}
