package web_test

import (
	"fmt"
	"net/http"
	"testing"
)

func TestPendingEntriesAreReadPageByPage(t *testing.T) {
	s := open(t, nil)
	for n := range 60 {
		s.redis.Do("XADD", users, fmt.Sprintf("%d-0", 1000+n), "eventType", "user_created", "tenantId", "acme", "data", `{"userId":"1"}`)
	}
	s.redis.Do("XGROUP", "CREATE", users, "g", "0")
	s.redis.Do("XREADGROUP", "GROUP", "g", "one", "COUNT", "55", "STREAMS", users, ">")
	s.redis.Do("XREADGROUP", "GROUP", "g", "two", "COUNT", "5", "STREAMS", users, ">")
	page := s.get(t, http.StatusOK, address("/group", "name", "g", "stream", users))
	wants(t, page, ">1000-0<", ">1049-0<", "<bdi>one</bdi>", "<bdi>two</bdi>", "after=1049-0")
	lacks(t, page, ">1050-0<")
	wants(t, s.get(t, http.StatusOK, address("/group", "name", "g", "stream", users, "after", "1049-0")), ">1050-0<", ">1059-0<")
	two := s.get(t, http.StatusOK, address("/group", "name", "g", "stream", users, "consumer", "two"))
	wants(t, two, ">1055-0<")
	lacks(t, two, ">1054-0<")
	s.get(t, http.StatusNotFound, address("/group", "name", "none", "stream", users))
}

func TestGroupIsRewoundOnceConfirmed(t *testing.T) {
	s := open(t, nil)
	for n := range 10 {
		s.redis.Do("XADD", users, fmt.Sprintf("%d-0", 1000+n), "eventType", "user_created", "tenantId", "acme", "data", `{"userId":"1"}`)
	}
	s.redis.Do("XGROUP", "CREATE", users, "g", "1009-0")
	form := []string{"stream", users, "name", "g", "to", "1003-0"}
	wants(t, s.post(t, http.StatusOK, "/group/rewind", form...), "<strong>7</strong> events", ">1003-0</a>")
	s.post(t, http.StatusBadRequest, "/group/rewind", "stream", users, "name", "g", "to", "5000-0")
	s.post(t, http.StatusBadRequest, "/group/rewind", "stream", users, "name", "g", "to", "long ago")
	read := func() any { return s.redis.Do("XREADGROUP", "GROUP", "g", "one", "STREAMS", users, ">") }
	if got := read(); got != nil {
		t.Fatalf("moved before it was confirmed: %v", got)
	}
	wants(t, s.post(t, http.StatusOK, "/group/rewind", append(form, "confirm", "rewind")...), "Delivered up to")
	got := read().([]any)[0].([]any)[1].([]any)
	if len(got) != 7 || got[0].([]any)[0] != "1003-0" {
		t.Errorf("%d entries are delivered again: %v", len(got), got)
	}
	wants(t, s.log.String(), "moved a group back", "to=1003-0")
}
