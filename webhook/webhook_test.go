package webhook_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// receiver records what arrives and answers as it is told to.
type receiver struct {
	*httptest.Server

	mu       sync.Mutex
	requests []received
}

type received struct {
	header http.Header
	body   []byte
	proto  string
}

func receive(t *testing.T, answer http.HandlerFunc) *receiver {
	return serve(t, (*httptest.Server).Start, answer)
}

func serve(t *testing.T, start func(*httptest.Server), answer http.HandlerFunc) *receiver {
	t.Helper()
	r := &receiver{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		r.requests = append(r.requests, received{request.Header, body, request.Proto})
		r.mu.Unlock()
		if answer != nil {
			answer(w, request)
		}
	}))
	r.EnableHTTP2 = true
	r.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	start(r.Server)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests
}

var secret = webhook.NewSecret()

func target(t *testing.T, url string, change ...func(*webhook.Config)) *webhook.Target {
	t.Helper()
	cfg := webhook.Config{
		URL: url, Secrets: []webhook.Secret{secret}, Timeout: 5 * time.Second,
		AllowPrivate: true, AllowInsecure: true,
	}
	for _, c := range change {
		c(&cfg)
	}
	target, err := webhook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(target.Close)
	return target
}

func delivery() *freshet.Delivery {
	return &freshet.Delivery{
		Envelope: &events.Envelope{
			Stream:   "crm:sync:user:user_created",
			ID:       "1735987200000-0",
			Identity: "0197-x\r\ninjected: yes",
			Type:     events.UserCreated{}.Type(),
			Tenant:   "acme",
			Entity:   events.Entity{Type: "user", ID: "u1"},
			Time:     time.Date(2025, 12, 4, 10, 0, 0, 0, time.UTC),
			Data:     json.RawMessage(`{"userId":"u1","email":"<ada>@example.com","n":1.10}`),
		},
		Attempt: 3,
	}
}

// The kinds of errors as a consumer tells them apart.
func kind(err error) string {
	var permanent interface{ Permanent() bool }
	var unavailable interface{ Unavailable() bool }
	var retryAfter interface{ RetryAfter() time.Duration }
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &permanent):
		return "permanent"
	case errors.As(err, &unavailable) && errors.As(err, &retryAfter):
		return "unavailable for " + retryAfter.RetryAfter().Round(time.Second).String()
	case errors.As(err, &unavailable):
		return "unavailable"
	}
	return "attempt"
}

func TestRequest(t *testing.T) {
	r := receive(t, nil)
	if err := target(t, r.URL+"/hooks/x?key=1").Handle(t.Context(), delivery()); err != nil {
		t.Fatal(err)
	}
	got := r.all()[0]
	const want = `{"id":"0197-x\r\ninjected: yes","type":"user_created","timestamp":"2025-12-04T10:00:00Z","tenant":"acme",` +
		`"entity":{"type":"user","id":"u1"},"stream":"crm:sync:user:user_created","attempt":3,` +
		`"data":{"userId":"u1","email":"<ada>@example.com","n":1.10}}`
	if string(got.body) != want {
		t.Errorf("body\n%s, want\n%s", got.body, want)
	}
	if err := webhook.Verify(got.header, got.body, secret); err != nil {
		t.Error(err)
	}
	if got.header.Get("Content-Type") != "application/json" || got.header.Get("Injected") != "" || got.header.Get("Idempotency-Key")+got.header.Get("Accept-Encoding") != "" {
		t.Errorf("headers %v", got.header)
	}
}

func TestMessageID(t *testing.T) {
	r := receive(t, nil)
	to := target(t, r.URL)
	same, otherTenant, otherType, otherIdentity, copied := delivery(), delivery(), delivery(), delivery(), delivery()
	same.Attempt, same.Stream, same.ID = 9, "{crm:sync:user:user_created}:retry:g", "7-0"
	otherTenant.Tenant = "globex"
	otherType.Type = events.UserDeleted{}.Type()
	otherIdentity.Identity = "y"
	// One allocation of credits is told on two streams.
	otherType2 := delivery()
	copied.Type, otherType2.Type = events.CreditAllocated{}.Type(), events.CreditAllocatedSync{}.Type()
	for _, d := range []*freshet.Delivery{delivery(), same, otherTenant, otherType, otherIdentity, copied, otherType2} {
		if err := to.Handle(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	var ids []string
	distinct := map[string]bool{}
	for _, request := range r.all() {
		ids = append(ids, request.header.Get("webhook-id"))
		distinct[ids[len(ids)-1]] = true
	}
	if ids[0] != ids[1] || ids[5] != ids[6] || len(distinct) != 5 || strings.ContainsAny(ids[0], ". ") {
		t.Errorf("ids %q", ids)
	}
}

func TestOutcomes(t *testing.T) {
	inTwoHours := time.Now().Add(2 * time.Hour).UTC().Format(http.TimeFormat)
	past := time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)
	for _, tt := range []struct {
		status int
		after  string
		want   string
	}{
		{200, "", "done"}, {202, "", "done"}, {204, "", "done"},
		{301, "", "attempt"}, {302, "", "attempt"}, {307, "", "attempt"}, {308, "", "attempt"}, {304, "", "attempt"},
		{401, "", "attempt"}, {403, "", "attempt"}, {404, "", "attempt"}, {405, "", "attempt"}, {407, "", "attempt"}, {410, "", "attempt"},
		{408, "", "attempt"}, {425, "", "attempt"},
		{500, "", "attempt"}, {502, "", "attempt"}, {503, "", "attempt"}, {504, "", "attempt"}, {599, "", "attempt"},
		{500, "7", "attempt"},
		{400, "", "permanent"}, {409, "", "permanent"}, {413, "", "permanent"}, {415, "", "permanent"}, {422, "", "permanent"}, {499, "", "permanent"},
		{429, "", "unavailable"}, {429, "soon", "unavailable"}, {503, "-1", "attempt"},
		{429, "7", "unavailable for 7s"}, {503, "7", "unavailable for 7s"},
		{429, "0", "unavailable for 0s"}, {429, past, "unavailable for 0s"},
		{429, "86400", "unavailable for 1h0m0s"}, {429, "99999999999999999999", "unavailable for 1h0m0s"}, {503, inTwoHours, "unavailable for 1h0m0s"},
	} {
		r := receive(t, func(w http.ResponseWriter, request *http.Request) {
			if request.URL.Path != "/" {
				t.Errorf("status %d was followed to %s", tt.status, request.URL.Path)
			}
			w.Header().Set("Location", "/elsewhere")
			if tt.after != "" {
				w.Header().Set("Retry-After", tt.after)
			}
			w.WriteHeader(tt.status)
		})
		err := target(t, r.URL+"/?token=hunter2").Handle(t.Context(), delivery())
		if kind(err) != tt.want || len(r.all()) != 1 {
			t.Errorf("%d, Retry-After %q: %s (%v) after %d requests, want %s", tt.status, tt.after, kind(err), err, len(r.all()), tt.want)
		}
		if err != nil && (!strings.Contains(err.Error(), fmt.Sprint(tt.status)) || strings.Contains(err.Error(), "hunter2")) {
			t.Errorf("%d: error %q", tt.status, err)
		}
	}
}

// What one event is told holds for all, and sends nothing.
func TestNothingIsSentBeforeRetryAfter(t *testing.T) {
	var first time.Time
	r := receive(t, func(w http.ResponseWriter, _ *http.Request) {
		if first.IsZero() {
			first = time.Now()
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	})
	to := target(t, r.URL)
	if err := to.Handle(t.Context(), delivery()); kind(err) != "unavailable for 1s" {
		t.Fatal(err)
	}
	other := delivery()
	other.Entity.ID = "u2"
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		sent := len(r.all())
		err := to.Handle(t.Context(), other)
		if err == nil {
			break
		}
		if !strings.HasPrefix(kind(err), "unavailable") || len(r.all()) != sent || time.Now().After(deadline) {
			t.Fatalf("%v after %d requests", err, len(r.all()))
		}
	}
	if waited := time.Since(first); waited < 995*time.Millisecond || len(r.all()) != 2 {
		t.Errorf("sent again after %v, %d requests", waited, len(r.all()))
	}
}

// hijack answers with raw bytes and then does as after says.
func hijack(t *testing.T, text string, after func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, text)
		if after != nil {
			after(conn)
		}
	}
}

// drip sends a byte of text every few milliseconds until the client is gone.
func drip(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for tick := range time.Tick(5 * time.Millisecond) {
			if _, err := io.WriteString(conn, text); err != nil || tick.IsZero() {
				return
			}
		}
	}
}

func TestHostileAnswers(t *testing.T) {
	const timeout = time.Second
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = io.CopyN(z, endless{}, 4<<20)
	_ = z.Close()
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"nothing":          {hijack(t, "", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }), "attempt"},
		"slow headers":     {hijack(t, "HTTP/1.1 200 OK\r\nX-Slow: ", drip("x")), "attempt"},
		"headers for ever": {hijack(t, "HTTP/1.1 200 OK\r\nX-Long: ", func(c net.Conn) { _, _ = io.Copy(c, endless{}) }), "attempt"},
		"slow body":        {hijack(t, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", drip("x")), "done"},
		"body for ever":    {hijack(t, "HTTP/1.1 200 OK\r\n\r\n", func(c net.Conn) { _, _ = io.Copy(c, endless{}) }), "done"},
		"no HTTP":          {hijack(t, "canary\r\n\r\n", nil), "attempt"},
		"cut":              {hijack(t, "HTTP/1.1 20", nil), "attempt"},
		"reset": {hijack(t, "", func(c net.Conn) {
			_ = c.(*net.TCPConn).SetLinger(0)
		}), "attempt"},
		"bad location": {hijack(t, "HTTP/1.1 302 Found\r\nLocation: http://canary:%zz/\r\nContent-Length: 0\r\n\r\n", nil), "attempt"},
		"gzip bomb": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		}, "done"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, tt.answer)
			to := target(t, r.URL+"/hunter2", func(c *webhook.Config) { c.Timeout = timeout })
			start := time.Now()
			err := to.Handle(t.Context(), delivery())
			took := time.Since(start)
			if kind(err) != tt.want || took > timeout+2*time.Second {
				t.Errorf("%s (%v) after %v, want %s", kind(err), err, took, tt.want)
			}
			if name == "body for ever" && took >= timeout {
				t.Errorf("it was read for %v", took)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "canary")) {
				t.Errorf("error %q", err)
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestUnreachable(t *testing.T) {
	gone := receive(t, nil)
	gone.Close()
	wrongCertificate := serve(t, (*httptest.Server).StartTLS, nil)
	plain := receive(t, nil)
	for name, url := range map[string]string{
		"refused":     gone.URL,
		"certificate": wrongCertificate.URL,
		"no TLS":      strings.Replace(plain.URL, "http:", "https:", 1),
		"no name":     "https://no-such-name.invalid/hunter2",
	} {
		if err := target(t, url+"/?hunter2").Handle(t.Context(), delivery()); kind(err) != "unavailable" || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %s (%v)", name, kind(err), err)
		}
	}
	for _, r := range []*receiver{wrongCertificate, plain} {
		if len(r.all()) > 0 {
			t.Errorf("an event was sent to %s", r.URL)
		}
	}
}

func TestTimeoutOfTheConsumerEndsARequest(t *testing.T) {
	r := receive(t, hijack(t, "", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))
	to := target(t, r.URL, func(c *webhook.Config) { c.Timeout = time.Minute })
	// A machine that is busy may need longer to connect.
	for limit := 100 * time.Millisecond; len(r.all()) == 0; limit *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		start := time.Now()
		err := to.Handle(ctx, delivery())
		took := time.Since(start)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || took > limit+2*time.Second || kind(err) != "attempt" && len(r.all()) > 0 {
			t.Fatalf("%v after %v, of which the consumer gives it %v", err, took, limit)
		}
	}
}

func TestHTTP2AndReuse(t *testing.T) {
	opened := make(chan net.Conn, 10)
	r := serve(t, func(s *httptest.Server) {
		s.Config.ConnState = func(c net.Conn, state http.ConnState) {
			if state == http.StateNew {
				opened <- c
			}
		}
		s.StartTLS()
	}, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "thank you")
	})
	to := target(t, r.URL, func(c *webhook.Config) {
		c.RootCAs = r.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
		c.AllowInsecure = false
	})
	for range 3 {
		if err := to.Handle(t.Context(), delivery()); err != nil {
			t.Fatal(err)
		}
	}
	if proto := r.all()[2].proto; proto != "HTTP/2.0" {
		t.Errorf("%s was spoken", proto)
	}
	if n := len(opened); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// A connection that the target closed while it was idle is no failed attempt.
func TestIdleConnectionThatWasClosed(t *testing.T) {
	r := receive(t, nil)
	to := target(t, r.URL)
	for range 20 {
		if err := to.Handle(t.Context(), delivery()); err != nil {
			t.Fatal(err)
		}
		r.CloseClientConnections()
	}
}

func TestProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	proxy := receive(t, nil)
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	t.Setenv("ALL_PROXY", proxy.URL)
	err := target(t, "http://no-such-name.invalid/").Handle(t.Context(), delivery())
	if kind(err) != "unavailable" || len(proxy.all()) > 0 {
		t.Errorf("%v; the proxy had %d requests", err, len(proxy.all()))
	}
}
