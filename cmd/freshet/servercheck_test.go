package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/freshet/freshet/internal/redistest"
)

// drainOnce runs a drain to its end.
func drainOnce(t *testing.T, url string, more ...string) (code int, log string) {
	t.Helper()
	p := start(t, nil, append([]string{"run", "--redis", url, "--replica", "sqlite://" + filepath.Join(t.TempDir(), "suite.db"), "--drain"}, more...)...)
	code = p.exit(t)
	return code, p.stderr.String()
}

func TestRunRefusesAServerThatLosesData(t *testing.T) {
	server := redistest.Start(t)
	server.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-random")
	eviction, disk := " CONFIG SET maxmemory-policy noeviction'", " CONFIG SET appendonly yes'"
	refused := func(log string, more ...string) {
		t.Helper()
		code, got := drainOnce(t, server.URL(), more...)
		if code != exitFailure || strings.Contains(got, eviction) != strings.Contains(log, "eviction") || strings.Contains(got, disk) != strings.Contains(log, "disk") {
			t.Errorf("%q: exit %d\n%s", more, code, got)
		}
	}
	runs := func(more ...string) (log string) {
		t.Helper()
		code, log := drainOnce(t, server.URL(), more...)
		if code != exitOK {
			t.Errorf("%q: exit %d\n%s", more, code, log)
		}
		return log
	}
	refused("eviction and disk")
	refused("disk", "--allow-eviction")
	refused("eviction", "--allow-no-persistence")
	if log := runs("--allow-eviction", "--allow-no-persistence"); !strings.Contains(log, `"level":"WARN","msg":"started all the same: the server writes nothing to disk`) {
		t.Errorf("log:\n%s", log)
	}
	if groups := server.Do("KEYS", "*"); len(groups.([]any)) == 0 {
		t.Error("the run that was allowed has made no streams")
	}
	server.Do("CONFIG", "SET", "maxmemory-policy", "noeviction")
	refused("disk")
	server.Do("CONFIG", "SET", "save", "3600 1")
	if log := runs(); !strings.Contains(log, "no append-only file") {
		t.Errorf("with snapshots alone, no warning:\n%s", log)
	}
	server.Do("CONFIG", "SET", "appendonly", "yes")
	if log := runs(); strings.Contains(log, "WARN") {
		t.Errorf("a warning of a good server:\n%s", log)
	}
}

func TestRunWarnsOfAServerThatDoesNotTell(t *testing.T) {
	server := redistest.Start(t)
	server.Do("ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-config")
	url := "redis://app:secret@" + server.Addr()
	if code, log := drainOnce(t, url); code != exitOK || !strings.Contains(log, "does not tell whether it writes to disk") {
		t.Errorf("exit %d\n%s", code, log)
	}
	server.Do("ACL", "SETUSER", "app", "-info")
	if code, log := drainOnce(t, url); code != exitOK || !strings.Contains(log, "does not tell its maxmemory-policy") {
		t.Errorf("exit %d\n%s", code, log)
	}
	if code, log := drainOnce(t, url, "--allow-eviction", "--allow-no-persistence"); code != exitOK || strings.Contains(log, "WARN") {
		t.Errorf("told to take what there is: exit %d\n%s", code, log)
	}
}

func TestRunKeepsTheRetention(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	const stream = "crm:sync:user:user_created"
	for _, id := range []string{"1700000000000-0", "1700000000001-0", "*"} {
		server.Do("XADD", stream, id, "eventType", "user_created", "tenantId", "acme", "data", `{"userId":"u1","email":"a@example.com"}`)
	}
	server.Do("XADD", "credit-events", "1700000000000-0", "eventType", "credit.allocated")
	server.Do("XGROUP", "CREATE", "credit-events", "leftover", "0")
	p := start(t, nil, "run", "--redis", server.URL(), "--replica", "sqlite://"+filepath.Join(t.TempDir(), "suite.db"), "--retention-older-than", "30d")
	eventually(t, "what is old goes", func() bool { return server.Do("XLEN", stream) == int64(1) })
	eventually(t, "the leftover is named", func() bool {
		return strings.Contains(p.stderr.String(), "freshet groups delete credit-events leftover")
	})
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != exitOK {
		t.Errorf("exit %d\n%s", code, p.stderr.String())
	}
	if server.Do("XLEN", "credit-events") != int64(1) {
		t.Error("what the leftover has not settled was removed")
	}
}
