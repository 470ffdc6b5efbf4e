package main

import (
	"context"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

// publishFreshet calls Publish, which validates and encodes, from so many
// goroutines.
func publishFreshet(goroutines int) publish {
	return func(ctx context.Context, s *server, n int) error {
		bus, err := freshet.Open(ctx, freshet.Config{URL: s.URL(), App: "wrapper-api"})
		if err != nil {
			return err
		}
		defer bus.Close()
		return shared(ctx, goroutines, n, func(ctx context.Context, i int) error {
			_, err := bus.Publish(ctx, tenant, user(i))
			return err
		})
	}
}

// publishFreshetBatch calls PublishBatch.
func publishFreshetBatch(ctx context.Context, s *server, n int) error {
	bus, err := freshet.Open(ctx, freshet.Config{URL: s.URL(), App: "wrapper-api"})
	if err != nil {
		return err
	}
	defer bus.Close()
	batch := make([]freshet.Message, 0, pipeline)
	return batches(n, func(from, to int) error {
		batch = batch[:0]
		for i := from; i < to; i++ {
			batch = append(batch, freshet.Message{Tenant: tenant, Payload: user(i)})
		}
		for _, r := range bus.PublishBatch(ctx, batch) {
			if r.Err != nil {
				return r.Err
			}
		}
		return nil
	})
}

var (
	active  = true
	created = time.Date(2025, 12, 4, 10, 0, 0, 0, time.UTC)
	userIDs = func() []string {
		ids := make([]string, 10_000)
		for i := range ids {
			ids[i] = userID(i)
		}
		return ids
	}()
)

// user is the payload of the event that the others publish ready-made.
func user(n int) events.UserCreated {
	return events.UserCreated{
		UserID:    userIDs[n%len(userIDs)],
		Email:     "augusta.ada.lovelace@subscriptions.analytical-engines.example.com",
		FirstName: "Augusta Ada",
		LastName:  "Lovelace",
		Name:      "Augusta Ada Lovelace",
		IsActive:  &active,
		CreatedAt: created,
	}
}
