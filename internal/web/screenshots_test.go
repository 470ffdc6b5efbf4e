//go:build screenshots

package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/fake"
	"github.com/freshet/freshet/internal/web"
)

// TestScreenshots takes the pictures of the documentation, into the directory
// that SCREENSHOTS names.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("SCREENSHOTS")
	if dir == "" {
		t.Fatal("SCREENSHOTS must name a directory")
	}
	s := open(t, func(cfg *web.Config) { cfg.Server = "redis://redis:6379" }, "--appendonly", "yes")
	s.consume(t)
	ctx := tab(t, startBrowser(t))
	s.tell(t)
	cluster := s.clusters(t)["save"]
	for _, shot := range []struct {
		name, path    string
		width, height int64
		dark          bool
	}{
		{"overview", "/", 1280, 860, false},
		{"stream", address("/stream", "key", users), 1280, 860, true},
		{"event", s.anEvent(t), 1280, 860, false},
		{"dead-letters", address("/deadletters/cluster", "stream", users, "group", group, "cluster", cluster), 1280, 860, false},
	} {
		scheme := "light"
		if shot.dark {
			scheme = "dark"
		}
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		if err != nil {
			t.Fatal(err)
		}
		do(t, ctx, chromedp.EmulateViewport(shot.width, shot.height), chromedp.Navigate(s.URL+shot.path))
		if strings.HasPrefix(shot.path, "/stream?") {
			see(t, ctx, "#live-state.on", "live")
		}
		picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, shot.name+".png"), picture, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tell fills the bus with a story, and has parts of it go wrong.
func (s *site) tell(t *testing.T) {
	t.Helper()
	bus, err := freshet.Open(t.Context(), freshet.Config{URL: s.redis.URL(), App: "wrapper-api"})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	suite := fake.New(7, []string{"acme", "globex", "initech"})
	s.redis.Do("XGROUP", "CREATE", users, "billing-sync", "0", "MKSTREAM")
	publish := func(n int, pause time.Duration) {
		for range n {
			if _, err := bus.PublishMessage(context.Background(), suite.Next()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(pause)
		}
	}
	publish(300, 0)
	s.redis.Do("XREADGROUP", "GROUP", "billing-sync", "billing-7c9f4d", "COUNT", "14", "STREAMS", users, ">")
	begin := time.Now().UTC().Add(-2 * time.Hour)
	for n := range 96 {
		reason, problem := "max_attempts", fmt.Sprintf("save user %d: dial tcp 10.0.0.4:5432: connect: connection refused", n)
		switch {
		case n%8 == 5:
			reason, problem = "permanent", "replica: user_created: data.email: must be text"
		case n%8 == 6:
			problem = fmt.Sprintf("POST https://crm.internal/users/%d: 503 Service Unavailable", n)
		}
		data, _ := json.Marshal(map[string]any{"userId": fmt.Sprintf("u-%d", n), "email": "ada@example.com", "name": "Ada Lovelace", "createdAt": begin})
		at := begin.Add(time.Duration(n) * time.Minute).Format("2006-01-02T15:04:05.000Z")
		s.add(t, "{"+users+"}:dlq:"+group, "messageId", fmt.Sprintf("m-%d", n), "eventType", "user_created", "tenantId", []string{"acme", "globex"}[n%2],
			"entityType", "user", "entityId", fmt.Sprintf("u-%d", n), "data", string(data), "freshet-stream", users, "freshet-id", fmt.Sprintf("%d-0", begin.UnixMilli()+int64(n)),
			"freshet-group", group, "freshet-consumer", "crm-1", "freshet-attempts", "8", "freshet-reason", reason, "freshet-error", problem, "freshet-first-failed", at, "freshet-last-failed", at)
	}
	publish(200, 100*time.Millisecond) // long enough for lines to be drawn
	eventually(t, "the overview has lines", func() bool { return strings.Contains(s.get(t, http.StatusOK, "/"), "<polyline") })
}

func (s *site) anEvent(t *testing.T) string {
	t.Helper()
	reply := s.redis.Do("XREVRANGE", users, "+", "-", "COUNT", "1").([]any)
	return address("/event", "stream", users, "id", reply[0].([]any)[0].(string))
}
