package freshet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/replica"
)

// exampleBus is a bus on which users of two tenants were created.
func exampleBus(ctx context.Context) (bus *freshet.Bus, stop func()) {
	url, stopServer := exampleURL()
	bus, err := freshet.Open(ctx, freshet.Config{URL: url, App: "crm"})
	if err != nil {
		log.Fatal(err)
	}
	for _, tenant := range []string{"acme", "globex"} {
		user := events.UserCreated{UserID: "u1", Email: "ada@" + tenant + ".example", CreatedAt: time.Now()}
		if _, err := bus.Publish(ctx, tenant, user); err != nil {
			log.Fatal(err)
		}
	}
	return bus, func() { bus.Close(); stopServer() }
}

// A consumer of some tenants. Another consumer of the group that asks for
// other tenants is refused.
func ExampleConsumerConfig_tenants() {
	ctx := context.Background()
	bus, stop := exampleBus(ctx)
	defer stop()

	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "crm-acme", Tenants: []string{"acme"}})
	freshet.On(consumer, func(_ context.Context, e *freshet.Event[events.UserCreated]) error {
		fmt.Println(e.Tenant, e.Data.Email)
		return nil
	})
	if err := consumer.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("filtered:", consumer.Stats().Filtered)

	other := bus.Consumer(freshet.ConsumerConfig{Group: "crm-acme", Tenants: []string{"globex"}})
	freshet.On(other, func(context.Context, *freshet.Event[events.UserCreated]) error { return nil })
	fmt.Println("refused:", other.Drain(ctx) != nil)
	// Output:
	// acme ada@acme.example
	// filtered: 1
	// refused: true
}

// One consumer of the group is active. Its fence lets a store refuse the
// writes of one that was taken over while it stood still.
func ExampleConsumerConfig_exclusive() {
	ctx := context.Background()
	bus, stop := exampleBus(ctx)
	defer stop()

	var newest int64 // in a store: a column beside the data
	write := func(fence int64) error {
		if fence < newest {
			return freshet.Permanent(errors.New("another consumer has taken over"))
		}
		newest = fence
		return nil
	}
	for range 2 { // the second takes over from the first
		before := newest
		consumer := bus.Consumer(freshet.ConsumerConfig{Group: "billing", Exclusive: true, Concurrency: 1})
		freshet.On(consumer, func(_ context.Context, e *freshet.Event[events.UserCreated]) error { return write(e.Fence) })
		if err := consumer.Drain(ctx); err != nil {
			log.Fatal(err)
		}
		fmt.Println("handled:", consumer.Stats().Handled, "fence has grown:", newest > before)
		if _, err := bus.Publish(ctx, "acme", events.UserCreated{UserID: "u2", Email: "bob@acme.example", CreatedAt: time.Now()}); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// handled: 2 fence has grown: true
	// handled: 1 fence has grown: true
}

// Applications that publish learn what became of their events.
func ExampleConsumerConfig_acknowledge() {
	ctx := context.Background()
	bus, stop := exampleBus(ctx)
	defer stop()

	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "crm-consumers", Tenants: []string{"acme"}, Acknowledge: true})
	freshet.On(consumer, func(context.Context, *freshet.Event[events.UserCreated]) error { return nil })
	if err := consumer.Drain(ctx); err != nil {
		log.Fatal(err)
	}

	publisher := bus.Consumer(freshet.ConsumerConfig{Group: "wrapper-consumers"})
	freshet.On(publisher, func(_ context.Context, e *freshet.Event[events.Acknowledgment]) error {
		fmt.Println(e.Data.Status, "by", e.Source)
		return nil
	})
	if err := publisher.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: processed by crm
}

// Several types in one transaction each batch: here, a copy of all state.
func ExampleOnEnvelopes() {
	ctx := context.Background()
	bus, stop := exampleBus(ctx)
	defer stop()
	dir, err := os.MkdirTemp("", "replica")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := replica.Open(ctx, "sqlite://"+filepath.Join(dir, "suite.db"), replica.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "crm-copy"})
	freshet.OnEnvelopes(consumer, store.Types(), freshet.BatchConfig{}, store.Apply)
	if err := consumer.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	var users int
	if err := store.DB().QueryRowContext(ctx, "SELECT count(*) FROM users WHERE deleted_at IS NULL").Scan(&users); err != nil {
		log.Fatal(err)
	}
	fmt.Println("users:", users)
	// Output: users: 2
}

// One handler for all types of the catalogue, such as a webhook's.
func ExampleOnTypes() {
	ctx := context.Background()
	bus, stop := exampleBus(ctx)
	defer stop()

	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "audit", Tenants: []string{"acme"}})
	freshet.OnTypes(consumer, events.Catalogue(), func(_ context.Context, d *freshet.Delivery) error {
		fmt.Println(d.TypeName(), d.Entity.ID, len(d.Data) > 0)
		return nil
	})
	if err := consumer.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: user_created u1 true
}

// Middleware sees every call of a handler registered with On, whatever the
// type of the event.
func ExampleConsumer_Use() {
	ctx := context.Background()
	bus, stop := exampleBus(ctx)
	defer stop()

	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "crm-consumers", Concurrency: 1})
	var calls []string
	audit := func(next freshet.Handler) freshet.Handler {
		return func(ctx context.Context, d *freshet.Delivery) error {
			err := next(ctx, d)
			calls = append(calls, fmt.Sprintf("%s of %s, attempt %d, error: %v", d.TypeName(), d.Tenant, d.Attempt, err))
			return err
		}
	}
	consumer.Use(audit, freshet.Timeout(time.Second), freshet.Recover())
	freshet.On(consumer, func(context.Context, *freshet.Event[events.UserCreated]) error { return nil })
	if err := consumer.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	slices.Sort(calls)
	for _, call := range calls {
		fmt.Println(call)
	}
	// Output:
	// user_created of acme, attempt 1, error: <nil>
	// user_created of globex, attempt 1, error: <nil>
}

// A service that says when to ask again.
func ExampleRetryAfter() {
	ctx := context.Background()
	bus, stop := exampleBus(ctx)
	defer stop()

	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "mails", Tenants: []string{"acme"}})
	freshet.On(consumer, func(_ context.Context, e *freshet.Event[events.UserCreated]) error {
		if e.Attempt == 1 {
			return freshet.RetryAfter(errors.New("too many requests"), 10*time.Millisecond)
		}
		fmt.Println("sent at attempt", e.Attempt)
		return nil
	})
	if err := consumer.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: sent at attempt 2
}

// An error that no retry can mend: the event is a dead letter at once.
func ExamplePermanent() {
	ctx := context.Background()
	bus, stop := exampleBus(ctx)
	defer stop()

	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "mails", Tenants: []string{"acme"}})
	freshet.On(consumer, func(context.Context, *freshet.Event[events.UserCreated]) error {
		return freshet.Permanent(errors.New("the address does not exist"))
	})
	if err := consumer.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	stats := consumer.Stats()
	fmt.Println("dead-lettered:", stats.DeadLettered, "retried:", stats.Retried)
	// Output: dead-lettered: 1 retried: 0
}
