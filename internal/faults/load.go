package faults

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

// The streams that load is published on.
var loadStreams = []string{events.UserCreated{}.Type().Stream, events.UserDeactivated{}.Type().Stream}

// load is what was published, and what came of it.
type load struct {
	bus *freshet.Bus

	mu       sync.Mutex
	n        int // published so far
	acked    map[string]time.Time
	unknown  map[string]bool
	failed   map[string]bool
	errs     []error
	slowest  time.Duration // call
	entities int
	tenants  []string
	repeat   bool // publish what is unknown again, under its key, until it is acknowledged
	timeout  time.Duration
}

// load connects a publisher of events of 50 users.
func (t *trial) load(url string) *load {
	return &load{
		bus:      t.bus(url),
		acked:    map[string]time.Time{},
		unknown:  map[string]bool{},
		failed:   map[string]bool{},
		entities: 50,
		tenants:  []string{"acme", "globex"},
		timeout:  5 * time.Second,
	}
}

func (t *trial) bus(url string) *freshet.Bus {
	bus, err := freshet.Open(t.ctx, freshet.Config{
		URL: url, PasswordFile: t.password, Durability: t.durability, App: "faults", Log: slog.New(slog.DiscardHandler),
	})
	t.must(err)
	t.atEnd(bus.Close)
	return bus
}

// next makes the nth message.
func (l *load) next() freshet.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.n
	l.n++
	m := freshet.Message{Tenant: l.tenants[n%len(l.tenants)]}
	user := fmt.Sprintf("user-%d", n/2%l.entities)
	round := n / (2 * l.entities) // shifts the type, so that each user's events are on both streams
	if (n+round)%4 < 3 {
		m.Payload = events.UserCreated{UserID: user, Email: canary, CreatedAt: time.Now()}
	} else {
		m.Payload = events.UserDeactivated{UserID: user, Email: canary}
	}
	if l.repeat {
		m.Key = fmt.Sprint(n)
	}
	return m
}

// canary is a piece of every payload that no log may have.
const canary = "canary@example.com"

// one publishes one event, and again where that is asked for.
func (l *load) one(ctx context.Context, m freshet.Message) {
	for l.publish(ctx, m) && l.repeat && ctx.Err() == nil {
	}
}

// publish makes one call and reports whether its outcome is unknown.
func (l *load) publish(ctx context.Context, m freshet.Message) (unknown bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.timeout)
	defer cancel()
	start := time.Now()
	receipt, err := l.bus.PublishMessage(ctx, m)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slowest = max(l.slowest, time.Since(start))
	if err == nil {
		l.acked[receipt.EventID] = time.Now()
		delete(l.unknown, receipt.EventID)
		return false
	}
	var failure *freshet.PublishError
	if !errors.As(err, &failure) {
		panic(err)
	}
	l.errs = append(l.errs, err)
	if errors.Is(err, freshet.ErrUnknown) {
		l.unknown[failure.EventID] = true
		return true
	}
	if !l.unknown[failure.EventID] { // an earlier call may have had its effect
		l.failed[failure.EventID] = true
	}
	return false
}

// some publishes n events, one after the other.
func (l *load) some(ctx context.Context, n int) {
	for range n {
		l.one(ctx, l.next())
	}
}

// many publishes n events in pipelines, all of which must be acknowledged.
func (t *trial) many(l *load, n int) {
	for n > 0 {
		batch := make([]freshet.Message, min(n, 500))
		for i := range batch {
			batch[i] = l.next()
		}
		for _, r := range l.bus.PublishBatch(t.ctx, batch) {
			t.must(r.Err)
			l.mu.Lock()
			l.acked[r.Receipt.EventID] = time.Now()
			l.mu.Unlock()
		}
		n -= len(batch)
	}
}

// start publishes rate events a second, each by a call of its own, until the
// returned function is called, which waits for the calls under way.
func (t *trial) start(l *load, rate int) (stop func()) {
	ctx, cancel := context.WithCancel(t.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		room := make(chan struct{}, 200) // calls under way
		begin, sent := time.Now(), 0
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
			for due := int(time.Since(begin).Seconds() * float64(rate)); sent < due && ctx.Err() == nil; sent++ {
				select {
				case room <- struct{}{}:
				default:
					sent = due // it does not catch up
					continue
				}
				m := l.next()
				wg.Go(func() {
					l.one(ctx, m)
					<-room
				})
			}
		}
	})
	stop = func() {
		cancel()
		wg.Wait()
	}
	t.atEnd(stop)
	return stop
}

// takeErrors returns the errors of publishes since the last time.
func (l *load) takeErrors() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	errs := l.errs
	l.errs = nil
	return errs
}

// join adds what another load published.
func (l *load) join(other *load) {
	maps.Copy(l.acked, other.acked)
	maps.Copy(l.unknown, other.unknown)
	maps.Copy(l.failed, other.failed)
}

// gap returns the longest time without an acknowledgment between two moments.
func (l *load) gap(from, to time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var times []time.Time
	for _, at := range l.acked {
		if at.After(from) && at.Before(to) {
			times = append(times, at)
		}
	}
	return longestGap(append(times, from, to))
}

// ackedSince reports whether a publish was acknowledged after a moment.
func (l *load) ackedSince(moment time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.acked {
		if at.After(moment) {
			return true
		}
	}
	return false
}
