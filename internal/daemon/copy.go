package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/replica"
)

// NewConsumer makes the consumer that keeps the store up to date.
func NewConsumer(bus *freshet.Bus, cfg Config, store *replica.Store) *freshet.Consumer {
	cfg = cfg.WithDefaults()
	consumer := bus.Consumer(cfg.Consumer)
	freshet.OnEnvelopes(consumer, store.Types(), cfg.Batch, func(ctx context.Context, batch []*events.Envelope) error {
		start := time.Now()
		err := store.Apply(ctx, batch)
		if cfg.Applied != nil {
			cfg.Applied(time.Since(start), err)
		}
		return classify(err)
	})
	return consumer
}

// classify tells the consumer what the store knows about its error: whether
// the event can never apply, or the database cannot now take any.
func classify(err error) error {
	var permanent interface{ Permanent() bool }
	var unavailable interface{ Unavailable() bool }
	switch {
	case errors.As(err, &permanent) && permanent.Permanent():
		return freshet.Permanent(err)
	case errors.As(err, &unavailable) && unavailable.Unavailable():
		return freshet.Unavailable(err)
	}
	return err
}
