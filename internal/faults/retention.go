package faults

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// What a server is set up to lose, and what is removed from it on purpose.
var retentionFaults = []fault{
	{"F24", "the server is set up to lose data", true, lossySettings},
}

// lossySettings: freshet run does not start on such a server, unless it is
// told to, until the setting is mended by the command that it names.
func lossySettings(t *trial) {
	const eviction, disk = "--allow-eviction", "--allow-no-persistence"
	for _, bad := range []struct{ name, value, override, says, mend string }{
		{"maxmemory-policy", "allkeys-lru", eviction, "may delete whole streams", "CONFIG SET maxmemory-policy noeviction"},
		{"maxmemory-policy", "volatile-ttl", eviction, "may delete keys that expire", "CONFIG SET maxmemory-policy noeviction"},
		{"appendonly", "no", disk, "writes nothing to disk", "CONFIG SET appendonly yes"},
	} {
		server := t.redis(durable("everysec")...)
		l := t.load(server.URL())
		t.many(l, 20) // so that there are streams
		t.do(server, "CONFIG", "SET", bad.name, bad.value)
		run := func(more ...string) *worker {
			return t.process(t.binary(), append([]string{"run", "--redis", server.URL(), "--group", group, "--replica", "sqlite://" + t.file(bad.value+".db")}, more...)...)
		}
		goes := func(what string, more ...string) {
			t.many(l, 20)
			t.published += 20
			w := run(more...)
			t.until(what+" with "+bad.name+" "+bad.value+": all is handled", 20*time.Second, func() bool {
				if w.ended() {
					t.must(fmt.Errorf("%s with %s %s: freshet run ended:\n%s", what, bad.name, bad.value, w.log.String()))
				}
				return !t.behind(server, group)
			})
			t.signal(w, syscall.SIGTERM)
			t.until("it ends", 30*time.Second, w.ended)
			t.check(w.cmd.ProcessState.ExitCode() == 0, "%s: exit code %d", what, w.cmd.ProcessState.ExitCode())
		}

		w := run()
		t.until("freshet run refuses "+bad.name+" "+bad.value, 20*time.Second, w.ended)
		t.check(w.cmd.ProcessState.ExitCode() == 1, "%s %s: exit code %d", bad.name, bad.value, w.cmd.ProcessState.ExitCode())
		host, port, _ := strings.Cut(server.Addr(), ":")
		for _, text := range []string{bad.says, "redis-cli -h " + host + " -p " + port + " " + bad.mend, bad.override} {
			t.check(strings.Contains(w.log.String(), text), "%s %s: no %q in\n%s", bad.name, bad.value, text, w.log.String())
		}
		t.check(len(t.do(server, "XINFO", "GROUPS", loadStreams[0]).([]any)) == 0, "%s %s: there is a group, though it did not start", bad.name, bad.value)
		goes("told to start all the same", bad.override)
		t.do(server, strings.Fields(bad.mend)...)
		goes("mended")
	}
	t.note("refused with exit code 1; runs when told to, and after the command that the refusal names")
}
