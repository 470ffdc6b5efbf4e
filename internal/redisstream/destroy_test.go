package redisstream_test

import (
	"slices"
	"testing"

	"github.com/freshet/freshet/internal/redisstream"
)

func TestDestroyGroupLeavesNothingOfIt(t *testing.T) {
	c, server := start(t)
	added := add(t, c, s1, 3)
	g := group(t, c, "a")
	read(t, g, 10)
	if _, err := c.Setting(t.Context(), "g", "tenants", "*", false); err != nil {
		t.Fatal(err)
	}
	server.Do("XADD", redisstream.DeadLetterKey(s1, "g"), "*", "a", "b")
	server.Do("XADD", redisstream.RetryKey(s1, "g"), "*", "a", "b")
	server.Do("XGROUP", "CREATE", s1, "another", "0")
	server.Do("SET", "crm:no-stream", "x")

	if err := c.DestroyGroup(t.Context(), "g", []string{s1, "crm:*", "not:there"}); err != nil {
		t.Fatal(err)
	}
	groups := server.Do("XINFO", "GROUPS", s1).([]any)
	if len(groups) != 1 || groups[0].([]any)[1] != "another" {
		t.Errorf("groups of %s: %v, want another alone", s1, groups)
	}
	if groups := server.Do("XINFO", "GROUPS", s2).([]any); len(groups) != 0 {
		t.Errorf("groups of %s: %v", s2, groups)
	}
	if n := server.Do("XLEN", s1); n != int64(len(added)) {
		t.Errorf("%s has %v entries, want %d", s1, n, len(added))
	}
	var keys []string
	for _, key := range server.Do("KEYS", "*").([]any) {
		keys = append(keys, key.(string))
	}
	slices.Sort(keys)
	if want := []string{"crm:no-stream", s1, s2}; !slices.Equal(keys, want) {
		t.Errorf("keys %q, want %q", keys, want)
	}
}
