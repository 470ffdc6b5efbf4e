package freshet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
)

// exampleURL is the address of a private server, so that the examples run.
func exampleURL() (url string, stop func()) {
	server, err := redistest.New()
	if err != nil {
		log.Fatal(err)
	}
	return server.URL(), server.Close
}

func Example() {
	url, stop := exampleURL() // in your program: os.Getenv("REDIS_URL")
	defer stop()
	ctx := context.Background()

	bus, err := freshet.Open(ctx, freshet.Config{URL: url, App: "crm"})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	_, err = bus.Publish(ctx, "acme", events.UserCreated{UserID: "u1", Email: "ada@example.com", CreatedAt: time.Now()})
	if err != nil {
		log.Fatal(err)
	}

	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "crm-consumers"})
	freshet.On(consumer, func(_ context.Context, e *freshet.Event[events.UserCreated]) error {
		fmt.Println(e.Tenant, e.Data.UserID, e.Data.Email)
		return nil
	})
	if err := consumer.Drain(ctx); err != nil { // Run(ctx) in a service
		log.Fatal(err)
	}
	// Output: acme u1 ada@example.com
}

func ExampleBus_PublishMessage() {
	url, stop := exampleURL()
	defer stop()
	ctx := context.Background()
	bus, err := freshet.Open(ctx, freshet.Config{URL: url, App: "wrapper-api"})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	message := freshet.Message{
		Tenant:  "acme",
		Payload: events.UserDeleted{UserID: "u1", DeletedAt: time.Now(), Reason: "user_deleted_permanently"},
		Key:     "delete-request-17",
	}
	first, err := bus.PublishMessage(ctx, message)
	if errors.Is(err, freshet.ErrUnknown) || err == nil {
		again, err := bus.PublishMessage(ctx, message) // same key: consumers see one event
		fmt.Println(err, first.EventID == again.EventID)
	}
	// Output: <nil> true
}

func ExampleBus_PublishBatch() {
	url, stop := exampleURL()
	defer stop()
	ctx := context.Background()
	bus, err := freshet.Open(ctx, freshet.Config{URL: url})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()

	results := bus.PublishBatch(ctx, []freshet.Message{
		{Tenant: "acme", Payload: events.UserCreated{UserID: "u1", Email: "ada@example.com", CreatedAt: time.Now()}},
		{Tenant: "acme", Payload: events.UserCreated{UserID: "u2", CreatedAt: time.Now()}},
	})
	for _, r := range results {
		var wrong *events.FieldError
		fmt.Println(r.Receipt.Stream, errors.As(r.Err, &wrong))
	}
	// Output:
	// crm:sync:user:user_created false
	//  true
}

func ExampleOnBatch() {
	url, stop := exampleURL()
	defer stop()
	ctx := context.Background()
	bus, err := freshet.Open(ctx, freshet.Config{URL: url})
	if err != nil {
		log.Fatal(err)
	}
	defer bus.Close()
	for i := range 100 {
		if _, err := bus.Publish(ctx, "acme", events.UserDeleted{UserID: fmt.Sprint("u", i)}); err != nil {
			log.Fatal(err)
		}
	}

	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "search-index"})
	deleted := 0
	freshet.OnBatch(consumer, freshet.BatchConfig{Size: 50}, func(_ context.Context, batch []*freshet.Event[events.UserDeleted]) error {
		deleted += len(batch) // one bulk request to the index
		return nil
	})
	if err := consumer.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(deleted)
	// Output: 100
}

func ExampleUnavailable() {
	handle := func(ctx context.Context, e *freshet.Event[events.UserCreated]) error {
		if _, err := os.Stat("/mnt/share"); err != nil {
			return freshet.Unavailable(err) // the consumer pauses and resumes by itself
		}
		if e.Data.Email == "" {
			return freshet.Permanent(errors.New("no email")) // dead letter at once
		}
		return nil
	}
	_ = handle
}
