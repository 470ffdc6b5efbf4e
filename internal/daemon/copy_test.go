package daemon_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/daemon"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/replica"
)

const stream = "crm:sync:user:user_created"

func setup(t *testing.T) (*redistest.Server, *freshet.Bus, *replica.Store) {
	t.Helper()
	server := redistest.Start(t)
	bus, err := freshet.Open(t.Context(), freshet.Config{URL: server.URL(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	store, err := replica.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "suite.db"), replica.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return server, bus, store
}

func addUser(server *redistest.Server, data string) {
	server.Do("XADD", stream, "*", "eventType", "user_created", "tenantId", "acme", "data", data)
}

func TestEventThatCanNeverBeAppliedIsDeadLettered(t *testing.T) {
	server, bus, store := setup(t)
	addUser(server, `{"userId":"u1","email":["not","text"],"isActive":{}}`)
	addUser(server, `{"userId":"u2","email":"u2@example.com"}`)

	consumer := daemon.NewConsumer(bus, daemon.Config{}, store)
	if err := consumer.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := consumer.Stats(); got.Handled != 1 || got.DeadLettered != 1 {
		t.Errorf("%+v, want one handled and one dead-lettered", got)
	}
	var users int
	if err := store.DB().QueryRow(`SELECT count(*) FROM users WHERE user_id = 'u2'`).Scan(&users); err != nil || users != 1 {
		t.Errorf("%d users u2, %v", users, err)
	}
}

func TestNothingIsDeadLetteredWhileTheDatabaseIsGone(t *testing.T) {
	server, bus, store := setup(t)
	for range 50 {
		addUser(server, `{"userId":"u1","email":"u1@example.com"}`)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := daemon.Config{Consumer: freshet.ConsumerConfig{MaxAttempts: 1, BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond, DrainTimeout: 100 * time.Millisecond}}
	consumer := daemon.NewConsumer(bus, cfg, store)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = consumer.Drain(ctx) // says, or not, that entries stay pending
	}()
	pending := func() any {
		summary, _ := server.Do("XPENDING", stream, "freshet-copy").([]any) // none until there is the group
		if len(summary) == 0 {
			return nil
		}
		return summary[0]
	}
	for deadline := time.Now().Add(20 * time.Second); pending() != int64(50) || !unavailable(consumer); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after 20 s %v are pending, and the consumer is ready: %v", pending(), consumer.Ready())
		}
	}
	time.AfterFunc(time.Second, cancel) // for so long it tries again
	<-done
	if got := consumer.Stats(); got != (freshet.Stats{}) {
		t.Errorf("%+v, want nothing settled", got)
	}
	if n := pending(); n != int64(50) {
		t.Errorf("pending: %v, want 50", n)
	}
}

// unavailable tells whether a consumer has found that its handlers cannot work.
func unavailable(c *freshet.Consumer) bool {
	err := c.Ready()
	return err != nil && strings.Contains(err.Error(), "handlers are paused")
}
