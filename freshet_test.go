package freshet_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const tenant = "00000000-0000-0000-0000-000000000001"

// start opens a bus on a server of the test's own.
func start(t *testing.T, args ...string) (*freshet.Bus, *redistest.Server) {
	t.Helper()
	server := redistest.Start(t, args...)
	return open(t, server), server
}

func open(t *testing.T, server *redistest.Server) *freshet.Bus {
	t.Helper()
	bus, err := freshet.Open(t.Context(), freshet.Config{URL: server.URL(), App: "wrapper-api", Log: slog.New(testLog{t})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	return bus
}

// testLog sends the bus's log to the test's.
type testLog struct{ t *testing.T }

func (l testLog) Enabled(context.Context, slog.Level) bool { return true }
func (l testLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l testLog) WithGroup(string) slog.Handler            { return l }
func (l testLog) Handle(_ context.Context, r slog.Record) error {
	if l.t.Context().Err() != nil {
		return nil // the test has ended
	}
	var b strings.Builder
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&b, " %s", a); return true })
	l.t.Log(r.Level, r.Message+b.String())
	return nil
}

// heardLog is a log that a test waits for.
type heardLog struct {
	testLog
	messages *seen
}

func (l heardLog) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l heardLog) WithGroup(string) slog.Handler      { return l }
func (l heardLog) Handle(ctx context.Context, r slog.Record) error {
	l.messages.add(r.Message)
	return l.testLog.Handle(ctx, r)
}

func user(n int) events.UserCreated {
	return events.UserCreated{
		UserID:    fmt.Sprintf("user-%d", n),
		Email:     fmt.Sprintf("user-%d@example.com", n),
		CreatedAt: time.Date(2025, 12, 4, 10, 0, 0, 0, time.UTC),
	}
}

// publish publishes and returns the receipt, or fails the test.
func publish(t *testing.T, bus *freshet.Bus, p events.Payload) freshet.Receipt {
	t.Helper()
	receipt, err := bus.Publish(t.Context(), tenant, p)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// running is a consumer that runs until the test ends or stop is called.
type running struct {
	*freshet.Consumer
	stop func() error // ends Run and returns its error
}

func runConsumer(t *testing.T, c *freshet.Consumer) running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var once sync.Once
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = c.Run(ctx)
	}()
	stop := func() error {
		once.Do(cancel)
		<-done
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return running{c, stop}
}

// drain handles all there is, or fails the test.
func drain(t *testing.T, c *freshet.Consumer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("not drained within 30 s: %+v", c.Stats())
	}
}

// eventually polls until the condition holds.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(15 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 15 s: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// log collects what handlers saw.
type seen struct {
	mu  sync.Mutex
	got []string
}

func (s *seen) add(v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, v)
}

func (s *seen) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.got...)
}

func (s *seen) count() int { return len(s.list()) }

// calls returns how often a server has run a command.
func calls(server *redistest.Server, command string) int {
	for line := range strings.Lines(server.Do("INFO", "commandstats").(string)) {
		if rest, is := strings.CutPrefix(line, "cmdstat_"+command+":calls="); is {
			n, _, _ := strings.Cut(rest, ",")
			count, _ := strconv.Atoi(n)
			return count
		}
	}
	return 0
}
