package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/web"
)

const orgs = "crm:sync:org:org_created"

func orgFields(id, correlation string) []string {
	return []string{"messageId", id, "eventType", "org_created", "tenantId", "acme", "entityType", "organization", "entityId", "o-1",
		"metadata", fmt.Sprintf(`{"correlationId":%q}`, correlation), "data", `{"orgCode":"o-1","name":"One"}`}
}

// lands follows a search to where it leads.
func (s *site) lands(t *testing.T, query string) (path, page string) {
	t.Helper()
	reply, err := s.client.Get(s.URL + address("/find", "q", query))
	if err != nil {
		t.Fatal(err)
	}
	return reply.Request.URL.RequestURI(), body(t, reply, http.StatusOK, query)
}

func TestOneEventIsFoundAndShown(t *testing.T) {
	s := open(t, nil)
	id := s.add(t, users, userFields("u-1", "ada@example.com")...)
	s.add(t, users, userFields("u-2", "bob@example.com")...)
	time.Sleep(2 * time.Millisecond) // or it may have the same id, on another stream
	org := s.add(t, orgs, orgFields("m-org", "req-7f3a")...)
	for query, want := range map[string]string{
		id:                 address("/event", "stream", users, "id", id),
		"  " + id + " ":    address("/event", "stream", users, "id", id),
		users + "/" + id:   address("/event", "stream", users, "id", id),
		"m-u-1":            address("/event", "stream", users, "id", id),
		"m-org":            address("/event", "stream", orgs, "id", org),
		"req-7f3a":         address("/event", "stream", orgs, "id", org),
		"somewhere/" + "x": address("/find", "q", "somewhere/x"),
	} {
		path, _ := s.lands(t, query)
		if !sameAddress(path, want) {
			t.Errorf("%q leads to %s, want %s", query, path, want)
		}
	}
	// The event's page leads to all of its correlation, be it one.
	list := address("/find", "q", "req-7f3a", "list", "1")
	wants(t, s.get(t, http.StatusOK, address("/event", "stream", orgs, "id", org)), strings.ReplaceAll(list, "&", "&amp;"))
	wants(t, s.get(t, http.StatusOK, list), org, ">correlation<")
}

func sameAddress(a, b string) bool {
	pathA, queryA, _ := strings.Cut(a, "?")
	pathB, queryB, _ := strings.Cut(b, "?")
	x, y := strings.Split(queryA, "&"), strings.Split(queryB, "&")
	if pathA != pathB || len(x) != len(y) {
		return false
	}
	for _, part := range x {
		if !strings.Contains("&"+queryB+"&", "&"+part+"&") {
			return false
		}
	}
	return true
}

func TestSeveralEventsAreListed(t *testing.T) {
	s := open(t, nil)
	first := s.add(t, orgs, orgFields("req-1", "other")...) // an event's id may be the correlation of others
	second := s.add(t, orgs, orgFields("m-2", "req-1")...)
	s.redis.Do("XADD", users, first, "eventType", "user_created", "tenantId", script, "data", `{"userId":"1"}`)
	path, page := s.lands(t, "req-1")
	if !strings.HasPrefix(path, "/find?") {
		t.Fatalf("leads to %s", path)
	}
	wants(t, page, "2 events", first, second, "<td>id</td>", "<td>correlation</td>", orgs)
	_, page = s.lands(t, first) // on two streams
	wants(t, page, "2 events", ">"+orgs+"<", ">"+users+"<")
	lacks(t, page, script)
}

func TestSearchThatFindsNothingSaysHowFarItWent(t *testing.T) {
	s := open(t, nil)
	for n := range 10_050 {
		s.redis.Do("XADD", users, fmt.Sprintf("%d-0", n+1), "messageId", fmt.Sprintf("m-%d", n+1), "eventType", "user_created", "tenantId", "acme", "data", "{}")
	}
	s.add(t, orgs, orgFields("m-2", "req-1")...)
	_, page := s.lands(t, "it's-not-there")
	wants(t, page, "No event has this id", "may be an older one", "the newest 10\u202f000 entries of each", "Not looked at", ">51-0<", users,
		`freshet events get &#39;it&#39;\&#39;&#39;s-not-there&#39; --limit 1000000`, "freshet trace", "Dead letters of events that have gone")
	lacks(t, page, "no stream holds more")
	_, page = s.lands(t, "m-50") // beyond the bound
	wants(t, page, "No event has this id", ">51-0<")
	if path, _ := s.lands(t, "m-51"); !strings.HasPrefix(path, "/event?") {
		t.Errorf("the last entry that is looked at is not found: %s", path)
	}
	if path, _ := s.lands(t, "7-0"); !strings.HasPrefix(path, "/event?") { // whatever its age
		t.Errorf("an old entry is not looked up: %s", path)
	}
	_, page = s.lands(t, "77777-0")
	wants(t, page, "No event has this id", "It may have been trimmed", "freshet events get 77777-0")
	lacks(t, page, "Not looked at", "freshet trace")
}

func TestSearchThatIsNoIDIsRefused(t *testing.T) {
	s := open(t, withTokens)
	s.post(t, http.StatusOK, "/login", "token", look)
	for _, query := range []string{strings.Repeat("x", 513), "a\x00b", "a\nb", "\u202eevil", "\x1b[31m", "\xff\xfe"} {
		wants(t, s.get(t, http.StatusBadRequest, address("/find", "q", query)), "This is no id", "at most 512 bytes")
	}
	wants(t, s.get(t, http.StatusOK, "/find"), "Find an event", "Correlation")
	for _, query := range []string{script, breakr, "{{.}}", "*", "'; DROP TABLE users; --", "-", "0-0", "18446744073709551615-18446744073709551615", "/", "x/1-0"} {
		page := s.get(t, http.StatusOK, address("/find", "q", query))
		wants(t, page, "No event has this id")
		lacks(t, page, script, "<img")
	}
}

func TestSearchOfAServerThatIsGone(t *testing.T) {
	s := open(t, func(cfg *web.Config) { cfg.Repairer = nil })
	s.add(t, users, userFields("u-1", "ada@example.com")...)
	s.redis.Stop()
	defer s.redis.Cont()
	wants(t, s.get(t, http.StatusOK, address("/find", "q", "m-u-1")), "given up after two seconds", "The event may be there", "freshet events get m-u-1")
}
