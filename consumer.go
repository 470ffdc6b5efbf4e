package freshet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/redisstream"
)

// ConsumerConfig describes one consumer of a group. Only Group is required;
// zero values mean the defaults named.
type ConsumerConfig struct {
	// Group is the consumer group. Every group receives every event; the
	// consumers of one group share them.
	Group string

	// Streams to read, as keys or Redis globs ("crm:*"). Globs are resolved
	// again while running, so a new application's stream is picked up. Keys
	// are created when absent. Default: the streams of the types that
	// handlers were registered for.
	Streams []string

	// Tenants to handle; events of others are acknowledged and counted as
	// filtered. Default: all. The filter belongs to the group: a consumer
	// that asks for another filter than the group's is refused, because it
	// would acknowledge what its peers should have handled.
	Tenants []string

	// ReplaceTenants makes Tenants the group's filter from now on. Stop the
	// group's other consumers first.
	ReplaceTenants bool

	// StartNew makes a group that does not exist yet begin with what is
	// published from now on. Default: at the beginning of each stream.
	StartNew bool

	// Exclusive lets one consumer of the group be active at a time, by a
	// lease in Redis; the others stand by and take over when it ends or
	// within Lease after it died. It gives one order of an entity's events
	// over the whole group. See [Delivery.Fence].
	Exclusive bool

	// Acknowledge publishes an acknowledgment ("processed" or "failed") to
	// the acknowledgments stream for each event that was handled or
	// dead-lettered.
	Acknowledge bool

	// DeadLetterUnknown dead-letters events whose type the catalogue does
	// not know. Default: they are acknowledged and counted as ignored, as
	// are known types that no handler names.
	DeadLetterUnknown bool

	Concurrency    int           // handlers running at once; default 16
	MaxInFlight    int           // entries read and not settled, at most; default 1000, or 10 for each stream where that is more
	MaxAttempts    int           // of one event, then it is dead-lettered; default 8
	HandlerTimeout time.Duration // of one call; default 20 s
	Lease          time.Duration // a dead consumer's entries are taken over after it; must exceed HandlerTimeout; default 30 s
	BackoffMin     time.Duration // before the second attempt, with jitter; doubles; default 200 ms
	BackoffMax     time.Duration // default 30 s
	DrainTimeout   time.Duration // for what is in hand when Run's context ends; default 25 s

	// OnSettled, when set, is told of every entry's end. It is called from
	// several goroutines and must return quickly. A panic in it is logged.
	OnSettled func(Settlement)
}

// Validate reports the first rule that the configuration breaks, as a
// [*ConfigError].
func (c ConsumerConfig) Validate() error {
	c = c.withDefaults()
	bad := func(field, rule string) error { return &ConfigError{Field: field, Rule: rule} }
	switch {
	case c.Group == "":
		return bad("Group", "required")
	case len(c.Group) > 256 || strings.ContainsFunc(c.Group, isControlOrSpace):
		return bad("Group", "at most 256 bytes, no spaces or control characters")
	case c.Concurrency < 0 || c.Concurrency > 10_000:
		return bad("Concurrency", "from 1 to 10000")
	case c.MaxInFlight < 0 || c.MaxInFlight > 100_000:
		return bad("MaxInFlight", "from 1 to 100000")
	case c.MaxAttempts < 0 || c.MaxAttempts > 1000:
		return bad("MaxAttempts", "from 1 to 1000")
	case c.HandlerTimeout < 0:
		return bad("HandlerTimeout", "must not be negative")
	case c.Lease <= c.HandlerTimeout:
		return bad("Lease", fmt.Sprintf("must exceed HandlerTimeout (%v)", c.HandlerTimeout))
	case c.BackoffMin < 0 || c.BackoffMax < c.BackoffMin:
		return bad("BackoffMax", "must not be below BackoffMin")
	case c.DrainTimeout < 0:
		return bad("DrainTimeout", "must not be negative")
	}
	for _, s := range c.Streams {
		if s == "" || len(s) > 512 || strings.ContainsFunc(s, isControlOrSpace) || strings.ContainsAny(s, "{}") {
			return bad("Streams", fmt.Sprintf("%q: a key or glob of 1 to 512 bytes without spaces or braces", s))
		}
	}
	for _, t := range c.Tenants {
		if err := events.ValidTenant(t); err != nil {
			return bad("Tenants", err.Error())
		}
	}
	return nil
}

// ConfigError names a field of [ConsumerConfig] and the rule that it breaks.
type ConfigError struct{ Field, Rule string }

func (e *ConfigError) Error() string {
	return "freshet: ConsumerConfig." + e.Field + ": " + e.Rule
}

func isControlOrSpace(r rune) bool { return r <= ' ' || r == 0x7f }

func (c ConsumerConfig) withDefaults() ConsumerConfig {
	c.Concurrency = orDefault(c.Concurrency, 16)
	c.MaxAttempts = orDefault(c.MaxAttempts, 8)
	c.HandlerTimeout = orDefault(c.HandlerTimeout, 20*time.Second)
	c.Lease = orDefault(c.Lease, 30*time.Second)
	c.BackoffMin = orDefault(c.BackoffMin, 200*time.Millisecond)
	c.BackoffMax = orDefault(c.BackoffMax, max(c.BackoffMin, 30*time.Second))
	c.DrainTimeout = orDefault(c.DrainTimeout, 25*time.Second)
	return c
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// Consumer is one consumer of a group. Register handlers with [On],
// [OnTypes], [OnBatch] or [OnEnvelopes], then call Run once.
type Consumer struct {
	bus  *Bus
	cfg  ConsumerConfig
	name string
	log  *slog.Logger

	middleware []Middleware
	routes     map[*events.Type]*delivery.Route
	handlers   map[*delivery.Route]Handler // of routes that take one event at a time
	setupErrs  []error
	tenants    map[string]bool // nil: all
	fence      int64           // set before an engine starts

	mu       sync.Mutex
	group    *redisstream.Group // nil before Run
	engine   *delivery.Engine   // the current one
	past     Stats              // of earlier engines, of an exclusive consumer
	ran      bool
	ended    bool
	standing bool // by, until the exclusive lease is free
}

// Consumer makes a consumer of the bus. Its configuration is checked by Run.
func (b *Bus) Consumer(cfg ConsumerConfig) *Consumer {
	return &Consumer{
		bus:      b,
		cfg:      cfg.withDefaults(),
		name:     consumerName(b.cfg.App),
		log:      b.cfg.Log.With("group", cfg.Group),
		routes:   map[*events.Type]*delivery.Route{},
		handlers: map[*delivery.Route]Handler{},
	}
}

// consumerName is unique to the process and to the call: two consumers under
// one name would settle each other's entries.
func consumerName(app string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "host"
	}
	return fmt.Sprintf("%s-%s-%d-%s", app, host, os.Getpid(), strings.ToLower(rand.Text()[:8]))
}

// Name returns the consumer's name within the group.
func (c *Consumer) Name() string { return c.name }

// Use adds middleware around every handler registered with [On] or [OnTypes].
// The first added is the outermost.
func (c *Consumer) Use(m ...Middleware) { c.middleware = append(c.middleware, m...) }

// On registers the handler of one event type. The consumer subscribes to the
// streams on which that type is met, in all its spellings and eras. On is not
// safe for concurrent use with Run.
func On[T events.Payload](c *Consumer, handle func(ctx context.Context, e *Event[T]) error) {
	var zero T
	route := &delivery.Route{Name: typeName(zero.Type())}
	c.handlers[route] = func(ctx context.Context, d *Delivery) error {
		data, err := events.Decode[T](d.Envelope)
		if err != nil {
			return Permanent(err)
		}
		return handle(ctx, &Event[T]{Delivery: *d, Data: data})
	}
	c.add(zero.Type(), route)
}

// BatchConfig bounds the batches of [OnBatch] and [OnEnvelopes].
type BatchConfig struct {
	Size int           // events in one call at most; default 500
	Wait time.Duration // a batch that is not full waits this long for more; default 5 ms
}

// OnBatch registers a handler that takes many events of one type in one call,
// those of one entity in order. When it fails, its events are handled again
// in batches of one, so that a poison event fails alone: the handler must
// undo what it did before returning an error, for example by rolling back a
// transaction. Middleware does not apply.
func OnBatch[T events.Payload](c *Consumer, cfg BatchConfig, handle func(ctx context.Context, batch []*Event[T]) error) {
	var zero T
	c.add(zero.Type(), batchRoute(typeName(zero.Type()), cfg, func(ctx context.Context, ms []*delivery.Message) error {
		batch := make([]*Event[T], len(ms))
		for i, m := range ms {
			data, err := events.Decode[T](m.Envelope)
			if err != nil {
				return Permanent(err)
			}
			batch[i] = &Event[T]{Delivery: c.deliver(m), Data: data}
		}
		return handle(ctx, batch)
	}))
}

// OnEnvelopes registers a batch handler for several types at once that takes
// events as they were decoded from the wire, such as a replica's Apply. What
// [OnBatch] says holds.
func OnEnvelopes(c *Consumer, types []*events.Type, cfg BatchConfig, handle func(ctx context.Context, batch []*events.Envelope) error) {
	route := batchRoute("envelopes", cfg, func(ctx context.Context, ms []*delivery.Message) error {
		batch := make([]*events.Envelope, len(ms))
		for i, m := range ms {
			batch[i] = m.Envelope
		}
		return handle(ctx, batch)
	})
	for _, t := range types {
		c.add(t, route)
	}
}

// OnTypes registers one handler for several types, which takes events as they
// were decoded from the wire, such as a webhook target's Handle. Otherwise it
// is as [On].
func OnTypes(c *Consumer, types []*events.Type, handle Handler) {
	route := &delivery.Route{Name: "types"}
	c.handlers[route] = handle
	for _, t := range types {
		c.add(t, route)
	}
}

func batchRoute(name string, cfg BatchConfig, handle func(context.Context, []*delivery.Message) error) *delivery.Route {
	return &delivery.Route{
		Name:        name,
		HandleBatch: handle,
		BatchSize:   orDefault(cfg.Size, 500),
		BatchWait:   orDefault(cfg.Wait, 5*time.Millisecond),
	}
}

func (c *Consumer) add(t *events.Type, r *delivery.Route) {
	if c.routes[t] != nil {
		c.setupErrs = append(c.setupErrs, fmt.Errorf("freshet: two handlers for %s in group %s", typeName(t), c.cfg.Group))
		return
	}
	c.routes[t] = r
}

func typeName(t *events.Type) string {
	if t.Name == "" {
		return "inter-app"
	}
	return t.Name
}

// Stats returns the counts so far. It is safe to call while running.
func (c *Consumer) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.past
	if c.engine != nil {
		s = s.Plus(c.engine.Stats())
	}
	if c.group != nil {
		lost := c.group.Losses()
		s.LostUnread, s.LostAcks = lost.Unread, lost.Acks
		s.GroupsRecreated, s.StreamsSetBack = lost.Recreated, lost.SetBack
	}
	return s
}

// ErrStuck is the error of [Consumer.Ready] that only a restart mends: the
// consumer's loop does not turn. All else that keeps a consumer from being
// ready passes, or is for somebody else to mend.
var ErrStuck = delivery.ErrStuck

// Ready returns nil while the consumer makes progress, or stands by for the
// one that is active, and otherwise what keeps it from that: it has not
// started, the server cannot be reached or refuses to be read, a dependency
// of the handlers is down, it is stopping. It is meant for readiness probes,
// and safe to call at any time.
func (c *Consumer) Ready() error {
	c.mu.Lock()
	engine, ran, ended, standing := c.engine, c.ran, c.ended, c.standing
	c.mu.Unlock()
	var err error
	switch {
	case engine != nil:
		err = engine.Ready()
	case !ran:
		err = errors.New("not started")
	case ended:
		err = errors.New("has ended")
	case !standing:
		err = errors.New("starting")
	}
	if err != nil {
		return fmt.Errorf("freshet: group %s: %w", c.cfg.Group, err)
	}
	return nil
}

// streams returns the keys and globs to subscribe to.
func (c *Consumer) streams() []string {
	if len(c.cfg.Streams) > 0 {
		return c.cfg.Streams
	}
	var keys []string
	for t := range c.routes {
		keys = append(keys, strings.ReplaceAll(t.Stream, "{app}", "*"))
		keys = append(keys, t.Drift...)
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

func (c *Consumer) validate() error {
	if err := c.cfg.Validate(); err != nil {
		return err
	}
	if len(c.routes) == 0 {
		return fmt.Errorf("freshet: group %s: no handler; register one with freshet.On before Run", c.cfg.Group)
	}
	return errors.Join(c.setupErrs...)
}
