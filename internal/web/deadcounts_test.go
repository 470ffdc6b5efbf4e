package web_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var scanned = regexp.MustCompile(`cmdstat_scan:calls=(\d+)`)

// scans is how often the server was asked for its keys.
func (s *site) scans(t *testing.T) int {
	t.Helper()
	found := scanned.FindStringSubmatch(s.redis.Do("INFO", "commandstats").(string))
	if found == nil {
		return 0
	}
	n, err := strconv.Atoi(found[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDeadLettersAreCountedOnceForAll(t *testing.T) {
	s := open(t, nil)
	s.bury(t, "1-0", "permanent", "no", userFields("u-1", "ada@example.com")...)
	before := s.scans(t)
	s.get(t, http.StatusOK, "/deadletters")
	each := s.scans(t) - before
	if each == 0 {
		t.Fatal("no look at the keys was counted")
	}
	begin := time.Now()
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for range 15 {
				s.get(t, http.StatusOK, "/deadletters")
			}
		})
	}
	readers.Wait()
	looks := (s.scans(t) - before) / each
	if most := 2 + int(time.Since(begin)/(2*time.Second)); looks > most {
		t.Errorf("61 pages within %s cost %d looks at all keys, want at most %d", time.Since(begin), looks, most)
	}
}

func TestDeadLettersAreCountedAnewAfterAChange(t *testing.T) {
	s := open(t, nil)
	for n := range 3 {
		s.bury(t, fmt.Sprintf("%d-0", n+1), "permanent", "no", userFields("u-1", "ada@example.com")...)
	}
	total := func(n int) string { return fmt.Sprintf(`<h1>Dead letters</h1><span class="muted">%d</span>`, n) }
	wants(t, s.get(t, http.StatusOK, "/deadletters"), total(3))
	s.post(t, http.StatusOK, "/deadletters/drop", "stream", users, "group", group, "all", "1", "confirm", "drop")
	s.jobEnds(t)
	if page := s.get(t, http.StatusOK, "/deadletters"); !strings.Contains(page, total(0)) {
		t.Errorf("the dead letters are counted as before they were dropped:\n%s", page)
	}
}
