package web_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redistest"
)

const gone = "\x1b[31mgone\nfor \u202egood" // a name that nobody should have to type

// leave has consumers of a group read what there is, and fall silent: those
// that hold something by holds.
func (s *site) leave(t *testing.T, group, holds, none string) {
	t.Helper()
	s.redis.Do("XGROUP", "CREATE", users, group, "0")
	s.redis.Do("XGROUP", "CREATECONSUMER", users, group, none)
	if holds != "" {
		s.redis.Do("XREADGROUP", "GROUP", group, holds, "STREAMS", users, ">")
	}
	s.redis.MoveClock(3 * time.Hour)
}

func (s *site) consumersOf(group string) (names []string) {
	for _, consumer := range s.redis.Do("XINFO", "CONSUMERS", users, group).([]any) {
		names = append(names, consumer.([]any)[1].(string))
	}
	return names
}

func TestConsumerThatIsGoneIsRemovedOnceConfirmed(t *testing.T) {
	s := openOn(t, redistest.StartWithClock(t), nil)
	for range 3 {
		s.add(t, users, userFields("u-1", "ada@example.com")...)
	}
	s.leave(t, "g", "holds", gone)
	s.redis.Do("XGROUP", "CREATECONSUMER", users, "g", "live")

	page := s.get(t, http.StatusOK, address("/group", "name", "g", "stream", users))
	if n := strings.Count(page, "Remove…</button>"); n != 1 {
		t.Errorf("%d consumers can be removed, want 1\n%s", n, page)
	}
	wants(t, page, "not removable: it holds entries", "freshet consumers prune "+users+" g --idle 2m")

	of := func(consumer string) string {
		return address("/group/consumer/remove", "stream", users, "name", "g", "consumer", consumer)
	}
	wants(t, s.post(t, http.StatusOK, of(gone)), "Remove <bdi>", "<strong>0</strong> pending entries", "3 pending at other consumers", "behind by 0.")
	wants(t, s.post(t, http.StatusConflict, of("holds"), "confirm", "remove"), "holds 3 pending entries", "freshet consumers prune")
	wants(t, s.post(t, http.StatusConflict, of("live"), "confirm", "remove"), "at work")
	s.post(t, http.StatusNotFound, of("nobody"), "confirm", "remove")
	s.post(t, http.StatusBadRequest, of(""), "confirm", "remove")
	s.post(t, http.StatusNotFound, address("/group/consumer/remove", "stream", users, "name", "none", "consumer", "c"), "confirm", "remove")
	if got := s.consumersOf("g"); len(got) != 3 {
		t.Fatalf("removed before it was confirmed: %q are left", got)
	}
	lacks(t, s.log.String(), "removed a consumer")

	page = s.post(t, http.StatusOK, of(gone), "confirm", "remove")
	wants(t, page, "The consumer was removed.")
	if got := s.consumersOf("g"); fmt.Sprint(got) != "[holds live]" {
		t.Errorf("%q are left", got)
	}
	wants(t, s.log.String(), "dashboard: removed a consumer", "role=operate", `consumer="\x1b[31mgone\nfor \u202egood"`)
	s.post(t, http.StatusNotFound, of(gone), "confirm", "remove")
}

func TestGroupIsDeletedOnceItsNameIsTyped(t *testing.T) {
	s := openOn(t, redistest.StartWithClock(t), nil)
	for range 4 {
		s.add(t, users, userFields("u-1", "ada@example.com")...)
	}
	name := "g" + gone
	s.leave(t, name, "", "c")
	s.redis.Do("XADD", "{"+users+"}:dlq:"+name, "*", "x", "y")
	path := address("/group/delete", "stream", users, "name", name)
	there := func() bool { return len(s.redis.Do("XINFO", "GROUPS", users).([]any)) == 1 }

	page := s.post(t, http.StatusOK, path)
	wants(t, page, "Delete <bdi>", "<strong>4</strong> never given", "<strong>0</strong> entries", "<strong>1</strong>; they stay", `name="typed"`, `name="unread"`)
	wants(t, s.post(t, http.StatusUnprocessableEntity, path, "confirm", "delete", "unread", "1", "typed", "g"), "what was typed is not the name", `name="typed"`)
	s.post(t, http.StatusUnprocessableEntity, path, "confirm", "delete", "unread", "1")
	// Nobody said that events may stay unread: they came after the page was made.
	wants(t, s.post(t, http.StatusConflict, path, "confirm", "delete", "typed", `g\x1b[31mgone for \u202egood`), "not as it was a moment ago")
	if !there() {
		t.Fatal("deleted before it was confirmed")
	}
	lacks(t, s.log.String(), "deleted a group")
	wants(t, s.post(t, http.StatusOK, path, "confirm", "delete", "unread", "1", "typed", ` g\x1b[31mgone for \u202egood `), "The group was deleted.", "Nobody reads this stream")
	if there() {
		t.Error("the group is still there")
	}
	if got := s.redis.Do("XLEN", users); got != int64(4) {
		t.Errorf("%v events are left of 4", got)
	}
	wants(t, s.log.String(), "dashboard: deleted a group", "role=operate", "unread=4")
	s.post(t, http.StatusNotFound, path)
	s.post(t, http.StatusNotFound, path, "confirm", "delete", "unread", "1", "typed", `g\x1b[31mgone for \u202egood`)
	s.post(t, http.StatusNotFound, address("/group/delete", "stream", "crm:none", "name", "g"))
	s.post(t, http.StatusBadRequest, address("/group/delete", "stream", users))
}

func TestGroupThatIsInUseIsNotDeleted(t *testing.T) {
	s := openOn(t, redistest.StartWithClock(t), nil)
	s.add(t, users, userFields("u-1", "ada@example.com")...)
	s.leave(t, "holds", "c", "d")
	s.redis.Do("XGROUP", "CREATE", users, "works", "$")
	s.redis.Do("XGROUP", "CREATECONSUMER", users, "works", "c")
	for name, why := range map[string]string{"holds": "cannot be deleted here while entries are pending", "works": "while consumers of it are at work"} {
		path := address("/group/delete", "stream", users, "name", name)
		page := s.post(t, http.StatusOK, path)
		wants(t, page, why)
		lacks(t, page, `name="typed"`, `name="confirm"`)
		wants(t, s.post(t, http.StatusConflict, path, "confirm", "delete", "unread", "1", "typed", name), why)
	}
	wants(t, s.post(t, http.StatusOK, address("/group/delete", "stream", users, "name", "holds")), "freshet groups delete "+users+" holds --dry-run")
	if got := s.redis.Do("XINFO", "GROUPS", users).([]any); len(got) != 2 {
		t.Errorf("%d groups are left", len(got))
	}
	lacks(t, s.log.String(), "deleted a group")
}

func TestWhoMayLookChangesNoGroup(t *testing.T) {
	s := openOn(t, redistest.StartWithClock(t), withTokens)
	s.add(t, users, userFields("u-1", "ada@example.com")...)
	s.leave(t, "g", "holds", "c")
	s.post(t, http.StatusUnauthorized, address("/group/delete", "stream", users, "name", "g"))
	s.post(t, http.StatusOK, "/login", "token", look)
	lacks(t, s.get(t, http.StatusOK, address("/group", "name", "g", "stream", users)), "Remove…", "/group/delete")
	s.post(t, http.StatusForbidden, address("/group/consumer/remove", "stream", users, "name", "g", "consumer", "c"), "confirm", "remove")
	s.post(t, http.StatusForbidden, address("/group/delete", "stream", users, "name", "g"), "confirm", "delete", "typed", "g", "unread", "1")
	if got := s.consumersOf("g"); len(got) != 2 {
		t.Errorf("%q are left", got)
	}
}
