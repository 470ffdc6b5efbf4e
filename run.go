package freshet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// Run consumes until ctx ends, then finishes what is in hand within
// [ConsumerConfig.DrainTimeout] and returns nil. It survives the loss of the
// server, of a stream and of its group; it returns an error only when the
// configuration is wrong, when the first contact fails, or when entries could
// not be finished in time (they stay pending and are taken over by another
// consumer). Call it once.
func (c *Consumer) Run(ctx context.Context) error { return c.run(ctx, false) }

// Drain is Run that also ends, with nil, when everything there is has been
// settled: new and pending entries, retries included. While a dependency is
// unavailable, or ten or more entities fail and none succeeds, which counts as
// the same, it waits: give ctx a deadline where it must not.
func (c *Consumer) Drain(ctx context.Context) error { return c.run(ctx, true) }

func (c *Consumer) run(ctx context.Context, untilDrained bool) error {
	if err := c.validate(); err != nil {
		return err
	}
	c.mu.Lock()
	if c.ran {
		c.mu.Unlock()
		return errors.New("freshet: Consumer.Run called twice; make another consumer")
	}
	c.ran = true
	c.mu.Unlock()
	defer c.note(func() { c.ended = true })
	c.wrapHandlers()
	switch err := c.claimTenantFilter(ctx); {
	case ctx.Err() != nil:
		return nil // told to stop before it began
	case err != nil:
		return err
	}
	var globs, keys []string
	for _, s := range c.streams() {
		if strings.ContainsAny(s, `*?[\`) {
			globs = append(globs, s)
		} else {
			keys = append(keys, s)
		}
	}
	group := redisstream.NewGroup(c.bus.client, redisstream.GroupConfig{
		Group:    c.cfg.Group,
		Consumer: c.name,
		Patterns: globs,
		Explicit: keys,
		StartNew: c.cfg.StartNew,
		Log:      c.bus.cfg.Log, // which names the group itself
	})
	c.note(func() { c.group = group })
	stopJanitor := c.startJanitor(ctx, group)
	defer stopJanitor()
	switch err := group.Setup(ctx); {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("freshet: group %s: %w", c.cfg.Group, err)
	}
	if c.cfg.Exclusive {
		return c.runExclusive(ctx, group, untilDrained)
	}
	return c.runEngine(ctx, group, untilDrained)
}

// runEngine runs one engine over the group to its end.
func (c *Consumer) runEngine(ctx context.Context, group *redisstream.Group, untilDrained bool) error {
	engine, err := c.newEngine(group, untilDrained)
	if err != nil {
		return err
	}
	defer c.retire(engine)
	return engine.Run(ctx)
}

func (c *Consumer) newEngine(group *redisstream.Group, untilDrained bool) (*delivery.Engine, error) {
	perStream := 0
	if c.cfg.MaxInFlight == 0 {
		perStream = 10
	}
	engine, err := delivery.New(delivery.Config{
		Transport:       group,
		Decode:          c.decode,
		Route:           c.route,
		Own:             new(deliveries).next,
		Concurrency:     c.cfg.Concurrency,
		MaxInFlight:     orDefault(c.cfg.MaxInFlight, 1000),
		PerStream:       perStream,
		MaxAttempts:     c.cfg.MaxAttempts,
		HandlerTimeout:  c.cfg.HandlerTimeout,
		Lease:           c.cfg.Lease,
		TakeOver:        c.cfg.Exclusive,
		BackoffMin:      c.cfg.BackoffMin,
		BackoffMax:      c.cfg.BackoffMax,
		Block:           time.Second,
		DrainTimeout:    c.cfg.DrainTimeout,
		OutageThreshold: 10,
		StopWhenDrained: untilDrained,
		Observer:        (*observer)(c),
		Log:             c.log,
	})
	if err != nil {
		return nil, fmt.Errorf("freshet: group %s: %w", c.cfg.Group, err)
	}
	c.note(func() { c.engine = engine })
	return engine, nil
}

// note changes what Stats and Ready tell.
func (c *Consumer) note(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// retire keeps the counts of an engine that has ended.
func (c *Consumer) retire(engine *delivery.Engine) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.past = c.past.Plus(engine.Stats())
	c.engine = nil
}

// wrapHandlers puts the middleware, and the bus's tracer, around the handlers.
func (c *Consumer) wrapHandlers() {
	middleware := c.middleware
	if tracer := c.bus.cfg.Tracer; tracer != nil {
		middleware = append([]Middleware{Tracing(tracer)}, middleware...)
		batched := map[*delivery.Route]bool{}
		for _, route := range c.routes {
			if route.HandleBatch != nil && !batched[route] {
				route.HandleBatch = c.traceBatch(route.HandleBatch)
				batched[route] = true
			}
		}
	}
	for route, h := range c.handlers {
		for _, m := range slices.Backward(middleware) {
			h = m(h)
		}
		route.Handle = func(ctx context.Context, m *delivery.Message) error {
			return h(ctx, c.delivery(m))
		}
	}
}

// delivery makes that of one call, where the message has a place for it there.
func (c *Consumer) delivery(m *delivery.Message) *Delivery {
	d, _ := m.Own.(*Delivery)
	if m.Own = nil; d == nil {
		d = new(Delivery)
	}
	*d = c.deliver(m)
	return d
}

// deliveries makes places for those of handlers' first calls, several with one
// allocation. Entries that have no handler get one too: who keeps a delivery
// keeps its neighbours in the stream, and none that are far apart.
type deliveries struct{ unused []Delivery }

// next returns a *Delivery, or nil where it would keep too much with it: see
// wire.Longest.
func (ds *deliveries) next(m *delivery.Message) any {
	if m.Envelope.Fields.Size() > wire.Longest {
		return nil
	}
	if len(ds.unused) == 0 {
		ds.unused = make([]Delivery, wire.Together)
	}
	d := &ds.unused[0]
	ds.unused = ds.unused[1:]
	return d
}

func (c *Consumer) deliver(m *delivery.Message) Delivery {
	return Delivery{Envelope: m.Envelope, Attempt: m.Attempt, Group: c.cfg.Group, Consumer: c.name, Fence: c.fence}
}

// decode reads an entry. One that is refused but certainly another tenant's
// is that tenant's to dead-letter, not ours.
func (c *Consumer) decode(e *wire.Entry) (*events.Envelope, *wire.Refusal) {
	var d wire.Decoder
	env, refusal := d.Decode(e)
	if refusal != nil && env.Tenant != "" && c.filtered(env) {
		refusal = nil
	}
	return env, refusal
}

func (c *Consumer) route(env *events.Envelope) (*delivery.Route, delivery.Disposition) {
	route := c.routes[env.Type]
	if route == nil && env.Type != nil && env.Type.Shape == events.ShapeInterApp {
		route = c.routes[events.InterApp{}.Type()] // takes all inter-app events that have no handler of their own
	}
	switch {
	case c.filtered(env):
		return nil, delivery.Filter
	case route != nil:
		return route, delivery.Handle
	case env.Type == nil && c.cfg.DeadLetterUnknown:
		return nil, delivery.DeadLetterUnknown
	}
	return nil, delivery.Ignore
}

func (c *Consumer) filtered(env *events.Envelope) bool {
	return c.tenants != nil && !c.tenants[env.Tenant]
}

// claimTenantFilter makes the consumer's tenants the group's filter, or fails
// when the group has another.
func (c *Consumer) claimTenantFilter(ctx context.Context) error {
	want := "*"
	if len(c.cfg.Tenants) > 0 {
		sorted := slices.Compact(slices.Sorted(slices.Values(c.cfg.Tenants)))
		want = strings.Join(sorted, ",")
		c.tenants = map[string]bool{}
		for _, t := range sorted {
			c.tenants[t] = true
		}
	}
	have, err := c.bus.client.Setting(ctx, c.cfg.Group, "tenants", want, c.cfg.ReplaceTenants)
	if err != nil {
		return fmt.Errorf("freshet: group %s: tenant filter: %w", c.cfg.Group, err)
	}
	if have != want {
		return &FilterConflictError{Group: c.cfg.Group, Have: have, Want: want}
	}
	return nil
}

// FilterConflictError says that the group has another tenant filter than the
// consumer asks for. "*" stands for all tenants.
type FilterConflictError struct{ Group, Have, Want string }

func (e *FilterConflictError) Error() string {
	return fmt.Sprintf("group %s handles tenants %s, this consumer asks for %s: a filter belongs to the whole group; use another group, or stop the group's consumers and start one that replaces the filter", e.Group, e.Have, e.Want)
}

// startJanitor removes, now and then, consumers of the group that died and
// hold nothing; the returned function ends it and removes this one.
func (c *Consumer) startJanitor(ctx context.Context, group *redisstream.Group) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		every := time.NewTicker(time.Minute)
		defer every.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
				if _, err := group.Prune(ctx, 10*c.cfg.Lease); err != nil && ctx.Err() == nil {
					c.log.Debug("janitor", "error", err)
				}
			}
		}
	}()
	return func() {
		cancel()
		<-done
		leave, cancelLeave := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancelLeave()
		if err := group.Leave(leave); err != nil {
			c.log.Debug("consumer was not removed; the group's janitor will", "error", err)
		}
	}
}
