package web_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
)

// follow opens a live tail and returns its lines as they come.
func (s *site) follow(t *testing.T, ctx context.Context, path string) (status int, lines <-chan string) {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.followRequest(t, request)
}

func (s *site) followRequest(t *testing.T, request *http.Request) (status int, lines <-chan string) {
	t.Helper()
	reply, err := s.client.Do(request) //nolint:bodyclose // closed by the goroutine below
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan string, 1000)
	go func() {
		defer close(out)
		defer reply.Body.Close()
		for scanner := bufio.NewScanner(reply.Body); scanner.Scan(); {
			out <- scanner.Text()
		}
	}()
	return reply.StatusCode, out
}

func TestLiveTailsAreBounded(t *testing.T) {
	s := open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all []<-chan string
	for range 20 {
		status, lines := s.follow(t, ctx, address("/live", "stream", users))
		if status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		all = append(all, lines)
	}
	if status, lines := s.follow(t, ctx, address("/live", "stream", users)); status != http.StatusServiceUnavailable {
		t.Errorf("one too many: status %d", status)
	} else {
		for range lines {
		}
	}
	cancel()
	for _, lines := range all {
		for range lines {
		}
	}
	eventually(t, "there is room again", func() bool {
		ctx, cancel := context.WithCancel(t.Context())
		status, lines := s.follow(t, ctx, address("/live", "stream", users))
		cancel()
		for range lines {
		}
		return status == http.StatusOK
	})
}

func TestBusyStreamIsSampled(t *testing.T) {
	s := open(t, nil)
	s.add(t, users, userFields("first", "ada@example.com")...)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, lines := s.follow(t, ctx, address("/live", "stream", users))
	// Until the tail is there to see it.
	seen := ""
	eventually(t, "entries are shown", func() bool {
		for n := range 100 {
			s.add(t, users, userFields(strings.Repeat("u", n%7+1), "ada@example.com")...)
		}
		for len(lines) > 0 {
			seen += <-lines + "\n"
		}
		return strings.Contains(seen, `"skipped":`) && !strings.HasSuffix(seen, `"skipped":0}`+"\n\n")
	})
	lacks(t, seen, "ada@example.com")
	cancel()
	for range lines {
	}
}

func TestLiveTailGoesOnWhereTheReaderWas(t *testing.T) {
	s := open(t, nil)
	publish := func(user string) string { return s.add(t, users, userFields(user, "ada@example.com")...) }
	shown := publish("shown")
	missed := publish("missed")
	waits := func(lines <-chan string, text string) (before string) {
		for line := range lines {
			if before += line + "\n"; strings.Contains(line, text) {
				return before
			}
		}
		t.Fatalf("the tail ended without %s:\n%s", text, before)
		return ""
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, lines := s.follow(t, ctx, address("/live", "stream", users, "after", shown))
	seen := waits(lines, missed)
	wants(t, seen, "id: "+missed)
	lacks(t, seen, shown)

	newest := publish("newest")
	request, _ := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+address("/live", "stream", users, "after", shown), nil)
	request.Header.Set("Last-Event-ID", missed)
	_, lines = s.followRequest(t, request)
	seen = waits(lines, newest)
	lacks(t, seen, missed)

	for range 500 { // more than is gone back for
		publish("many")
	}
	_, lines = s.follow(t, ctx, address("/live", "stream", users, "after", newest))
	seen = ""
	eventually(t, "what comes is shown", func() bool {
		publish("last")
		for len(lines) > 0 {
			seen += <-lines + "\n"
		}
		return strings.Contains(seen, "user/last")
	})
	lacks(t, seen, "user/many")
	wants(t, seen, `"skipped":500`)

	_, lines = s.follow(t, ctx, address("/live", "stream", orgs, "after", "0-0"))
	waits(lines, s.add(t, orgs, orgFields("m-1", "req-1")...))
	if status, _ := s.follow(t, ctx, address("/live", "stream", users, "after", "$")); status != http.StatusBadRequest {
		t.Errorf("no id: status %d", status)
	}
}
