package web_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestPersonalDataIsMaskedUntilRevealed(t *testing.T) {
	s := open(t, nil)
	s.consume(t)
	id := s.add(t, users, userFields("u-1", "ada@example.com")...)
	letter := s.bury(t, "1-0", "permanent", "no", userFields("u-2", "bob@example.com")...)
	eventually(t, "the row is in the copy", func() bool {
		var n int
		return s.store.DB().QueryRow("SELECT count(*) FROM users").Scan(&n) == nil && n == 1
	})
	for _, page := range []struct{ path, secret string }{
		{address("/event", "stream", users, "id", id), "ada@example.com"},
		{address("/deadletter", "stream", users, "group", group, "id", letter), "bob@example.com"},
		{address("/entities", "tenant", "acme", "table", "users"), "ada@example.com"},
		{address("/entity", "tenant", "acme", "table", "users", "key", "u-1"), "ada@example.com"},
	} {
		lacks(t, s.get(t, http.StatusOK, page.path), page.secret, "Lovelace")
		before := strings.Count(s.log.String(), "revealed")
		wants(t, s.post(t, http.StatusOK, page.path), page.secret, "Lovelace", "this was logged")
		if n := strings.Count(s.log.String(), "revealed"); n != before+1 {
			t.Errorf("%s: revealed once, logged %d times", page.path, n-before)
		}
	}
	for _, path := range []string{address("/stream", "key", users), address("/deadletters/cluster", "stream", users, "group", group)} {
		lacks(t, s.get(t, http.StatusOK, path), "ada@example.com", "bob@example.com", "Lovelace")
	}
	lacks(t, s.log.String(), "ada@example.com", "bob@example.com", "Lovelace")
}

var inputValue = regexp.MustCompile(`value="[^"]*"`)

func TestHostileTextStaysText(t *testing.T) {
	s := open(t, nil)
	long := strings.Repeat("A", 100_000)
	for _, nasty := range []string{script, breakr, "\u202etxt.exe", "\x1b[31m\x00", `{{.}}`, "'; DROP TABLE users; --", long} {
		fields := []string{"messageId", nasty, "eventType", nasty, "tenantId", nasty, "entityType", nasty, "entityId", nasty, "data", `{"userId":"` + script + `"}`, nasty, nasty}
		id := s.add(t, users, fields...)
		letter := s.bury(t, "7-1", "permanent", "no: "+nasty, fields...)
		s.redis.Do("XGROUP", "CREATE", users, nasty, "0")
		for _, path := range []string{
			"/", "/streams", "/groups", "/deadletters", "/doctor",
			address("/stream", "key", users), address("/stream", "key", users, "tenant", nasty[:min(len(nasty), 3000)], "type", nasty[:min(len(nasty), 3000)]),
			address("/event", "stream", users, "id", id),
			address("/group", "name", nasty[:min(len(nasty), 3000)], "stream", users),
			address("/deadletter", "stream", users, "group", group, "id", letter),
			address("/deadletters/cluster", "stream", users, "group", group),
			address("/stream", "key", nasty[:min(len(nasty), 3000)]), address("/entities", "tenant", nasty[:min(len(nasty), 3000)]),
		} {
			reply, err := s.client.Get(s.URL + path)
			if err != nil {
				t.Fatal(err)
			}
			page := body(t, reply, reply.StatusCode, path)
			if reply.StatusCode >= 500 {
				t.Errorf("%.60s: status %d", path, reply.StatusCode)
			}
			lacks(t, page, "<script>alert", "<img", "\x00")
			lacks(t, inputValue.ReplaceAllString(page, ""), "\u202e", "\x1b") // what a form sends back is as it was
			if len(page) > 2_000_000 {
				t.Errorf("%.60s: %d bytes", path, len(page))
			}
		}
	}
}

func TestStreamIsReadPageByPage(t *testing.T) {
	s := open(t, nil)
	begin := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC).UnixMilli()
	for n := range 120 {
		tenant := "acme"
		if n == 7 {
			tenant = "globex"
		}
		s.redis.Do("XADD", users, fmt.Sprintf("%d-0", begin+int64(n)*1000), "eventType", "user_created", "tenantId", tenant, "data", `{"userId":"1"}`)
	}
	id := func(n int) string { return fmt.Sprintf(">%d-0</a>", begin+int64(n)*1000) }
	newest := s.get(t, http.StatusOK, address("/stream", "key", users))
	wants(t, newest, id(119), id(70), "Older")
	lacks(t, newest, id(69), "← Newer")
	older := s.get(t, http.StatusOK, address("/stream", "key", users, "before", fmt.Sprintf("%d-0", begin+70_000)))
	wants(t, older, id(69), id(20), "Older", "← Newer")
	lacks(t, older, id(70), id(19))
	last := s.get(t, http.StatusOK, address("/stream", "key", users, "before", fmt.Sprintf("%d-0", begin+20_000)))
	wants(t, last, id(19), id(0))
	lacks(t, last, "Older")
	back := s.get(t, http.StatusOK, address("/stream", "key", users, "after", fmt.Sprintf("%d-0", begin+19_000)))
	wants(t, back, id(20), id(69))
	lacks(t, back, id(19), id(70))
	wants(t, s.get(t, http.StatusOK, address("/stream", "key", users, "at", "2026-01-02T03:01")), id(60), id(109))
	only := s.get(t, http.StatusOK, address("/stream", "key", users, "tenant", "globex"))
	wants(t, only, id(7))
	lacks(t, only, id(8), id(119))
	s.get(t, http.StatusBadRequest, address("/stream", "key", users, "at", "yesterday"))
	s.get(t, http.StatusBadRequest, address("/stream", "key", users, "before", "x"))
	s.get(t, http.StatusNotFound, address("/event", "stream", users, "id", "5-5"))
}

func TestEventShowsItsWay(t *testing.T) {
	s := open(t, nil)
	id := s.add(t, users, userFields("u-1", "ada@example.com")...)
	for _, name := range []string{"waits", "holds", "done", "failed"} {
		s.redis.Do("XGROUP", "CREATE", users, name, "0")
		if name != "waits" {
			s.redis.Do("XREADGROUP", "GROUP", name, "c-1", "STREAMS", users, ">")
		}
	}
	s.redis.Do("XACK", users, "done", id)
	s.redis.Do("XACK", users, "failed", id)
	s.add(t, "{"+users+"}:dlq:failed", append(userFields("u-1", "ada@example.com"), "freshet-stream", users, "freshet-id", id, "freshet-group", "failed",
		"freshet-consumer", "c-9", "freshet-attempts", "8", "freshet-reason", "permanent", "freshet-error", "no", "freshet-first-failed", "", "freshet-last-failed", "")...)
	page := s.get(t, http.StatusOK, address("/event", "stream", users, "id", id))
	rows := strings.Split(page[strings.Index(page, `id="way"`):], "<tr>")
	for name, state := range map[string]string{"waits": ">unread<", "holds": ">pending<", "done": ">settled<", "failed": ">dead letter<"} {
		found := false
		for _, row := range rows {
			found = found || strings.Contains(row, "<bdi>"+name+"</bdi>") && strings.Contains(row, state)
		}
		if !found {
			t.Errorf("group %s is not %s in\n%s", name, state, page)
		}
	}
}

func TestServerThatIsGoneIsSaid(t *testing.T) {
	s := open(t, nil)
	id := s.add(t, users, userFields("u-1", "ada@example.com")...)
	s.get(t, http.StatusOK, "/streams")
	s.redis.Stop()
	defer s.redis.Cont()
	begin := time.Now()
	page := s.get(t, http.StatusGatewayTimeout, address("/event", "stream", users, "id", id))
	wants(t, page, "did not answer within 2s", "Try again")
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	wants(t, s.get(t, http.StatusOK, "/streams"), users) // what was last seen
}

func TestEmptyBus(t *testing.T) {
	s := open(t, nil)
	for path, says := range map[string]string{
		"/streams": "No stream of the suite exists yet", "/groups": "No group reads", "/deadletters": "No dead letters",
		"/entities": "The copy is empty", "/doctor": "What is looked at", "/": "Overview", "/jobs": "None yet",
	} {
		wants(t, s.get(t, http.StatusOK, path), says)
	}
}
