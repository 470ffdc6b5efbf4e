package freshet_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
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
	late := overdue(ctx)
	_, err := bus.Publish(ctx, tenant, user(1))
	if took := late(); took > 500*time.Millisecond {
		t.Errorf("took %v longer than the deadline", took)
	}
	if !errors.Is(err, freshet.ErrUnknown) || errors.Is(err, freshet.ErrFailed) {
		t.Errorf("got %v, want unknown", err)
	}
	var publishErr *freshet.PublishError
	if !errors.As(err, &publishErr) || publishErr.EventID == "" {
		t.Errorf("unknown outcome without the event id: %v", err)
	}
}

// overdue returns a function that tells how much later it is than the end of a
// context, as the goroutines of this process see it: one that a busy machine
// does not run learns of that end late.
func overdue(ctx context.Context) (late func() time.Duration) {
	seen := make(chan time.Time, 1)
	go func() {
		<-ctx.Done()
		seen <- time.Now()
	}()
	return func() time.Duration {
		now := time.Now()
		return now.Sub(<-seen)
	}
}

// publishUntilTaken publishes one user after another, from n on, until one is
// acknowledged, and returns how many it has published. A publish that needs a
// new connection shares the fate of the call that makes it, which may be one
// that was given up.
func publishUntilTaken(t *testing.T, bus *freshet.Bus, n int, user func(int) events.UserCreated) (published int) {
	t.Helper()
	eventually(t, "a publish is acknowledged", func() bool {
		published++
		_, err := bus.Publish(t.Context(), tenant, user(n+published-1))
		if err != nil && !errors.Is(err, freshet.ErrUnknown) {
			t.Fatal(err)
		}
		return err == nil
	})
	return published
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

// What a publish that was given up is about to send is not another's by then:
// every entry has the fields of one event.
func TestGivenUpPublishesKeepTheirFields(t *testing.T) {
	bus, server := start(t)
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			for i := range 100 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+(g+i)%20)*time.Millisecond)
				if g%4 == 0 {
					bus.PublishBatch(ctx, []freshet.Message{{Tenant: tenant, Payload: user(1000*g + 2*i)}, {Tenant: tenant, Payload: user(1000*g + 2*i + 1)}})
				} else {
					_, _ = bus.Publish(ctx, tenant, user(1000*g+i)) // or not
				}
				cancel()
			}
		})
	}
	for range 5 {
		time.Sleep(10 * time.Millisecond)
		server.Stop()
		time.Sleep(20 * time.Millisecond)
		server.Cont()
	}
	wg.Wait()
	publishUntilTaken(t, bus, 100_000, user)
	seen := map[string]bool{}
	entries := server.Do("XRANGE", "crm:sync:user:user_created", "-", "+").([]any)
	for _, entry := range entries {
		_, field := entryOf(entry)
		id := field["entityId"]
		if !strings.Contains(field["data"], `"`+id+`"`) || !strings.Contains(field["data"], `"`+id+`@example.com"`) || !strings.Contains(field["metadata"], id+"_") {
			t.Errorf("of several events: %v", field)
		}
		if seen[id] || seen[field["messageId"]] {
			t.Errorf("twice: %v", field)
		}
		seen[id], seen[field["messageId"]] = true, true
	}
	if len(entries) < 100 {
		t.Errorf("the test shows little: %d entries", len(entries))
	}
}

// Publishes of many goroutines share pipelines, and each has its own receipt.
func TestConcurrentPublishesHaveTheirOwnReceipts(t *testing.T) {
	bus, server := start(t)
	var receipts sync.Map // entry id → event id
	var wg sync.WaitGroup
	for g := range 50 {
		wg.Go(func() {
			for i := range 20 {
				r, err := bus.Publish(t.Context(), tenant, user(20*g+i))
				if err != nil {
					t.Error(err)
					return
				}
				receipts.Store(r.ID, r.EventID)
			}
		})
	}
	wg.Wait()
	entries := server.Do("XRANGE", "crm:sync:user:user_created", "-", "+").([]any)
	for _, entry := range entries {
		e := entry.([]any)
		if eventID, _ := receipts.Load(e[0]); !slices.Contains(e[1].([]any), eventID) {
			t.Errorf("entry %v has not the event %v of its receipt", e[0], eventID)
		}
	}
	if len(entries) != 1000 {
		t.Errorf("%d entries", len(entries))
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
