package redisstream_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/wire"
)

func TestMain(m *testing.M) {
	// The library's delayed look at a cluster's map outlives Close by a second.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"))
}

const (
	s1 = "crm:sync:user:user_created"
	s2 = "crm:sync:user:user_deleted"
)

func start(t *testing.T, args ...string) (*redisstream.Client, *redistest.Server) {
	t.Helper()
	server := redistest.Start(t, args...)
	return open(t, server.URL()), server
}

func open(t *testing.T, url string) *redisstream.Client {
	t.Helper()
	c, err := redisstream.Open(t.Context(), redisstream.Config{URL: url, ClientName: "a test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// group sets a consumer of group g up, over s1 and s2.
func group(t *testing.T, c *redisstream.Client, consumer string) *redisstream.Group {
	t.Helper()
	return groupOf(t, c, redisstream.GroupConfig{Consumer: consumer, Explicit: []string{s1, s2}})
}

func groupOf(t *testing.T, c *redisstream.Client, cfg redisstream.GroupConfig) *redisstream.Group {
	t.Helper()
	cfg.Group = "g"
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g := redisstream.NewGroup(c, cfg)
	if err := g.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	return g
}

// add appends n entries {"n": "0"}, {"n": "1"}, … and returns their ids.
func add(t *testing.T, c *redisstream.Client, stream string, n int) []wire.ID {
	t.Helper()
	batch := make([]redisstream.Addition, n)
	for i := range batch {
		batch[i] = redisstream.Addition{Stream: stream, Fields: []events.Field{{Name: "n", Value: fmt.Sprint(i)}}}
	}
	ids := make([]wire.ID, n)
	for i, r := range c.AddBatch(t.Context(), batch) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		ids[i] = r.ID
	}
	return ids
}

// read reads what is there.
func read(t *testing.T, g *redisstream.Group, count int) []wire.Entry {
	t.Helper()
	entries, _, err := g.Read(t.Context(), g.Streams(), count, 0)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func ids(entries []wire.Entry) []wire.ID {
	out := make([]wire.ID, len(entries))
	for i, e := range entries {
		out[i] = e.ID
	}
	return out
}

func refs(entries []wire.Entry) []wire.Ref {
	out := make([]wire.Ref, len(entries))
	for i := range entries {
		out[i] = entries[i].Ref()
	}
	return out
}

// deliveries returns the delivery count of each pending entry of a stream.
func deliveries(server *redistest.Server, stream string) map[string]int64 {
	counts := map[string]int64{}
	for _, p := range server.Do("XPENDING", stream, "g", "-", "+", "1000").([]any) {
		p := p.([]any)
		counts[p[0].(string)] = p[3].(int64)
	}
	return counts
}

func owners(server *redistest.Server, stream string) map[string]string {
	owners := map[string]string{}
	for _, p := range server.Do("XPENDING", stream, "g", "-", "+", "1000").([]any) {
		p := p.([]any)
		owners[p[0].(string)] = p[1].(string)
	}
	return owners
}

// eventually polls until the condition holds. What a busy machine makes slow may
// be looked for only every ten seconds, see lossesMax.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// blocked waits until n clients of the server are blocked in a read.
func blocked(t *testing.T, server *redistest.Server, n int) {
	t.Helper()
	want := fmt.Sprintf("blocked_clients:%d\r\n", n)
	eventually(t, want, func() bool { return strings.Contains(server.Do("INFO", "clients").(string), want) })
}

// logBuffer collects log lines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func benchmarkClient(b *testing.B) *redisstream.Client {
	c, err := redisstream.Open(b.Context(), redisstream.Config{URL: redistest.Start(b).URL()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}
