package web_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/daemon"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/web"
	"github.com/freshet/freshet/repair"
	"github.com/freshet/freshet/replica"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	users  = "crm:sync:user:user_created"
	group  = "crm-copy"
	script = `<script>alert(1)</script>`
	breakr = `"><img src=x onerror=alert(1)>`
)

// site is a dashboard over a server of the test's own, with a copy.
type site struct {
	*httptest.Server
	redis  *redistest.Server
	store  *replica.Store
	log    *lines
	client *http.Client
	config web.Config
}

type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// open serves a dashboard; change may alter its configuration.
func open(t *testing.T, change func(*web.Config), args ...string) *site {
	t.Helper()
	return openOn(t, redistest.Start(t, args...), change)
}

// openOn serves a dashboard over a server that is there.
func openOn(t *testing.T, redis *redistest.Server, change func(*web.Config)) *site {
	t.Helper()
	s := &site{redis: redis, log: &lines{}}
	log := slog.New(slog.NewTextHandler(s.log, nil))
	cfg := freshet.Config{URL: s.redis.URL(), Log: log}
	inspector, err := inspect.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inspector.Close)
	repairer, err := repair.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(repairer.Close)
	s.store, err = replica.Open(t.Context(), "sqlite://"+filepath.Join(t.TempDir(), "copy.db"), replica.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	s.config = web.Config{Inspector: inspector, Repairer: repairer, Copy: s.store.DB(), Server: s.redis.URL(), Log: log}
	if change != nil {
		change(&s.config)
	}
	dashboard := web.New(s.config)
	s.Server = httptest.NewServer(dashboard)
	t.Cleanup(func() {
		dashboard.Close()
		s.Close()
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.client = &http.Client{Jar: jar, Transport: s.Client().Transport}
	return s
}

// add adds an entry and returns its id.
func (s *site) add(t *testing.T, stream string, fields ...string) string {
	t.Helper()
	reply := s.redis.Do(append([]string{"XADD", stream, "*"}, fields...)...)
	if err, failed := reply.(redistest.Error); failed {
		t.Fatal(err)
	}
	return reply.(string)
}

func userFields(id, email string) []string {
	return []string{"messageId", "m-" + id, "eventType", "user_created", "tenantId", "acme", "entityType", "user", "entityId", id, "action", "created",
		"timestamp", "2025-12-04T10:00:00.000Z", "data", fmt.Sprintf(`{"userId":%q,"email":%q,"firstName":"Ada","lastName":"Lovelace","name":"Ada Lovelace","createdAt":"2025-12-04T10:00:00Z"}`, id, email)}
}

// bury stores a dead letter, as a consumer does, and returns its id.
func (s *site) bury(t *testing.T, entry string, reason, problem string, fields ...string) string {
	t.Helper()
	return s.add(t, "{"+users+"}:dlq:"+group, append(fields, "freshet-stream", users, "freshet-id", entry, "freshet-group", group,
		"freshet-consumer", "c-1", "freshet-attempts", "8", "freshet-reason", reason, "freshet-error", problem,
		"freshet-first-failed", "2026-01-02T03:04:05.678Z", "freshet-last-failed", "2026-01-02T03:05:05.678Z")...)
}

// consume runs the consumer that keeps the copy, until the test ends.
func (s *site) consume(t *testing.T) {
	t.Helper()
	bus, err := freshet.Open(t.Context(), freshet.Config{URL: s.redis.URL(), App: "crm", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	consumer := daemon.NewConsumer(bus, daemon.Config{Consumer: freshet.ConsumerConfig{Group: group, DrainTimeout: time.Second}}, s.store)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = consumer.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done; bus.Close() })
}

// get returns a page, and fails the test unless it has this status.
func (s *site) get(t *testing.T, status int, path string) string {
	t.Helper()
	reply, err := s.client.Get(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	return body(t, reply, status, path)
}

// post sends a form.
func (s *site) post(t *testing.T, status int, path string, form ...string) string {
	t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Add(form[i], form[i+1])
	}
	reply, err := s.client.PostForm(s.URL+path, values)
	if err != nil {
		t.Fatal(err)
	}
	return body(t, reply, status, path)
}

func body(t *testing.T, reply *http.Response, status int, path string) string {
	t.Helper()
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		t.Fatal(err)
	}
	if reply.StatusCode != status {
		t.Fatalf("%s: status %d, want %d\n%s", path, reply.StatusCode, status, text)
	}
	return string(text)
}

func wants(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("no %q in\n%s", text, page)
		}
	}
}

func lacks(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(page, text) {
			t.Errorf("%q in\n%s", text, page)
		}
	}
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

func address(path string, pairs ...string) string {
	query := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		query.Set(pairs[i], pairs[i+1])
	}
	return path + "?" + query.Encode()
}
