package telemetry_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/telemetry"
)

func ask(h http.Handler, token string) (int, string) {
	r := httptest.NewRequest("GET", "/", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestReadySaysWhyNot(t *testing.T) {
	var fault error
	const token = telemetry.Token("0123456789abcdef")
	ready := telemetry.Ready(func() error { return fault }, token.Allowed)
	if code, body := ask(ready, ""); code != http.StatusOK || !strings.Contains(body, `"ready":true`) {
		t.Errorf("ready: %d %s", code, body)
	}
	fault = errors.New("reading fails")
	if code, body := ask(ready, string(token)); code != http.StatusServiceUnavailable || !strings.Contains(body, `"reason":"reading fails"`) {
		t.Errorf("not ready: %d %s", code, body)
	}
	if code, body := ask(ready, ""); code != http.StatusServiceUnavailable || strings.Contains(body, "reading") {
		t.Errorf("not ready, asked by a stranger: %d %s", code, body)
	}
	if code, _ := ask(telemetry.Live(), ""); code != http.StatusOK {
		t.Errorf("live: %d", code)
	}
}

func TestTokenIsRequired(t *testing.T) {
	const token = telemetry.Token("0123456789abcdef")
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "page") })
	for given, want := range map[string]int{"": 401, "0123456789abcdeX": 401, "0123": 401, string(token): 200} {
		if code, _ := ask(token.Require(page), given); code != want {
			t.Errorf("token %q: %d, want %d", given, code, want)
		}
	}
	if code, _ := ask(telemetry.Token("").Require(page), ""); code != 200 {
		t.Errorf("without a token to present: %d", code)
	}
}

// TestServeEnds: a request that never ends does not keep the server from its
// own end.
func TestServeEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{})
	stop := telemetry.Serve(l, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	}), slog.New(slog.DiscardHandler))
	go func() {
		if response, err := http.Get("http://" + l.Addr().String()); err == nil {
			response.Body.Close()
		}
	}()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	stop(ctx)
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("still listens")
	}
}
