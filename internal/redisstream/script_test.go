package redisstream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
)

// A server that has not seen a script gets its text once, however many streams
// it is run for, and each run has its effect once.
func TestScriptTextIsSentOnce(t *testing.T) {
	c, server := start(t)
	var streams []string
	for i := range 50 {
		streams = append(streams, fmt.Sprintf("crm:sync:user:%d", i))
	}
	for range 2 {
		server.Do("SCRIPT", "FLUSH")
		server.Do("CONFIG", "RESETSTAT")
		groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Explicit: streams})
		g := groupOf(t, c, redisstream.GroupConfig{Consumer: "b", Explicit: streams})
		for _, s := range streams {
			if at, ok := server.Do("HGET", "{"+s+"}:state:g", "at").(string); !ok || at != "0-0" {
				t.Fatalf("%s was not looked at: %q", s, at)
			}
		}
		if n, err := g.Prune(t.Context(), -time.Second); n != len(streams) || err != nil {
			t.Errorf("%d consumers were removed, want %d: %v", n, len(streams), err)
		}
		if n := calls(server, "eval"); n != 2 {
			t.Errorf("%d texts were sent, want one of each script", n)
		}
	}
}
