package main

import (
	"strings"
	"testing"

	"github.com/freshet/freshet/internal/redistest"
)

// What is given with nothing, as by a variable of the shell that is not set, is
// not taken for what is left out.
func TestEmptyFlagsAreRefused(t *testing.T) {
	t.Setenv("REDIS_URL", redistest.Start(t).URL())
	for _, args := range [][]string{
		{"dlq", "ls", "--redis", ""},
		{"dlq", "drop", "--yes", "--tenant", ""},
		{"dlq", "drop", "--yes", "--tenant", "acme", "--entity", ""},
		{"dlq", "redrive", "--all-matching", "--jq", ""},
		{"trim", "--older-than", "30d", "--streams", ""},
		{"trim", "--older-than", "30d", "--streams", "credit-events,"},
		{"groups", "--group", ""},
		{"events", "get", "1-0", "--stream", ""},
		{"tail", "--exit-at-end", "--tenant="},
		{"replay", "--since", "1h", "--group", ""},
		{"consumers", "prune", "credit-events", "g", "--to", ""},
		{"run", "--replica", "sqlite://suite.db", "--tenants", ""},
		{"run", "--replica", "sqlite://suite.db", "-c", ""},
	} {
		_, stderr := exitsWith(t, exitUsage, args...)
		if !strings.Contains(stderr, " is empty: give it a value, or leave it out") {
			t.Errorf("%q: %s", args, stderr)
		}
	}
	if _, stderr := exitsWith(t, exitUsage, "dlq", "ls", "--reason", "r", "--redis", ""); !strings.HasPrefix(stderr, "freshet: --redis is empty") {
		t.Error(stderr)
	}
}
