package freshet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
)

// traced opens a bus whose spans are recorded.
func traced(t *testing.T) (*freshet.Bus, *tracetest.SpanRecorder, *redistest.Server) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	server := redistest.Start(t)
	bus, err := freshet.Open(t.Context(), freshet.Config{
		URL: server.URL(), App: "crm", Log: slog.New(testLog{t}), Tracer: provider.Tracer("test"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	return bus, spans, server
}

func TestTraceFromPublishToHandler(t *testing.T) {
	bus, spans, _ := traced(t)
	receipt := publish(t, bus, user(1))
	failures := 1
	c := bus.Consumer(freshet.ConsumerConfig{Group: "g", BackoffMin: 1})
	freshet.On(c, func(context.Context, *freshet.Event[events.UserCreated]) error {
		if failures--; failures >= 0 {
			return errors.New("cannot save user-1@example.com")
		}
		return nil
	})
	drain(t, c)
	ended := spans.Ended()
	if len(ended) != 3 {
		t.Fatalf("%d spans, want a publish and two attempts", len(ended))
	}
	sent := ended[0]
	if sent.SpanKind() != trace.SpanKindProducer || sent.Name() != "send crm:sync:user:user_created" {
		t.Errorf("publish: %v span %q", sent.SpanKind(), sent.Name())
	}
	wantAttrs(t, sent, "messaging.system=redis", "messaging.operation.type=send",
		"messaging.message.id="+receipt.ID, "freshet.event.id="+receipt.EventID)
	for i, s := range ended[1:] {
		if s.SpanKind() != trace.SpanKindConsumer || s.Name() != "process crm:sync:user:user_created" {
			t.Errorf("attempt %d: %v span %q", i+1, s.SpanKind(), s.Name())
		}
		wantAttrs(t, s, "messaging.consumer.group.name=g", "messaging.message.id="+receipt.ID, fmt.Sprintf("freshet.attempt=%d", i+1))
		if l := s.Links(); len(l) != 1 || l[0].SpanContext.SpanID() != sent.SpanContext().SpanID() || l[0].SpanContext.TraceID() != sent.SpanContext().TraceID() {
			t.Errorf("attempt %d does not link to the publish: %v", i+1, l)
		}
		if s.SpanContext().TraceID() == sent.SpanContext().TraceID() {
			t.Errorf("attempt %d is in the publisher's trace, want a link to it", i+1)
		}
	}
	if st := ended[1].Status(); st.Code != codes.Error || st.Description != "handler" {
		t.Errorf("failed attempt has status %v", st)
	}
	if st := ended[2].Status(); st.Code == codes.Error {
		t.Errorf("attempt that succeeded has status %v", st)
	}
	wantNoPayload(t, spans)
}

func TestTraceOfABatchLinksToEveryEvent(t *testing.T) {
	bus, spans, _ := traced(t)
	first, second := publish(t, bus, user(1)), publish(t, bus, user(2))
	c := bus.Consumer(freshet.ConsumerConfig{Group: "g"})
	freshet.OnBatch(c, freshet.BatchConfig{}, func(context.Context, []*freshet.Event[events.UserCreated]) error { return nil })
	drain(t, c)
	links := map[string]string{}
	for _, s := range spans.Ended()[2:] {
		for _, l := range s.Links() {
			var id string
			for _, a := range l.Attributes {
				if a.Key == "messaging.message.id" {
					id = a.Value.AsString()
				}
			}
			links[id] = l.SpanContext.SpanID().String()
		}
	}
	for i, r := range []freshet.Receipt{first, second} {
		if want := spans.Ended()[i].SpanContext().SpanID().String(); links[r.ID] != want {
			t.Errorf("event %s links to %q, want %q", r.ID, links[r.ID], want)
		}
	}
}

func TestTraceOfPublishesThatFail(t *testing.T) {
	bus, spans, server := traced(t)
	bus.PublishBatch(t.Context(), []freshet.Message{
		{Tenant: tenant, Payload: user(1)},
		{Tenant: tenant, Payload: events.UserCreated{UserID: "user-2", Email: "no address"}},
	})
	wantAttrs(t, spans.Ended()[0], "messaging.batch.message_count=2", "error.type=failed")
	server.Do("CONFIG", "SET", "maxmemory", "1")
	if _, err := bus.Publish(t.Context(), tenant, user(3)); err == nil {
		t.Fatal("published to a server without memory")
	}
	wantAttrs(t, spans.Ended()[1], "messaging.destination.name=crm:sync:user:user_created", "error.type=failed")
	wantNoPayload(t, spans)
}

func TestTraceOfAPanic(t *testing.T) {
	bus, spans, _ := traced(t)
	publish(t, bus, user(1))
	c := bus.Consumer(freshet.ConsumerConfig{Group: "g", MaxAttempts: 1})
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.UserCreated]) error { panic(e.Data.Email) })
	drain(t, c)
	wantAttrs(t, spans.Ended()[1], "error.type=panic")
	wantNoPayload(t, spans)
}

func wantAttrs(t *testing.T, s sdktrace.ReadOnlySpan, want ...string) {
	t.Helper()
	have := map[string]bool{}
	for _, a := range s.Attributes() {
		have[string(a.Key)+"="+a.Value.String()] = true
	}
	for _, w := range want {
		if !have[w] {
			t.Errorf("span %q lacks %s: %v", s.Name(), w, have)
		}
	}
}

// wantNoPayload fails when anything that a span carries has an event's data.
func wantNoPayload(t *testing.T, spans *tracetest.SpanRecorder) {
	t.Helper()
	for _, s := range spans.Ended() {
		text := fmt.Sprint(s.Name(), s.Status(), s.Attributes(), s.Events(), s.Links())
		if strings.Contains(text, "example.com") || strings.Contains(text, "no address") {
			t.Errorf("span has payload: %s", text)
		}
	}
}

func ExampleConfig_tracer() {
	url, stop := exampleURL()
	defer stop()
	ctx := context.Background()
	spans := tracetest.NewInMemoryExporter() // in your program: otlptracehttp.New
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))

	bus, err := freshet.Open(ctx, freshet.Config{URL: url, App: "crm", Tracer: provider.Tracer("crm")})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	if _, err := bus.Publish(ctx, "acme", user(1)); err != nil {
		log.Fatal(err)
	}
	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "crm-consumers"})
	freshet.On(consumer, func(context.Context, *freshet.Event[events.UserCreated]) error { return nil })
	if err := consumer.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	for _, span := range spans.GetSpans() {
		fmt.Println(span.SpanKind, span.Name, "links:", len(span.Links))
	}
	// Output:
	// producer send crm:sync:user:user_created links: 0
	// consumer process crm:sync:user:user_created links: 1
}
