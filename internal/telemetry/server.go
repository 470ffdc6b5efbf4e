package telemetry

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// Token is what a caller must present as "Authorization: Bearer TOKEN". The
// empty token lets everybody in.
type Token string

// Allowed tells whether a request presents the token.
func (t Token) Allowed(r *http.Request) bool {
	if t == "" {
		return true
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	want, have := sha256.Sum256([]byte(t)), sha256.Sum256([]byte(given))
	return ok && subtle.ConstantTimeCompare(want[:], have[:]) == 1
}

// Require answers 401 to requests that do not present the token.
func (t Token) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !t.Allowed(r) {
			w.Header().Set("WWW-Authenticate", "Bearer")
			answer(w, http.StatusUnauthorized, map[string]any{"error": "present the token: Authorization: Bearer TOKEN"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Serve answers requests on l until the returned function is called, which
// waits for those that run until its context ends.
func Serve(l net.Listener, handler http.Handler, log *slog.Logger) (stop func(context.Context)) {
	// Without a WriteTimeout: a page may be a stream that goes on.
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("the HTTP server has ended", "error", err)
		}
	}()
	return func(ctx context.Context) {
		if err := server.Shutdown(ctx); err != nil {
			_ = server.Close() // which ends what still runs
		}
		<-ended
	}
}
