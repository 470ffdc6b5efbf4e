package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/web"
)

// written is what an event's page says of rows, without markup.
func (s *site) written(t *testing.T, stream, id string) string {
	t.Helper()
	page := s.get(t, http.StatusOK, address("/event", "stream", stream, "id", id))
	_, page, _ = strings.Cut(page, `id="rows"`)
	page, _, _ = strings.Cut(page, "</section>")
	return page
}

func TestEventShowsWhichRowsItWrote(t *testing.T) {
	s := open(t, nil)
	created := s.add(t, users, userFields("u-1", "ada@example.com")...)
	before := s.written(t, users, created)
	wants(t, before, "No row yet")

	deactivated := func(at string) string {
		return s.add(t, "crm:sync:user:user_deactivated", "messageId", "d-"+at, "eventType", "user_deactivated", "tenantId", "acme", "entityType", "user", "entityId", "u-1",
			"timestamp", at, "data", `{"userId":"u-1","deactivatedAt":"`+at+`","deactivatedBy":"ops"}`)
	}
	first, last := deactivated("2025-12-05T10:00:00.000Z"), deactivated("2025-12-06T10:00:00.000Z")
	s.consume(t)
	eventually(t, "all are applied", func() bool { return strings.Contains(s.written(t, users, created), "d-2025-12-06") })
	eventually(t, "the way of each is at its end", func() bool {
		return strings.Contains(s.written(t, "crm:sync:user:user_deactivated", last), "the newest of the row")
	})

	find := address("/find", "q", "d-2025-12-06T10:00:00.000Z")
	wants(t, s.written(t, users, created), "this event", "in part; the newest is", find, "2025-12-06 10:00:00 UTC", "key=u-1")
	wants(t, s.written(t, "crm:sync:user:user_deactivated", last), "this event", "the newest of the row")
	wants(t, s.written(t, "crm:sync:user:user_deactivated", first), "a newer event", "nothing of this one is left", find)

	// One that the copy does not know is newer than what the row is of.
	other := s.add(t, "crm:sync:user:unheard", "messageId", "x-1", "eventType", "user_deactivated", "tenantId", "acme", "entityType", "user", "entityId", "u-1",
		"timestamp", "2025-12-07T10:00:00.000Z", "data", `{"userId":"u-1","deactivatedAt":"2025-12-07T10:00:00.000Z"}`)
	wants(t, s.written(t, "crm:sync:user:unheard", other), "an older event", "this one was not applied")
}

func TestEventShowsWhichCreditsItWrote(t *testing.T) {
	s := open(t, nil)
	id := s.add(t, "credit-events", "eventType", "credit.allocated", "eventId", "c-1", "tenantId", "acme", "entityType", "credit", "entityId", "o-1", "timestamp", "2025-12-05T10:00:00.000Z",
		"data", `{"entityId":"o-1","entityType":"organization","amount":5,"allocationId":"al-1"}`)
	s.consume(t)
	eventually(t, "it is applied", func() bool { return strings.Contains(s.written(t, "credit-events", id), "Credit entries") })
	wants(t, s.written(t, "credit-events", id), "Credit entries", "Balances", "the newest of the row")
}

func TestEventSaysHowACopyIsGiven(t *testing.T) {
	s := open(t, func(cfg *web.Config) { cfg.Copy = nil })
	wants(t, s.written(t, users, s.add(t, users, userFields("u-1", "ada@example.com")...)), "No copy was given", "--replica sqlite://suite.db")
}
