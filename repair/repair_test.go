package repair_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/repair"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	created = "crm:sync:user:user_created"
	deleted = "crm:sync:user:user_deleted"
)

type tools struct {
	*repair.Repairer
	inspector *inspect.Inspector
	bus       *freshet.Bus
	server    *redistest.Server
}

func open(t *testing.T, args ...string) tools {
	t.Helper()
	return openOn(t, redistest.Start(t, args...))
}

func openOn(t *testing.T, server *redistest.Server) tools {
	t.Helper()
	cfg := freshet.Config{URL: server.URL(), Log: slog.New(slog.DiscardHandler)}
	repairer, err := repair.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(repairer.Close)
	inspector, err := inspect.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inspector.Close)
	bus, err := freshet.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	return tools{repairer, inspector, bus, server}
}

// letters returns all dead letters, those of one stream by entry.
func (x tools) letters(t *testing.T) (all []*inspect.DeadLetter) {
	t.Helper()
	err := x.inspector.DeadLetters(t.Context(), inspect.DeadLetterSelection{}, func(l *inspect.DeadLetter) error {
		all = append(all, l)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(all, func(a, b *inspect.DeadLetter) int {
		return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.EntryID, b.EntryID))
	})
	return all
}

func (x tools) refs(t *testing.T) (refs []inspect.DeadLetterRef) {
	t.Helper()
	for _, l := range x.letters(t) {
		refs = append(refs, l.DeadLetterRef)
	}
	return refs
}

// put stores a dead letter of an entry without a consumer.
func (x tools) put(t *testing.T, stream, entryID string, fields ...string) {
	t.Helper()
	args := append([]string{"XADD", "{" + stream + "}:dlq:g", "*"}, fields...)
	reply := x.server.Do(append(args, "freshet-stream", stream, "freshet-id", entryID, "freshet-group", "g", "freshet-consumer", "c",
		"freshet-attempts", "8", "freshet-reason", "max_attempts", "freshet-error", "no", "freshet-first-failed", "", "freshet-last-failed", "")...)
	if err, failed := reply.(redistest.Error); failed {
		t.Fatal(err)
	}
}

// retries returns the ids of the original entries that stand to be read again
// by group g, in the order of the stream.
func (x tools) retries(stream string) (ids []string) {
	for _, entry := range x.server.Do("XRANGE", "{"+stream+"}:retry:g", "-", "+").([]any) {
		fields := entry.([]any)[1].([]any)
		ids = append(ids, fields[len(fields)-1].(string))
	}
	return ids
}

func (x tools) publish(t *testing.T, p events.Payload) {
	t.Helper()
	if _, err := x.bus.Publish(t.Context(), "acme", p); err != nil {
		t.Fatal(err)
	}
}

func user(n int) events.UserCreated {
	return events.UserCreated{UserID: fmt.Sprint("u-", n), Email: "u@example.com", CreatedAt: time.Unix(1, 0)}
}

func gone(n int) events.UserDeleted {
	return events.UserDeleted{UserID: fmt.Sprint("u-", n), DeletedAt: time.Unix(2, 0)}
}

// handler handles users, but while it has an error it fails.
type handler struct {
	mu   sync.Mutex
	err  error
	seen []string
}

func (h *handler) handle(d freshet.Delivery) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err != nil {
		return h.err
	}
	h.seen = append(h.seen, fmt.Sprintf("%s %s attempt %d", d.TypeName(), d.Entity.ID, d.Attempt))
	return nil
}

func (h *handler) mend() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = nil
}

func (h *handler) list() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.seen)
}

func (x tools) consumer(group string, h *handler) *freshet.Consumer {
	c := x.bus.Consumer(freshet.ConsumerConfig{Group: group, MaxAttempts: 2, BackoffMin: time.Millisecond, BackoffMax: time.Millisecond})
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.UserCreated]) error { return h.handle(e.Delivery) })
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.UserDeleted]) error { return h.handle(e.Delivery) })
	return c
}

func drain(t *testing.T, c *freshet.Consumer) freshet.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Drain(ctx); err != nil || ctx.Err() != nil {
		t.Fatalf("not drained: %v, %v", err, ctx.Err())
	}
	return c.Stats()
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// keys returns the project's own streams.
func (x tools) keys() (keys []string) {
	for _, key := range x.server.Do("KEYS", "{*").([]any) {
		if n := x.server.Do("XLEN", key.(string)); n != int64(0) && x.server.Do("TYPE", key.(string)) == "stream" {
			keys = append(keys, key.(string))
		}
	}
	slices.Sort(keys)
	return keys
}

func describe(l *inspect.DeadLetter) string {
	var b strings.Builder
	for f := range l.Envelope.Fields.All() {
		fmt.Fprintf(&b, "%q=%q ", f.Name, f.Value)
	}
	return b.String()
}
