package web_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestNothingIsLookedAtUnasked: a page that shows the whole bus has it looked
// at; a dashboard that nobody opens costs the server nothing.
func TestNothingIsLookedAtUnasked(t *testing.T) {
	s := open(t, nil)
	s.add(t, users, userFields("u-1", "ada@example.com")...)
	s.redis.Do("CONFIG", "RESETSTAT")
	looked := func() bool {
		return strings.Contains(fmt.Sprint(s.redis.Do("INFO", "commandstats")), "cmdstat_xinfo")
	}
	for _, path := range []string{"/entities", "/login"} {
		response, err := s.client.Get(s.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
	}
	if looked() {
		t.Error("the bus was looked at before a page asked")
	}
	response, err := s.client.Get(s.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if !looked() {
		t.Error("the overview was shown without a look")
	}
}
