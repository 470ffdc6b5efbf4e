package freshet_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

func TestPublishAcknowledged(t *testing.T) {
	bus, server := start(t)
	receipt := publish(t, bus, user(1))
	if receipt.Stream != "crm:sync:user:user_created" || receipt.ID == "" || receipt.EventID == "" {
		t.Errorf("receipt %+v", receipt)
	}
	if n := server.Do("XLEN", receipt.Stream); n != int64(1) {
		t.Errorf("XLEN %v, want 1", n)
	}
}

func TestPublishRefusesBeforeTheWire(t *testing.T) {
	bus, server := start(t)
	for _, test := range []struct {
		name, tenant string
		payload      events.Payload
		field        string
	}{
		{"no email", tenant, events.UserCreated{UserID: "u", CreatedAt: time.Now()}, "data.email"},
		{"no id", tenant, events.UserDeleted{}, "data.userId"},
		{"no tenant", "", user(1), "tenantId"},
		{"glob as tenant", "acme:*", user(1), "tenantId"},
		{"no amount", tenant, events.CreditAllocated{EntityID: "e"}, "data.amount"},
	} {
		_, err := bus.Publish(t.Context(), test.tenant, test.payload)
		var field *events.FieldError
		if !errors.Is(err, freshet.ErrFailed) || !errors.As(err, &field) || field.Field != test.field {
			t.Errorf("%s: got %v, want a failure that names %s", test.name, err, test.field)
		}
	}
	if n := server.Do("DBSIZE"); n != int64(0) {
		t.Errorf("%v keys after refused publishes", n)
	}
}

func TestPublishKeyGivesOneIdentity(t *testing.T) {
	bus, _ := start(t)
	m := freshet.Message{Tenant: tenant, Payload: user(1), Key: "order-7"}
	first, err1 := bus.PublishMessage(t.Context(), m)
	second, err2 := bus.PublishMessage(t.Context(), m)
	m.Tenant = "other"
	third, err3 := bus.PublishMessage(t.Context(), m)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if first.EventID != second.EventID || first.ID == second.ID {
		t.Errorf("repeated publish: %+v then %+v, want one event id and two entries", first, second)
	}
	if third.EventID == first.EventID {
		t.Error("two tenants share an event id")
	}
}

func TestPublishUnknownWhenTheServerHangs(t *testing.T) {
	bus, server := start(t)
	server.Stop()
	defer server.Cont()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := bus.Publish(ctx, tenant, user(1))
	if !errors.Is(err, freshet.ErrUnknown) || errors.Is(err, freshet.ErrFailed) {
		t.Errorf("got %v, want unknown", err)
	}
	if took := time.Since(begin); took > 800*time.Millisecond {
		t.Errorf("took %v over a deadline of 300ms", took)
	}
	var publishErr *freshet.PublishError
	if !errors.As(err, &publishErr) || publishErr.EventID == "" {
		t.Errorf("unknown outcome without the event id: %v", err)
	}
}

func TestPublishFailedWhenTheServerRefuses(t *testing.T) {
	bus, server := start(t)
	server.Do("CONFIG", "SET", "maxmemory", "1")
	_, err := bus.Publish(t.Context(), tenant, user(1))
	if !errors.Is(err, freshet.ErrFailed) || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("got %v, want failed, with OOM", err)
	}
}

func TestPublishFailedWhenTheServerIsGone(t *testing.T) {
	bus, server := start(t)
	server.Kill()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	// The first publish may find out on a connection that looked alive, and
	// then cannot know; a failed dial does.
	var err error
	for range 20 {
		if _, err = bus.Publish(ctx, tenant, user(1)); errors.Is(err, freshet.ErrFailed) {
			return
		}
	}
	t.Errorf("got %v, want failed", err)
}

func TestPublishBatchAnswersEach(t *testing.T) {
	bus, server := start(t)
	messages := []freshet.Message{
		{Tenant: tenant, Payload: user(1)},
		{Tenant: tenant, Payload: events.UserCreated{UserID: "broken"}},
		{Tenant: tenant, Payload: user(3)},
	}
	results := bus.PublishBatch(t.Context(), messages)
	if results[0].Err != nil || results[2].Err != nil || !errors.Is(results[1].Err, freshet.ErrFailed) {
		t.Fatalf("results %+v", results)
	}
	if results[0].Receipt.ID >= results[2].Receipt.ID {
		t.Errorf("order lost: %s then %s", results[0].Receipt.ID, results[2].Receipt.ID)
	}
	if n := server.Do("XLEN", "crm:sync:user:user_created"); n != int64(2) {
		t.Errorf("XLEN %v, want 2", n)
	}
}

func TestPublishCarriesTheTrace(t *testing.T) {
	bus, _ := start(t)
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	if _, err := bus.Publish(trace.ContextWithSpanContext(t.Context(), span), tenant, user(1)); err != nil {
		t.Fatal(err)
	}
	var got seen
	c := bus.Consumer(freshet.ConsumerConfig{Group: "g"})
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.UserCreated]) error {
		got.add(e.Traceparent)
		return nil
	})
	drain(t, c)
	want := "00-01000000000000000000000000000000-0200000000000000-01"
	if l := got.list(); len(l) != 1 || l[0] != want {
		t.Errorf("traceparent %q, want %q", l, want)
	}
}

func TestOpenNeverPrintsTheSecret(t *testing.T) {
	for _, url := range []string{
		"redis://user:s3cret@127.0.0.1:99999x/0",
		"http://user:s3cret@127.0.0.1:6379",
		"redis://user:s3cret@127.0.0.1:1/0",
		"redis://user:s3cret%re@127.0.0.1:6379/0",
		"redis://user:s3cret@127.0.0.1:6379/notadb",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		_, err := freshet.Open(ctx, freshet.Config{URL: url})
		cancel()
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("error for a bad URL: %v", err)
		}
	}
}
