package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/telemetry"
	"github.com/freshet/freshet/internal/telemetry/alerttest"
)

// scrape is what Prometheus gets.
func scrape(t *testing.T, m *telemetry.Metrics) families {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	return alerttest.Parse(t, w.Body)
}

// value returns the sample of a metric whose labels include those given as
// name=value; a histogram's is its count.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) (float64, bool) {
next:
	for _, m := range families[name].GetMetric() {
		have := map[string]bool{}
		for _, l := range m.GetLabel() {
			have[l.GetName()+"="+l.GetValue()] = true
		}
		for _, l := range labels {
			if !have[l] {
				continue next
			}
		}
		switch {
		case m.Histogram != nil:
			return float64(m.Histogram.GetSampleCount()), true
		case m.Counter != nil:
			return m.Counter.GetValue(), true
		}
		return m.Gauge.GetValue(), true
	}
	return 0, false
}

func wantValue(t *testing.T, families map[string]*dto.MetricFamily, want float64, name string, labels ...string) {
	t.Helper()
	if got, ok := value(families, name, labels...); !ok || got != want {
		t.Errorf("%s%v is %v (there: %v), want %v", name, labels, got, ok, want)
	}
}

func wantNone(t *testing.T, families map[string]*dto.MetricFamily, name string, labels ...string) {
	t.Helper()
	if got, ok := value(families, name, labels...); ok {
		t.Errorf("%s%v is %v, want no sample", name, labels, got)
	}
}

// watch has the metrics look at the server until the test ends, and waits for
// the first look.
func watch(t *testing.T, m *telemetry.Metrics, look func(context.Context) (*inspect.Snapshot, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		m.Watch(ctx, look, slog.New(slog.DiscardHandler))
	}()
	t.Cleanup(func() { cancel(); <-ended })
	eventually(t, "a look at the server", func() bool {
		_, ok := value(scrape(t, m), "freshet_redis_up")
		return ok
	})
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

const userStream = "crm:sync:user:user_created"

func publish(t *testing.T, bus *freshet.Bus, id string) freshet.Receipt {
	t.Helper()
	r, err := bus.Publish(t.Context(), "acme", events.UserCreated{
		UserID: id, Email: id + "@example.com", CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// open opens a bus and an inspector on a server of the test's own.
func open(t *testing.T) (*redistest.Server, *freshet.Bus, *inspect.Inspector) {
	t.Helper()
	server := redistest.Start(t)
	cfg := freshet.Config{URL: server.URL(), App: "crm", Log: slog.New(slog.DiscardHandler)}
	bus, err := freshet.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	inspector, err := inspect.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inspector.Close)
	return server, bus, inspector
}

// consume drains the bus into a handler that fails for the user "poison".
func consume(t *testing.T, bus *freshet.Bus, m *telemetry.Metrics, group string) {
	t.Helper()
	c := bus.Consumer(freshet.ConsumerConfig{Group: group, OnSettled: m.Settled, MaxAttempts: 2, BackoffMin: time.Millisecond})
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.UserCreated]) error {
		if e.Data.UserID == "poison" {
			return errors.New("no")
		}
		return nil
	})
	m.Consumer(group, c.Stats, c.Ready)
	if err := c.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func snapshots(i *inspect.Inspector) func(context.Context) (*inspect.Snapshot, error) {
	return func(ctx context.Context) (*inspect.Snapshot, error) { return i.Snapshot(ctx, inspect.SnapshotConfig{}) }
}

func TestMetricsOfAConsumerAndItsNeighbours(t *testing.T) {
	server, bus, inspector := open(t)
	m := telemetry.NewMetrics("v1.2.3")
	for _, id := range []string{"u1", "u2", "poison"} {
		publish(t, bus, id)
	}
	server.Do("XGROUP", "CREATE", userStream, "others", "0")
	server.Do("XREADGROUP", "GROUP", "others", "them", "COUNT", "1", "STREAMS", userStream, ">")
	consume(t, bus, m, "crm-copy")
	m.Applied(time.Millisecond, nil)
	m.Applied(time.Millisecond, errors.New("busy"))
	watch(t, m, snapshots(inspector))
	got := scrape(t, m)
	stream, ours, theirs := "stream="+userStream, "group=crm-copy", "group=others"

	wantValue(t, got, 1, "freshet_build_info", "version=v1.2.3")
	wantValue(t, got, 2, "freshet_settled_total", stream, ours, "outcome=handled")
	wantValue(t, got, 1, "freshet_settled_total", stream, ours, "outcome=dead_lettered")
	wantValue(t, got, 1, "freshet_dead_letters_total", stream, ours, "reason=max_attempts")
	wantValue(t, got, 2, "freshet_handling_seconds", stream, ours)
	wantValue(t, got, 2, "freshet_end_to_end_seconds", stream, ours)
	wantValue(t, got, 1, "freshet_retries_total", ours)
	wantValue(t, got, 0, "freshet_lost_total", ours, "what=unread")
	wantValue(t, got, 0, "freshet_ready", ours) // it has ended
	wantValue(t, got, 1, "freshet_replica_batch_seconds", "result=ok")
	wantValue(t, got, 1, "freshet_replica_batch_seconds", "result=error")

	wantValue(t, got, 1, "freshet_redis_up")
	wantValue(t, got, 3, "freshet_published_total", stream)
	wantValue(t, got, 3, "freshet_stream_entries", stream)
	wantValue(t, got, 0, "freshet_group_lag_events", stream, ours)
	wantValue(t, got, 0, "freshet_group_lag_seconds", stream, ours)
	wantValue(t, got, 0, "freshet_group_pending", stream, ours)
	wantValue(t, got, 3, "freshet_group_settled", stream, ours)
	wantValue(t, got, 1, "freshet_group_dead_letters", stream, ours)
	wantValue(t, got, 0, "freshet_group_redriven", stream, ours)
	wantValue(t, got, 2, "freshet_group_lag_events", stream, theirs)
	wantValue(t, got, 0, "freshet_group_lag_unknown", stream, theirs)
	wantValue(t, got, 1, "freshet_group_pending", stream, theirs)
	wantValue(t, got, 1, "freshet_group_consumers", stream, theirs, "state=live")
	wantValue(t, got, 0, "freshet_group_consumers", stream, theirs, "state=dead")
	if age, ok := value(got, "freshet_group_oldest_pending_seconds", stream, theirs); !ok || age <= 0 || age > 60 {
		t.Errorf("oldest pending %v s, want a moment", age)
	}
}

// TestRedriveIsCountedUnderItsStream: a redrive is no stream of its own, and
// its id does not tell when the event was published.
func TestRedriveIsCountedUnderItsStream(t *testing.T) {
	m := telemetry.NewMetrics("v")
	m.Settled(freshet.Settlement{Delivery: freshet.Delivery{
		Envelope: &events.Envelope{Stream: "{" + userStream + "}:retry:g", ID: "1-0"}, Group: "g",
	}, Outcome: freshet.Handled})
	got := scrape(t, m)
	wantValue(t, got, 1, "freshet_settled_total", "stream="+userStream)
	wantNone(t, got, "freshet_end_to_end_seconds")
}

// TestRedrivenEventsThatWait: what was redriven and nobody takes is counted,
// and ages.
func TestRedrivenEventsThatWait(t *testing.T) {
	server, bus, inspector := open(t)
	publish(t, bus, "u1")
	server.Do("XGROUP", "CREATE", userStream, "g", "$")
	hourAgo := fmt.Sprintf("%d-0", time.Now().Add(-time.Hour).UnixMilli())
	server.Do("XADD", "{"+userStream+"}:retry:g", hourAgo, "eventType", "user_created")
	m := telemetry.NewMetrics("v")
	watch(t, m, snapshots(inspector))
	got := scrape(t, m)
	wantValue(t, got, 1, "freshet_group_redriven", "stream="+userStream, "group=g")
	wantValue(t, got, 0, "freshet_group_lag_events", "stream="+userStream, "group=g")
	if age, ok := value(got, "freshet_group_lag_seconds", "stream="+userStream, "group=g"); !ok || age < 3600 || age > 3700 {
		t.Errorf("it has waited for %v s, want an hour", age)
	}
}

func TestMetricsWithoutTheServer(t *testing.T) {
	server, _, inspector := open(t)
	server.Kill()
	m := telemetry.NewMetrics("v")
	watch(t, m, snapshots(inspector))
	got := scrape(t, m)
	wantValue(t, got, 0, "freshet_redis_up")
	wantNone(t, got, "freshet_snapshot_timestamp_seconds")
}

// TestUnknownIsNoZero: what the snapshot does not know has no sample.
func TestUnknownIsNoZero(t *testing.T) {
	m := telemetry.NewMetrics("v")
	watch(t, m, fixed(&inspect.Snapshot{At: time.Now(), Streams: []inspect.Stream{{
		Key: "s", Length: -1, Bytes: -1, Added: -1,
		Groups: []inspect.Group{{
			Stream: "s", Name: "g", Lag: inspect.Count{N: 1000, AtLeast: true, Unknown: "not told"},
			OldestUnknown: "no permission", Pending: 7, Read: -1, Live: -1, Dead: -1, DeadLetters: -1, Redriven: -1, LostUnread: 0,
		}},
	}}}))
	got := scrape(t, m)
	wantValue(t, got, 1, "freshet_group_lag_unknown", "stream=s", "group=g")
	wantValue(t, got, 7, "freshet_group_pending", "stream=s", "group=g")
	for _, name := range []string{
		"freshet_published_total", "freshet_stream_entries", "freshet_stream_bytes", "freshet_group_lag_events", "freshet_group_lag_seconds",
		"freshet_group_oldest_pending_seconds", "freshet_group_settled", "freshet_group_consumers", "freshet_group_dead_letters", "freshet_group_redriven",
	} {
		wantNone(t, got, name)
	}
}

// TestLabelsAreBounded: whatever is on the server, and whatever it is called,
// the scrape has a bounded number of series and is valid.
func TestLabelsAreBounded(t *testing.T) {
	s := &inspect.Snapshot{At: time.Now()}
	add := func(stream, group string) {
		s.Streams = append(s.Streams, inspect.Stream{Key: stream, Length: 1, Groups: []inspect.Group{{Stream: stream, Name: group, Pending: 2}}})
	}
	add("bad\xff\xfe", "new\nline\"} 1")
	add("bad\xfe\xff", "new\nline\"} 1") // the same label
	add(strings.Repeat("x", 4096), "long")
	const streams = 3000
	for n := range streams {
		add(fmt.Sprintf("s%d", n), "g")
	}
	m := telemetry.NewMetrics("v")
	watch(t, m, fixed(s))
	got := scrape(t, m)
	pending := got["freshet_group_pending"].GetMetric()
	if len(pending) > 1000 {
		t.Errorf("%d series of one metric", len(pending))
	}
	total := 0.0
	for _, p := range pending {
		total += p.Gauge.GetValue()
		for _, l := range p.GetLabel() {
			if len(l.GetValue()) > 210 {
				t.Errorf("label of %d bytes", len(l.GetValue()))
			}
		}
	}
	if total != 2*(streams+3) {
		t.Errorf("%v entries are pending in all, want %v: what has no label of its own is counted as other", total, 2*(streams+3))
	}
	if folded, _ := value(got, "freshet_folded_labels"); folded == 0 {
		t.Error("nothing tells that labels were folded")
	}
	for n := range streams {
		m.Settled(freshet.Settlement{
			Delivery: freshet.Delivery{Envelope: &events.Envelope{Stream: fmt.Sprintf("s%d", n), ID: "1-0"}, Group: "g"}, Outcome: freshet.Filtered,
		})
	}
	got = scrape(t, m)
	if n := len(got["freshet_settled_total"].GetMetric()); n > 1001 {
		t.Errorf("%d series of settled entries", n)
	}
	wantValue(t, got, streams-1000, "freshet_settled_total", "stream=other", "group=other")
}

func fixed(s *inspect.Snapshot) func(context.Context) (*inspect.Snapshot, error) {
	return func(context.Context) (*inspect.Snapshot, error) { return s, nil }
}
