package inspect_test

import (
	"context"
	"fmt"
	stdlog "log"
	"strings"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
)

// A stream is read page by page, the newest entries first.
func ExampleInspector_Page() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		stdlog.Fatal(err)
	}
	defer server.Close()
	for _, id := range []string{"1764842400000-0", "1764842400001-0", "1764842400002-0"} {
		server.Do("XADD", "crm:sync:user:user_deleted", id, "eventType", "user_deleted", "tenantId", "acme")
	}
	ctx := context.Background()

	inspector, err := inspect.Open(ctx, freshet.Config{URL: server.URL()})
	if err != nil {
		stdlog.Fatal(err)
	}
	defer inspector.Close()
	cfg := inspect.PageConfig{Stream: "crm:sync:user:user_deleted", Limit: 2}
	for {
		items, err := inspector.Page(ctx, cfg)
		if err != nil {
			stdlog.Fatal(err)
		}
		for _, item := range items {
			fmt.Println(item.Envelope.ID, item.Envelope.TypeName(), item.Envelope.Tenant)
		}
		if len(items) < cfg.Limit {
			break
		}
		fmt.Println("older:")
		cfg.Before = items[len(items)-1].Envelope.ID
	}
	// Output:
	// 1764842400002-0 user_deleted acme
	// 1764842400001-0 user_deleted acme
	// older:
	// 1764842400000-0 user_deleted acme
}

// What one request has caused, over all streams.
func ExampleInspector_TraceEvents() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		stdlog.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	cfg := freshet.Config{URL: server.URL(), App: "wrapper-api"}
	bus, err := freshet.Open(ctx, cfg)
	if err != nil {
		stdlog.Fatal(err)
	}
	defer bus.Close()
	for _, payload := range []events.Payload{
		events.UserDeactivated{UserID: "u-1", Email: "ada@example.com", DeactivatedAt: time.Unix(1764842400, 0)},
		events.UserDeleted{UserID: "u-1", DeletedAt: time.Unix(1764842401, 0)},
	} {
		if _, err := bus.PublishMessage(ctx, freshet.Message{Tenant: "acme", Payload: payload, CorrelationID: "request-17"}); err != nil {
			stdlog.Fatal(err)
		}
	}

	inspector, err := inspect.Open(ctx, cfg)
	if err != nil {
		stdlog.Fatal(err)
	}
	defer inspector.Close()
	search, err := inspector.TraceEvents(ctx, "request-17", inspect.FindConfig{})
	if err != nil {
		stdlog.Fatal(err)
	}
	for _, item := range search.Found {
		fmt.Println(item.Envelope.TypeName(), item.Envelope.Entity.ID)
	}
	fmt.Println("streams not searched to the end:", len(search.Stopped))
	// Output:
	// user_deactivated u-1
	// user_deleted u-1
	// streams not searched to the end: 0
}

// Has anybody told the publisher that an event was processed?
func ExampleInspector_Acknowledgments() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		stdlog.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	cfg := freshet.Config{URL: server.URL(), App: "crm"}
	bus, err := freshet.Open(ctx, cfg)
	if err != nil {
		stdlog.Fatal(err)
	}
	defer bus.Close()
	receipt, err := bus.Publish(ctx, "acme", events.UserDeleted{UserID: "u-1", DeletedAt: time.Unix(1764842400, 0)})
	if err != nil {
		stdlog.Fatal(err)
	}
	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "crm-consumers", Acknowledge: true})
	freshet.On(consumer, func(context.Context, *freshet.Event[events.UserDeleted]) error { return nil })
	if err := consumer.Drain(ctx); err != nil {
		stdlog.Fatal(err)
	}

	inspector, err := inspect.Open(ctx, cfg)
	if err != nil {
		stdlog.Fatal(err)
	}
	defer inspector.Close()
	item, err := inspector.Entry(ctx, receipt.Stream, receipt.ID)
	if err != nil || item == nil {
		stdlog.Fatal("the entry is not there: ", err)
	}
	acks, _, err := inspector.Acknowledgments(ctx, item.Envelope, 0)
	if err != nil {
		stdlog.Fatal(err)
	}
	for _, ack := range acks {
		fmt.Println(ack.Status)
	}
	// Output:
	// processed
}

// Everything that a tenant was told, as far as it is still there. An entry that
// does not decode is shown with the reason.
func ExampleInspector_Tail() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		stdlog.Fatal(err)
	}
	defer server.Close()
	server.Do("XADD", "crm:sync:user:user_deleted", "1764842400000-0", "eventType", "user_deleted", "tenantId", "acme", "data", `{"userId":"u-1"}`)
	server.Do("XADD", "crm:sync:user:user_deleted", "1764842400001-0", "eventType", "user_deleted", "tenantId", "acme", "data", `{"userId":`)
	server.Do("XADD", "crm:sync:user:user_deleted", "1764842400002-0", "eventType", "user_deleted", "tenantId", "globex", "data", `{"userId":"u-2"}`)
	ctx := context.Background()

	inspector, err := inspect.Open(ctx, freshet.Config{URL: server.URL()})
	if err != nil {
		stdlog.Fatal(err)
	}
	defer inspector.Close()
	cfg := inspect.TailConfig{From: "0", ExitAtEnd: true, Tenants: []string{"acme"}}
	err = inspector.Tail(ctx, cfg, func(item inspect.Item) error {
		fmt.Println(item.Envelope.ID, "decodes:", item.Refusal == nil)
		return nil
	})
	if err != nil {
		stdlog.Fatal(err)
	}
	// Output:
	// 1764842400000-0 decodes: true
	// 1764842400001-0 decodes: false
}

// What a group could not handle, by cause.
func ExampleInspector_DeadLetters() {
	server, err := redistest.New() // in your program: the suite's server
	if err != nil {
		stdlog.Fatal(err)
	}
	defer server.Close()
	ctx := context.Background()
	cfg := freshet.Config{URL: server.URL(), App: "crm"}
	bus, err := freshet.Open(ctx, cfg)
	if err != nil {
		stdlog.Fatal(err)
	}
	defer bus.Close()
	for _, user := range []string{"u-1", "u-2", "u-3"} {
		if _, err := bus.Publish(ctx, "acme", events.UserDeleted{UserID: user, DeletedAt: time.Unix(1764842400, 0)}); err != nil {
			stdlog.Fatal(err)
		}
	}
	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "crm-consumers"})
	freshet.On(consumer, func(_ context.Context, e *freshet.Event[events.UserDeleted]) error {
		return freshet.Permanent(fmt.Errorf("no user %q", e.Data.UserID))
	})
	if err := consumer.Drain(ctx); err != nil {
		stdlog.Fatal(err)
	}

	inspector, err := inspect.Open(ctx, cfg)
	if err != nil {
		stdlog.Fatal(err)
	}
	defer inspector.Close()
	var clusters inspect.DeadLetterClusters
	err = inspector.DeadLetters(ctx, inspect.DeadLetterSelection{Groups: []string{"crm-consumers"}}, func(l *inspect.DeadLetter) error {
		clusters.Add(l)
		return nil
	})
	if err != nil {
		stdlog.Fatal(err)
	}
	for _, c := range clusters.List() {
		fmt.Println(c.Count, c.Stream, c.Reason, c.Error)
	}
	// Output:
	// 3 crm:sync:user:user_deleted permanent no user <text>
}

func ExampleFingerprint() {
	for _, problem := range []string{
		"save user 17: dial tcp 10.0.0.4:5432: connect: connection refused",
		"save user 4711: dial tcp 10.0.0.5:5432: connect: connection refused",
	} {
		fmt.Println(strings.Fields(inspect.Fingerprint(problem))[:5])
	}
	// Output:
	// [save user <n>: dial tcp]
	// [save user <n>: dial tcp]
}
