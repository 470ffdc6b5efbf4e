// Package freshet keeps the applications of a suite up to date over Redis
// Streams: typed events about users, roles, organizations and credits are
// published by the application that owns them and consumed, at least once
// and in order for each entity, by every application that keeps a copy.
//
// Publish:
//
//	bus, err := freshet.Open(ctx, freshet.Config{URL: os.Getenv("REDIS_URL"), App: "crm"})
//	defer bus.Close()
//	receipt, err := bus.Publish(ctx, tenant, events.UserCreated{UserID: id, Email: email, CreatedAt: now})
//
// Consume:
//
//	consumer := bus.Consumer(freshet.ConsumerConfig{Group: "crm-consumers"})
//	freshet.On(consumer, func(ctx context.Context, e *freshet.Event[events.UserCreated]) error {
//		return store.Upsert(ctx, e.Tenant, e.Data)
//	})
//	err = consumer.Run(ctx) // until ctx ends; drains what is in hand
//
// # What is promised
//
// An event whose publish was acknowledged is handled, dead-lettered or still
// pending: it is acknowledged to Redis only after its handler succeeded or
// its dead letter is stored. It may be handled more than once; make effects
// idempotent, or write them in a transaction with package inbox.
//
// Within one consumer, events of one entity are handled one at a time and in
// entry-id order over all streams of the subscription. Redis deals a group's
// entries to its consumers as they ask, so across several consumers of one
// group order needs [ConsumerConfig.Exclusive].
package freshet
