package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/webhook"
)

// Two targets, each with a group of its own: the one that is broken does not
// keep the other from its events.
func Example() {
	ctx := context.Background()
	bus, stop := exampleBus(ctx)
	defer stop()

	secret := webhook.NewSecret() // in your program: what the receiver was given
	crm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("the crm receives", r.Header.Get("Content-Type"))
	}))
	defer crm.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "I cannot", http.StatusInternalServerError)
	}))
	defer broken.Close()

	deliver := func(name, url string) freshet.Stats {
		target, err := webhook.New(webhook.Config{
			URL:     url,
			Secrets: []webhook.Secret{secret},

			AllowPrivate: true, AllowInsecure: true, // for the example's servers; leave them out for others
		})
		if err != nil {
			log.Fatal(err)
		}
		defer target.Close()
		consumer := bus.Consumer(freshet.ConsumerConfig{
			Group: "webhook-" + name, MaxAttempts: 3, BackoffMin: time.Millisecond,
		})
		freshet.OnTypes(consumer, events.Catalogue(), target.Handle)
		if err := consumer.Drain(ctx); err != nil { // Run(ctx) in a service
			log.Fatal(err)
		}
		return consumer.Stats()
	}
	var stats [2]freshet.Stats
	var both sync.WaitGroup
	both.Go(func() { stats[0] = deliver("crm", crm.URL) })
	both.Go(func() { stats[1] = deliver("broken", broken.URL) })
	both.Wait()
	fmt.Println("crm: handled", stats[0].Handled)
	fmt.Println("broken: handled", stats[1].Handled, "retried", stats[1].Retried, "dead-lettered", stats[1].DeadLettered)
	// Output:
	// the crm receives application/json
	// crm: handled 1
	// broken: handled 0 retried 2 dead-lettered 1
}

// exampleBus is a bus on which one user was created.
func exampleBus(ctx context.Context) (bus *freshet.Bus, stop func()) {
	server, err := redistest.New()
	if err != nil {
		log.Fatal(err)
	}
	bus, err = freshet.Open(ctx, freshet.Config{URL: server.URL(), App: "crm"})
	if err != nil {
		log.Fatal(err)
	}
	user := events.UserCreated{UserID: "u1", Email: "ada@example.com", CreatedAt: time.Now()}
	if _, err := bus.Publish(ctx, "acme", user); err != nil {
		log.Fatal(err)
	}
	return bus, func() { bus.Close(); server.Close() }
}

// The receiver's side. It answers quickly, before work that takes long, and
// handles each webhook-id once.
func ExampleVerify() {
	secret := webhook.NewSecret()
	seen := map[string]bool{} // in your program: a table, written in the transaction of the effect
	receive := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 2<<20))
		if err != nil {
			http.Error(w, "too long", http.StatusRequestEntityTooLarge)
			return
		}
		if err := webhook.Verify(r.Header, body, secret); errors.Is(err, webhook.ErrNotVerified) {
			http.Error(w, "not verified", http.StatusUnauthorized)
			return
		} else if err != nil {
			http.Error(w, "wrong secret here", http.StatusInternalServerError)
			return
		}
		if id := r.Header.Get("webhook-id"); seen[id] {
			return
		} else {
			seen[id] = true
		}
		var event webhook.Event
		if err := json.Unmarshal(body, &event); err != nil {
			http.Error(w, "bad event", http.StatusBadRequest)
			return
		}
		fmt.Println(event.Type, event.Tenant, event.Entity.ID)
	}
	server := httptest.NewServer(http.HandlerFunc(receive))
	defer server.Close()

	target, err := webhook.New(webhook.Config{
		URL: server.URL, Secrets: []webhook.Secret{secret}, AllowPrivate: true, AllowInsecure: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	defer target.Close()
	delivery := &freshet.Delivery{Attempt: 1, Envelope: &events.Envelope{
		Type: events.UserDeleted{}.Type(), Identity: "7", Tenant: "acme", Entity: events.Entity{Type: "user", ID: "u1"}, Data: json.RawMessage(`{}`),
	}}
	for range 2 { // delivered twice
		if err := target.Handle(context.Background(), delivery); err != nil {
			log.Fatal(err)
		}
	}
	// Output: user_deleted acme u1
}
