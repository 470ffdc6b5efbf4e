package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet/freshet"
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

// What keeps a command from a server is told in words, with what mends it.
func TestConnectErrorsNameTheCause(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--requirepass", "s3cret")
	wrong := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(wrong, []byte("wr0ng"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := "redis://" + server.Addr()
	for _, test := range []struct {
		args []string
		want []string
	}{
		{[]string{"--redis", plain}, []string{"the server asks for a password, and was given none (NOAUTH)", "--redis-password-file", "redis://USER:PASSWORD@HOST"}},
		{[]string{"--redis", "redis://:wr0ng@" + server.Addr()}, []string{"WRONGPASS ", "The user or the password is wrong"}},
		{[]string{"--redis", plain, "--redis-password-file", wrong}, []string{"WRONGPASS ", "The user or the password is wrong"}},
		{[]string{"--redis", "rediss://" + server.Addr()}, []string{"tls handshake with " + server.Addr(), "redis:// instead of rediss://"}},
		{[]string{"--redis", "redis://127.0.0.1:1"}, []string{"127.0.0.1:1: connect: connection refused"}},
	} {
		t.Run(test.want[0], func(t *testing.T) {
			t.Parallel()
			_, stderr := exitsWith(t, exitUnreachable, append([]string{"dlq", "ls"}, test.args...)...)
			for _, want := range test.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("no %q in %s", want, stderr)
				}
			}
			if strings.Contains(stderr, "Name the server") || strings.Contains(stderr, "wr0ng") || strings.Contains(stderr, "HELLO") {
				t.Error(stderr)
			}
		})
	}
}

func TestServerThatNobodyNamedIsAdvisedToBeNamed(t *testing.T) {
	t.Setenv("REDIS_URL", "")
	_, err := freshet.Open(t.Context(), freshet.Config{URL: "redis://127.0.0.1:1", App: "crm"})
	if advised := (&cli{}).connectError(t.Context(), err); !strings.Contains(advised.Error(), "\nName the server with --redis or REDIS_URL") {
		t.Error(advised)
	}
}
