package freshet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
)

// quick are consumer settings with short times.
func quick(group string) freshet.ConsumerConfig {
	return freshet.ConsumerConfig{
		Group:          group,
		HandlerTimeout: 500 * time.Millisecond,
		Lease:          time.Second,
		BackoffMin:     5 * time.Millisecond,
		BackoffMax:     20 * time.Millisecond,
		MaxAttempts:    3,
	}
}

func onUser(c *freshet.Consumer, handle func(e *freshet.Event[events.UserCreated]) error) {
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.UserCreated]) error { return handle(e) })
}

func pending(server *redistest.Server, stream, group string) any {
	return server.Do("XPENDING", stream, group).([]any)[0]
}

const userStream = "crm:sync:user:user_created"

func TestConsumerReceivesWhatWasPublished(t *testing.T) {
	bus, server := start(t)
	receipt := publish(t, bus, user(1))
	var got *freshet.Event[events.UserCreated]
	c := bus.Consumer(quick("crm-consumers"))
	onUser(c, func(e *freshet.Event[events.UserCreated]) error { got = e; return nil })
	drain(t, c)
	if got == nil || got.Data != user(1) {
		t.Fatalf("got %+v", got)
	}
	if got.ID != receipt.ID || got.Identity != receipt.EventID || got.Tenant != tenant ||
		got.Entity != (events.Entity{Type: "user", ID: "user-1"}) || got.Attempt != 1 ||
		got.TypeName() != "user_created" || got.Source != "wrapper-api" || got.CorrelationID == "" || got.Time.IsZero() {
		t.Errorf("envelope %+v", got.Delivery)
	}
	if n := pending(server, userStream, "crm-consumers"); n != int64(0) {
		t.Errorf("%v pending after drain", n)
	}
	if s := c.Stats(); s != (freshet.Stats{Handled: 1}) {
		t.Errorf("stats %+v", s)
	}
	if n := server.Do("XINFO", "CONSUMERS", userStream, "crm-consumers").([]any); len(n) != 0 {
		t.Errorf("consumer left behind: %v", n)
	}
}

// What a handler is given is its own, each attempt's too, and stays as it was.
func TestHandlersMayKeepWhatTheyAreGiven(t *testing.T) {
	bus, _ := start(t)
	const users, attempts = 100, 105
	for n := range users {
		publish(t, bus, user(n))
	}
	var mu sync.Mutex
	deliveries, kept := map[*freshet.Delivery]string{}, map[*freshet.Event[events.UserCreated]]string{}
	c := bus.Consumer(quick("g"))
	c.Use(func(next freshet.Handler) freshet.Handler {
		return func(ctx context.Context, d *freshet.Delivery) error {
			mu.Lock()
			deliveries[d] = fmt.Sprintf("%+v %+v", *d, *d.Envelope)
			mu.Unlock()
			return next(ctx, d)
		}
	})
	onUser(c, func(e *freshet.Event[events.UserCreated]) error {
		mu.Lock()
		defer mu.Unlock()
		kept[e] = fmt.Sprintf("%+v %+v", *e, *e.Envelope)
		if e.Attempt == 1 && slices.Contains([]string{"user-7", "user-27", "user-47", "user-67", "user-87"}, e.Data.UserID) {
			return errors.New("once more")
		}
		return nil
	})
	drain(t, c)
	if len(deliveries) != attempts || len(kept) != attempts {
		t.Errorf("%d deliveries and %d events, want %d", len(deliveries), len(kept), attempts)
	}
	for d, was := range deliveries {
		if is := fmt.Sprintf("%+v %+v", *d, *d.Envelope); is != was {
			t.Errorf("%s\nwas %s", is, was)
		}
	}
	seen := map[string]int{}
	for e, was := range kept {
		if is := fmt.Sprintf("%+v %+v", *e, *e.Envelope); is != was {
			t.Errorf("%s\nwas %s", is, was)
		}
		seen[e.Data.UserID]++
	}
	if len(seen) != users {
		t.Errorf("%d users, want %d", len(seen), users)
	}
}

func TestPoisonIsDeadLetteredAloneWithAllItsFields(t *testing.T) {
	bus, server := start(t)
	for n := range 50 {
		publish(t, bus, user(n))
	}
	c := bus.Consumer(quick("g"))
	var attempts atomic.Int64
	onUser(c, func(e *freshet.Event[events.UserCreated]) error {
		if e.Data.UserID == "user-7" {
			attempts.Add(1)
			return errors.New("boom")
		}
		return nil
	})
	drain(t, c)
	if s := c.Stats(); s.Handled != 49 || s.DeadLettered != 1 || attempts.Load() != 3 {
		t.Errorf("stats %+v, %d attempts, want 49 handled, 1 dead-lettered, 3 attempts", s, attempts.Load())
	}
	letters := server.Do("XRANGE", "{"+userStream+"}:dlq:g", "-", "+").([]any)
	if len(letters) != 1 {
		t.Fatalf("%d dead letters", len(letters))
	}
	fields := map[string]string{}
	var names []string
	flat := letters[0].([]any)[1].([]any)
	for i := 0; i < len(flat); i += 2 {
		names = append(names, flat[i].(string))
		fields[flat[i].(string)] = flat[i+1].(string)
	}
	if want := []string{"streamId", "messageId", "timestamp", "sourceApp", "eventType", "entityType", "entityId", "tenantId", "action", "data", "metadata"}; !slices.Equal(names[:11], want) {
		t.Errorf("original fields %v, want %v", names[:11], want)
	}
	if fields["freshet-reason"] != "max_attempts" || fields["freshet-attempts"] != "3" || fields["freshet-error"] != "boom" ||
		fields["freshet-stream"] != userStream || fields["freshet-group"] != "g" || fields["freshet-id"] == "" {
		t.Errorf("dead letter %v", fields)
	}
	if n := pending(server, userStream, "g"); n != int64(0) {
		t.Errorf("%v pending", n)
	}
}

func TestHandlerErrorsOfEachKind(t *testing.T) {
	bus, server := start(t)
	for n := range 4 {
		publish(t, bus, user(n))
	}
	var calls [4]atomic.Int64
	c := bus.Consumer(quick("g"))
	onUser(c, func(e *freshet.Event[events.UserCreated]) error {
		var n int
		fmt.Sscanf(e.Data.UserID, "user-%d", &n)
		first := calls[n].Add(1) == 1
		switch {
		case n == 0:
			return freshet.Permanent(errors.New("never"))
		case n == 1 && first:
			return freshet.RetryAfter(errors.New("later"), 30*time.Millisecond)
		case n == 2 && first:
			panic("ouch")
		case n == 3 && first:
			return freshet.Unavailable(errors.New("database is down"))
		}
		return nil
	})
	drain(t, c)
	if s := c.Stats(); s.Handled != 3 || s.DeadLettered != 1 {
		t.Errorf("stats %+v", s)
	}
	if calls[0].Load() != 1 {
		t.Errorf("permanent error was attempted %d times", calls[0].Load())
	}
	if n := server.Do("XLEN", "{"+userStream+"}:dlq:g"); n != int64(1) {
		t.Errorf("%v dead letters, want 1", n)
	}
}

func TestOneEntityKeepsItsOrderOverStreams(t *testing.T) {
	bus, _ := start(t)
	var want []string
	for n := range 40 {
		id := fmt.Sprintf("u%d", n%4)
		publish(t, bus, events.UserCreated{UserID: id, Email: "a@example.com", CreatedAt: time.Now()})
		publish(t, bus, events.UserDeactivated{UserID: id, Email: "a@example.com"})
		publish(t, bus, events.UserDeleted{UserID: id, Email: "a@example.com"})
		want = append(want, "created", "deactivated", "deleted")
	}
	want = want[:30] // of each of the four users
	var got [4]seen
	see := func(id, what string, attempt int) error {
		if what == "deactivated" && attempt == 1 {
			return errors.New("once")
		}
		got[id[1]-'0'].add(what)
		return nil
	}
	c := bus.Consumer(quick("g"))
	onUser(c, func(e *freshet.Event[events.UserCreated]) error { return see(e.Data.UserID, "created", e.Attempt) })
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.UserDeactivated]) error {
		return see(e.Data.UserID, "deactivated", e.Attempt)
	})
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.UserDeleted]) error {
		return see(e.Data.UserID, "deleted", e.Attempt)
	})
	drain(t, c)
	for i := range got {
		if !slices.Equal(got[i].list(), want) {
			t.Errorf("user %d: %v", i, got[i].list())
		}
	}
}

func TestBatchHandlerIsolatesPoison(t *testing.T) {
	bus, _ := start(t)
	for n := range 100 {
		publish(t, bus, user(n))
	}
	var good seen
	c := bus.Consumer(quick("g"))
	freshet.OnBatch(c, freshet.BatchConfig{Size: 40}, func(_ context.Context, batch []*freshet.Event[events.UserCreated]) error {
		for _, e := range batch {
			if e.Data.UserID == "user-50" {
				return errors.New("poison")
			}
		}
		for _, e := range batch {
			good.add(e.Data.UserID)
		}
		return nil
	})
	drain(t, c)
	if s := c.Stats(); s.Handled != 99 || s.DeadLettered != 1 || good.count() != 99 {
		t.Errorf("stats %+v, %d effects", s, good.count())
	}
}

func TestTenantFilterBelongsToTheGroup(t *testing.T) {
	bus, _ := start(t)
	publish(t, bus, user(1))
	if _, err := bus.Publish(t.Context(), "other", user(2)); err != nil {
		t.Fatal(err)
	}
	consumer := func(tenants ...string) *freshet.Consumer {
		cfg := quick("g")
		cfg.Tenants = tenants
		c := bus.Consumer(cfg)
		onUser(c, func(e *freshet.Event[events.UserCreated]) error {
			if e.Tenant != tenant {
				t.Errorf("handled an event of tenant %q", e.Tenant)
			}
			return nil
		})
		return c
	}
	c := consumer(tenant)
	drain(t, c)
	if s := c.Stats(); s != (freshet.Stats{Handled: 1, Filtered: 1}) {
		t.Errorf("stats %+v", s)
	}
	for _, tenants := range [][]string{nil, {"other"}, {tenant, "other"}} {
		var conflict *freshet.FilterConflictError
		if err := consumer(tenants...).Drain(t.Context()); !errors.As(err, &conflict) {
			t.Errorf("filter %v beside [%s]: got %v, want a conflict", tenants, tenant, err)
		}
	}
}

func TestUnknownTypes(t *testing.T) {
	bus, server := start(t)
	server.Do("XADD", userStream, "*", "eventType", "user_renamed", "tenantId", tenant, "data", "{}")
	for _, deadLetter := range []bool{false, true} {
		cfg := quick(fmt.Sprint("g", deadLetter))
		cfg.DeadLetterUnknown = deadLetter
		c := bus.Consumer(cfg)
		onUser(c, func(*freshet.Event[events.UserCreated]) error { return nil })
		drain(t, c)
		want := freshet.Stats{Ignored: 1}
		if deadLetter {
			want = freshet.Stats{DeadLettered: 1}
		}
		if s := c.Stats(); s != want {
			t.Errorf("dead-letter %v: stats %+v", deadLetter, s)
		}
	}
}

func TestAcknowledgments(t *testing.T) {
	bus, _ := start(t)
	good := publish(t, bus, user(1))
	bad := publish(t, bus, user(2))
	cfg := quick("g")
	cfg.Acknowledge = true
	c := bus.Consumer(cfg)
	onUser(c, func(e *freshet.Event[events.UserCreated]) error {
		if e.Data.UserID == "user-2" {
			return freshet.Permanent(errors.New("no"))
		}
		return nil
	})
	drain(t, c)
	var status sync.Map
	acks := bus.Consumer(quick("wrapper-consumers"))
	freshet.On(acks, func(_ context.Context, e *freshet.Event[events.Acknowledgment]) error {
		if !strings.HasPrefix(e.Identity, "ack_") {
			t.Errorf("acknowledgment id %q", e.Identity)
		}
		status.Store(e.Data.OriginalEventID, e.Data.Status)
		return nil
	})
	drain(t, acks)
	for id, want := range map[string]string{good.EventID: "processed", bad.EventID: "failed"} {
		if got, _ := status.Load(id); got != want {
			t.Errorf("%s: acknowledged as %v, want %s", id, got, want)
		}
	}
	if s := acks.Stats(); s.Handled != 2 {
		t.Errorf("stats %+v, want 2 handled", s)
	}
}

func TestMiddlewareOrder(t *testing.T) {
	bus, _ := start(t)
	publish(t, bus, user(1))
	var calls seen
	layer := func(name string) freshet.Middleware {
		return func(next freshet.Handler) freshet.Handler {
			return func(ctx context.Context, d *freshet.Delivery) error {
				calls.add(name)
				return next(ctx, d)
			}
		}
	}
	c := bus.Consumer(quick("g"))
	c.Use(layer("outer"), layer("inner"))
	onUser(c, func(*freshet.Event[events.UserCreated]) error { calls.add("handler"); return nil })
	drain(t, c)
	if got := calls.list(); !slices.Equal(got, []string{"outer", "inner", "handler"}) {
		t.Errorf("called %v", got)
	}
}

func TestCreditsAreExactAndOneFactOnTwoStreams(t *testing.T) {
	bus, _ := start(t)
	amount := decimal.RequireFromString("9007199254740993.1")
	publish(t, bus, events.CreditAllocated{EntityID: "e", Amount: amount, AllocationID: "a1"})
	publish(t, bus, events.CreditAllocatedSync{EntityID: "e", AllocationID: "a1", Amount: amount})
	var got seen
	c := bus.Consumer(quick("g"))
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.CreditAllocated]) error {
		got.add(e.Identity + " " + e.Data.Amount.String())
		return nil
	})
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.CreditAllocatedSync]) error {
		got.add(e.Identity + " " + e.Data.Amount.String())
		return nil
	})
	drain(t, c)
	if l := got.list(); !slices.Equal(l, []string{"a1 9007199254740993.1", "a1 9007199254740993.1"}) {
		t.Errorf("got %v", l)
	}
}

func TestInterAppHandlerTakesEveryNameWithoutItsOwn(t *testing.T) {
	bus, _ := start(t)
	publish(t, bus, events.AppUserCreated{Target: "crm", UserID: "u", Email: "a@example.com"})
	publish(t, bus, events.InterApp{EventType: "employee.updated", Target: "hr", EntityID: "u", Data: []byte(`{"title":"Dr"}`)})
	var got seen
	c := bus.Consumer(quick("g"))
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.InterApp]) error {
		got.add(e.Data.EventType + " to " + e.Data.Target)
		return nil
	})
	drain(t, c)
	want := []string{"user.created to crm", "employee.updated to hr"}
	if l := got.list(); !slices.Equal(slices.Sorted(slices.Values(l)), slices.Sorted(slices.Values(want))) {
		t.Errorf("handled %v, want %v", l, want)
	}
}

func TestTypesAreFoundOnDriftedStreams(t *testing.T) {
	bus, server := start(t)
	server.Do("XADD", "crm:sync:user_created", "*", "eventId", "e1", "eventType", "user.created", "tenantId", tenant, "data", `{"userId":"u"}`)
	var got seen
	c := bus.Consumer(quick("g"))
	onUser(c, func(e *freshet.Event[events.UserCreated]) error { got.add(e.Data.UserID); return nil })
	drain(t, c)
	if l := got.list(); !slices.Equal(l, []string{"u"}) {
		t.Errorf("handled %v", l)
	}
}

func TestConsumerConfigRules(t *testing.T) {
	bus, _ := start(t)
	for field, change := range map[string]func(*freshet.ConsumerConfig){
		"Group":          func(c *freshet.ConsumerConfig) { c.Group = "" },
		"Lease":          func(c *freshet.ConsumerConfig) { c.Lease, c.HandlerTimeout = time.Second, time.Second },
		"MaxAttempts":    func(c *freshet.ConsumerConfig) { c.MaxAttempts = -1 },
		"Concurrency":    func(c *freshet.ConsumerConfig) { c.Concurrency = 1e9 },
		"BackoffMax":     func(c *freshet.ConsumerConfig) { c.BackoffMin, c.BackoffMax = time.Hour, time.Second },
		"Streams":        func(c *freshet.ConsumerConfig) { c.Streams = []string{"a b"} },
		"Tenants":        func(c *freshet.ConsumerConfig) { c.Tenants = []string{"a*"} },
		"HandlerTimeout": func(c *freshet.ConsumerConfig) { c.HandlerTimeout = -1 },
	} {
		cfg := quick("g")
		change(&cfg)
		c := bus.Consumer(cfg)
		onUser(c, func(*freshet.Event[events.UserCreated]) error { return nil })
		if err := c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "ConsumerConfig."+field+":") {
			t.Errorf("%s: got %v", field, err)
		}
	}
	if err := bus.Consumer(quick("g")).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no handler") {
		t.Errorf("no handler: got %v", err)
	}
	twice := bus.Consumer(quick("g"))
	onUser(twice, func(*freshet.Event[events.UserCreated]) error { return nil })
	onUser(twice, func(*freshet.Event[events.UserCreated]) error { return nil })
	if err := twice.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "two handlers for user_created") {
		t.Errorf("two handlers: got %v", err)
	}
}
