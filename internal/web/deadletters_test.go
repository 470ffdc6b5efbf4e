package web_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

var inCluster = regexp.MustCompile(`/deadletters/cluster\?[^"]*cluster=([0-9a-f]+)[^"]*">([^<]*)`)

// clusters returns the keys of clusters by the beginning of their errors.
func (s *site) clusters(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, m := range inCluster.FindAllStringSubmatch(s.get(t, http.StatusOK, "/deadletters"), -1) {
		found[strings.Fields(m[2])[0]] = m[1]
	}
	return found
}

func (s *site) dead() int64    { return s.redis.Do("XLEN", "{"+users+"}:dlq:"+group).(int64) }
func (s *site) retried() int64 { return s.redis.Do("XLEN", "{"+users+"}:retry:"+group).(int64) }

// jobEnds waits until the newest job has ended and returns its page.
func (s *site) jobEnds(t *testing.T) (page string) {
	t.Helper()
	list := s.get(t, http.StatusOK, "/jobs")
	path := regexp.MustCompile(`/job\?id=\w+`).FindString(list)
	eventually(t, "the job has ended", func() bool {
		page = s.get(t, http.StatusOK, path)
		return !strings.Contains(page, ">running<")
	})
	return page
}

func TestClusterIsRedrivenAsAWhole(t *testing.T) {
	s := open(t, nil)
	for n := range 120 {
		s.bury(t, fmt.Sprintf("%d-0", n+1), "max_attempts", fmt.Sprintf("down: user %d", n), userFields(fmt.Sprintf("u-%d", n), "a@example.com")...)
	}
	s.bury(t, "500-0", "permanent", "wrong: no", userFields("u-x", "a@example.com")...)
	s.bury(t, "501-0", "max_attempts", "down: user 501", "eventType", "user_created", "tenantId", "acme", "data", "{")
	clusters := s.clusters(t)
	page := s.get(t, http.StatusOK, address("/deadletters/cluster", "stream", users, "group", group, "cluster", clusters["down:"]))
	if n := strings.Count(page, `name="id"`); n != 50 {
		t.Errorf("%d dead letters on a page", n)
	}
	s.post(t, http.StatusBadRequest, "/deadletters/redrive", "stream", users, "group", group, "cluster", clusters["down:"], "all", "1", "rate", "-1")
	s.post(t, http.StatusOK, "/deadletters/redrive", "stream", users, "group", group, "cluster", clusters["down:"], "all", "1")
	wants(t, s.jobEnds(t), ">done<", "120 of 120", "do not decode")
	if s.dead() != 2 || s.retried() != 120 {
		t.Errorf("%d dead letters left, %d redriven", s.dead(), s.retried())
	}
	wants(t, s.log.String(), "redrive of dead letters")
}

func TestRedriveKeepsItsRateAndIsCancelled(t *testing.T) {
	s := open(t, nil)
	for n := range 50 {
		s.bury(t, fmt.Sprintf("%d-0", n+1), "max_attempts", "down", userFields(fmt.Sprintf("u-%d", n), "a@example.com")...)
	}
	form := []string{"stream", users, "group", group, "all", "1", "rate", "2"}
	s.post(t, http.StatusOK, "/deadletters/redrive", form...)
	list := s.get(t, http.StatusOK, "/jobs")
	id := regexp.MustCompile(`/job\?id=(\w+)`).FindStringSubmatch(list)[1]
	s.post(t, http.StatusConflict, "/deadletters/redrive", form...) // one at a time
	eventually(t, "it has begun", func() bool { return s.retried() > 0 })
	s.post(t, http.StatusOK, "/job/cancel", "id", id)
	wants(t, s.jobEnds(t), ">cancelled<")
	if s.dead() == 0 || s.dead()+s.retried() != 50 {
		t.Errorf("%d dead letters left, %d redriven of 50", s.dead(), s.retried())
	}
}

func TestChosenDeadLettersAreDroppedOnceConfirmed(t *testing.T) {
	s := open(t, nil)
	var ids []string
	for n := range 3 {
		ids = append(ids, s.bury(t, fmt.Sprintf("%d-0", n+1), "permanent", "no", userFields("u", "a@example.com")...))
	}
	form := []string{"stream", users, "group", group, "id", ids[0], "id", ids[2]}
	wants(t, s.post(t, http.StatusOK, "/deadletters/drop", form...), "Delete for good?", "2 dead letters")
	if s.dead() != 3 {
		t.Fatal("dropped before it was confirmed")
	}
	s.post(t, http.StatusOK, "/deadletters/drop", append(form, "confirm", "drop")...)
	wants(t, s.jobEnds(t), ">done<", "Dropped")
	if s.dead() != 1 {
		t.Errorf("%d are left", s.dead())
	}
	s.get(t, http.StatusNotFound, address("/deadletter", "stream", users, "group", group, "id", ids[0]))
}

func TestDeadLetterIsEditedAndRedriven(t *testing.T) {
	s := open(t, nil)
	entry := s.add(t, users, "eventType", "user_created", "tenantId", "acme", "data", "{\n\"userId\":\"u-9\",\"email\":7}")
	fields := userFields("u-9", "ada@example.com")
	fields[len(fields)-1] = "{not json"
	letter := []string{"stream", users, "group", group, "id", s.bury(t, entry, "bad_json", "data: bad_json", append(fields, "note", "a\nb")...)}

	page := s.post(t, http.StatusOK, "/deadletter/edit", letter...)
	wants(t, page, "{not json", `name="field-7"`)
	// As a browser sends them: with line ends of its own.
	form := append(letter, "save", "1", "field-8", "a\r\nb")
	wants(t, s.post(t, http.StatusUnprocessableEntity, "/deadletter/edit", form...), "Nothing was changed")
	wants(t, s.post(t, http.StatusUnprocessableEntity, "/deadletter/edit", append(form, "field-7", "{also none")...), "no event that a consumer can read", "bad_json")
	if s.dead() != 1 || s.retried() != 0 {
		t.Fatal("redriven though it does not decode")
	}
	good := userFields("u-9", "ada@example.com")[15]
	wants(t, s.post(t, http.StatusOK, "/deadletter/edit", append(form, "field-7", good)...), "was given to its group once more")
	if s.dead() != 0 || s.retried() != 1 {
		t.Errorf("%d dead letters left, %d redriven", s.dead(), s.retried())
	}
	log := s.log.String()
	wants(t, log, "edited and redrove a dead letter", "fields=[data]", "entry="+entry)
	lacks(t, log, "ada@example.com", "not json")

	s.consume(t)
	eventually(t, "the row is in the copy", func() bool {
		var email string
		return s.store.DB().QueryRow("SELECT email FROM users WHERE user_id = 'u-9'").Scan(&email) == nil && email == "ada@example.com"
	})
}
