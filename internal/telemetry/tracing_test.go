package telemetry_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/telemetry"
)

// sink is a collector of traces.
type sink struct {
	mu    sync.Mutex
	spans map[string]*otlp.Span
	about string
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &request) != nil {
		http.Error(w, "no", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		s.about = resource.GetResource().String()
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				s.spans[span.GetName()] = span
			}
		}
	}
}

// TestTracesReachTheCollector: a publish and the batch that handles it arrive
// as spans, the one linked to the other.
func TestTracesReachTheCollector(t *testing.T) {
	got := &sink{spans: map[string]*otlp.Span{}}
	endpoint := httptest.NewServer(got)
	defer endpoint.Close()
	tracer, stop, err := telemetry.StartTracing(t.Context(), endpoint.URL+"/v1/traces", "crm", "v1", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := redistest.Start(t)
	bus, err := freshet.Open(t.Context(), freshet.Config{URL: server.URL(), Tracer: tracer, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	publish(t, bus, "u1")
	c := bus.Consumer(freshet.ConsumerConfig{Group: "g"})
	freshet.OnEnvelopes(c, []*events.Type{events.UserCreated{}.Type()}, freshet.BatchConfig{}, func(context.Context, []*events.Envelope) error { return nil })
	if err := c.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop(t.Context())

	got.mu.Lock()
	defer got.mu.Unlock()
	sent, handled := got.spans["send "+userStream], got.spans["process "+userStream]
	if sent == nil || handled == nil {
		t.Fatalf("spans %v", got.spans)
	}
	if links := handled.GetLinks(); len(links) != 1 || !bytes.Equal(links[0].GetSpanId(), sent.GetSpanId()) {
		t.Errorf("links %v, want one to %s", links, hex.EncodeToString(sent.GetSpanId()))
	}
	if sent.GetKind() != otlp.Span_SPAN_KIND_PRODUCER || handled.GetKind() != otlp.Span_SPAN_KIND_CONSUMER {
		t.Errorf("kinds %v and %v", sent.GetKind(), handled.GetKind())
	}
	if !strings.Contains(got.about, "crm") {
		t.Errorf("resource %s does not name the application", got.about)
	}
}

// TestCollectorThatHangs: neither handling nor the end waits for a collector.
func TestCollectorThatHangs(t *testing.T) {
	hang := make(chan struct{})
	endpoint := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer endpoint.Close()
	defer close(hang)
	var log lines
	tracer, stop, err := telemetry.StartTracing(t.Context(), endpoint.URL+"/v1/traces", "crm", "v1", slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for range 10_000 {
		_, span := tracer.Start(t.Context(), "process")
		span.End()
	}
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("10,000 spans took %v", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	begin = time.Now()
	stop(ctx)
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
	if !strings.Contains(log.String(), "traces") {
		t.Errorf("the log does not tell: %q", log.String())
	}
}

// lines collects a log that others write while it is read.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestTracingWanted(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "")
	if telemetry.TracingWanted() {
		t.Error("wanted without an endpoint")
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
	if !telemetry.TracingWanted() {
		t.Error("not wanted with an endpoint")
	}
	t.Setenv("OTEL_SDK_DISABLED", "true")
	if telemetry.TracingWanted() {
		t.Error("wanted where it is disabled")
	}
}
