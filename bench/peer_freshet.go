package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

// consumeFreshet is a consumer with its defaults and everything on: decoding
// to the typed payload, one order for each user, leases, retries, dead
// letters, batched acknowledgments, and a histogram of how long the handler
// took.
func consumeFreshet(ctx context.Context, b backlog, handle func(string)) error {
	return freshetConsumers{count: 1}.run(ctx, b, handle)
}

// consumeFreshetRaw differs in that the handler takes the raw data.
func consumeFreshetRaw(ctx context.Context, b backlog, handle func(string)) error {
	return freshetConsumers{count: 1, raw: true}.run(ctx, b, handle)
}

// freshetConsumers are consumers of one group, each with connections of its
// own.
type freshetConsumers struct {
	count int
	raw   bool // handlers do not decode the data
	lease time.Duration
}

func (f freshetConsumers) run(ctx context.Context, b backlog, handle func(string)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	duration := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "handler_duration_seconds", Buckets: prometheus.DefBuckets})
	var settled atomic.Int64
	consumers := make([]*freshet.Consumer, f.count)
	for i := range consumers {
		bus, err := freshet.Open(ctx, freshet.Config{URL: b.server.url(b.db), App: "bench"})
		if err != nil {
			return err
		}
		defer bus.Close()
		cfg := freshet.ConsumerConfig{
			Group:   b.group,
			Streams: b.streams,
			Lease:   f.lease,
			OnSettled: func(s freshet.Settlement) {
				duration.Observe(s.Duration.Seconds())
				if settled.Add(1) == int64(b.entries) {
					cancel()
				}
			},
		}
		if f.lease > 0 {
			cfg.HandlerTimeout = f.lease / 2
		}
		consumers[i] = bus.Consumer(cfg)
		if f.raw {
			freshet.OnTypes(consumers[i], []*events.Type{events.UserCreated{}.Type()}, func(context.Context, *freshet.Delivery) error {
				handle("")
				return nil
			})
		} else {
			freshet.On(consumers[i], func(_ context.Context, e *freshet.Event[events.UserCreated]) error {
				handle(e.Data.UserID)
				return nil
			})
		}
	}
	failures := make([]error, f.count)
	var wg sync.WaitGroup
	for i, consumer := range consumers {
		wg.Go(func() {
			if failures[i] = consumer.Run(ctx); failures[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	if err := errors.Join(failures...); err != nil {
		return err
	}
	if n := int(settled.Load()); n < b.entries {
		return fmt.Errorf("ended after %d of %d entries: %w", n, b.entries, context.Cause(ctx))
	}
	return nil
}
