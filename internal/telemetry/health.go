package telemetry

import (
	"encoding/json"
	"net/http"
)

// Live answers that the process serves requests; more would have a process
// restarted for what a restart does not mend.
func Live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"live": true})
	})
}

// Ready answers 200 while ready returns nil, and 503 with the reason
// otherwise. Who is not allowed to see more is told the status alone.
func Ready(ready func() error, allowed func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, body := http.StatusOK, map[string]any{"ready": true}
		if err := ready(); err != nil {
			status, body = http.StatusServiceUnavailable, map[string]any{"ready": false}
			if allowed(r) {
				body["reason"] = err.Error()
			}
		}
		answer(w, status, body)
	})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the caller has gone
}
