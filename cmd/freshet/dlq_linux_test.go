package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/redistest"
)

func TestRedriveOnATerminal(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("REDIS_URL", server.URL())
	for i := range 300 {
		putLetter(t, server, fmt.Sprintf("%d-0", i+1), "g", "r", "e", "eventType", "user_created", "tenantId", "acme", "data", `{"userId":"u"}`)
	}
	got := onTerminal(t, "", "dlq", "redrive", "--all-matching")
	if !strings.Contains(got, "redriving") || !strings.Contains(got, "300      300       0") {
		t.Errorf("no progress, or no counts:\n%s", got)
	}
}
