package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redistest"
)

const doctored = "crm:sync:user:user_created"

// doctor runs freshet doctor against a server.
func doctor(t *testing.T, server *redistest.Server, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, log bytes.Buffer
	code = run(t.Context(), append([]string{"doctor", "--redis", server.URL()}, args...), strings.NewReader(stdin), &out, &log)
	return code, out.String(), log.String()
}

type doctorReport struct {
	Verdict              string
	Healthy, Unreachable bool
	Server               struct{ Version, User string }
	Findings             []reported
}

type reported struct {
	Check, Severity, Subject, Summary, Evidence string
	Advice, Command                             *string
	Fixable                                     bool
	SinceSeconds                                *int64 `json:"since_seconds"`
}

func diagnosed(t *testing.T, server *redistest.Server, args ...string) (code int, r doctorReport) {
	t.Helper()
	code, out, log := doctor(t, server, "", append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v\n%s%s", err, out, log)
	}
	return code, r
}

func TestDoctorExitCodes(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	code, out, log := doctor(t, server, "")
	if code != exitOK || log != "" || !strings.HasSuffix(out, "Healthy: there are no streams of the suite yet.\n") {
		t.Errorf("%d\n%s%s", code, out, log)
	}
	server.Do("XADD", doctored, "1764842400000-0", "eventType", "user_created", "tenantId", "acme", "data", `{"userId":"u-1","email":"a@example.com"}`)
	if code, r := diagnosed(t, server); code != exitFindings || r.Healthy || len(r.Findings) != 1 || r.Findings[0].Check != "unread_stream" || r.Server.User != "default" {
		t.Errorf("%d %+v", code, r)
	}
	if code, r := diagnosed(t, server, "--check", "lag"); code != exitOK || len(r.Findings) != 0 {
		t.Errorf("%d %+v", code, r)
	}
	code, out, _ = doctor(t, server, "", "-o", "jsonl")
	if code != exitFindings || strings.Count(out, "\n") != 1 || !strings.HasPrefix(out, `{"check":"unread_stream","severity":"critical"`) {
		t.Errorf("%d\n%s", code, out)
	}
	server.Kill()
	if code, r := diagnosed(t, server); code != exitUnreachable || !r.Unreachable || r.Findings[0].Check != "reachable" {
		t.Errorf("%d %+v", code, r)
	}
}

func TestDoctorUsage(t *testing.T) {
	server := redistest.Start(t)
	for _, args := range [][]string{
		{"--check", "nonsense"}, {"--threshold", "nonsense=1,2"}, {"--threshold", "lag-age=1m"}, {"--threshold", "lag-age=2m,1m"},
		{"--threshold", "stream-length=many,more"}, {"--threshold", "attempts=0,1"}, {"--yes"},
	} {
		if code, _, log := doctor(t, server, "", args...); code != exitUsage || log == "" {
			t.Errorf("%q: %d %s", args, code, log)
		}
	}
}

func TestDoctorThresholds(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	for range 3 {
		server.Do("XADD", "acknowledgments", "*", "acknowledgmentId", "ack_1", "originalEventId", "m-1", "status", "processed", "timestamp", "2025-12-04T10:00:00.000Z")
	}
	if code, r := diagnosed(t, server, "--check", "stream_length"); code != exitOK || len(r.Findings) != 0 {
		t.Errorf("%d %+v", code, r)
	}
	if code, r := diagnosed(t, server, "--check", "stream_length", "--threshold", "stream-length=2,3"); code != exitFindings || len(r.Findings) != 1 || r.Findings[0].Severity != "critical" {
		t.Errorf("%d %+v", code, r)
	}
}

// sick is a server with three findings that --fix mends.
func sick(t *testing.T) *redistest.Server {
	server := redistest.StartWithClock(t, "--appendonly", "yes")
	server.Do("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
	server.Do("XADD", doctored, "*", "eventType", "user_created", "tenantId", "acme", "data", `{"userId":"u-1","email":"a@example.com"}`)
	server.Do("XGROUP", "CREATE", doctored, "crm", "$")
	for n := range 12 {
		server.Do("XGROUP", "CREATECONSUMER", doctored, "crm", string(rune('a'+n)))
	}
	server.MoveClock(3 * time.Hour)
	server.Do("XGROUP", "CREATECONSUMER", doctored, "crm", "alive")
	return server
}

var sickChecks = []string{"--check", "eviction,idle_consumers,group_missing", "--group", "hr"}

func TestDoctorFixAsks(t *testing.T) {
	server := sick(t)
	args := append(slices.Clone(sickChecks), "--fix")
	if code, _, log := doctor(t, server, "", args...); code != exitFindings || strings.Count(log, "Do that? [y/N]") != 3 {
		t.Errorf("without answers: %d\n%s", code, log)
	}
	if reply := server.Do("CONFIG", "GET", "maxmemory-policy").([]any)[1]; reply != "allkeys-lru" {
		t.Errorf("without an answer the policy is %v", reply)
	}
	// In the order of the findings: the group that is missing, the policy, the consumers.
	code, _, log := doctor(t, server, "yes\nno\nn\n", args...)
	if code != exitFindings || !strings.Contains(log, "created hr on "+doctored) {
		t.Errorf("%d\n%s", code, log)
	}
	if groups := server.Do("XINFO", "GROUPS", doctored).([]any); len(groups) != 2 {
		t.Errorf("%v", groups)
	}
	if consumers := server.Do("XINFO", "CONSUMERS", doctored, "crm").([]any); len(consumers) != 13 {
		t.Errorf("%d consumers though the answer was no", len(consumers))
	}
}

func TestDoctorFixesAll(t *testing.T) {
	server := sick(t)
	code, _, log := doctor(t, server, "", append(slices.Clone(sickChecks), "--fix", "--yes")...)
	if code != exitOK || !strings.Contains(log, "Healthy") || strings.Contains(log, "Do that?") {
		t.Errorf("%d\n%s", code, log)
	}
	if consumers := server.Do("XINFO", "CONSUMERS", doctored, "crm").([]any); len(consumers) != 1 {
		t.Errorf("%v", consumers)
	}
	if reply := server.Do("CONFIG", "GET", "maxmemory-policy").([]any)[1]; reply != "noeviction" {
		t.Errorf("the policy is %v", reply)
	}
	if reply := server.Do("XREADGROUP", "GROUP", "hr", "h-1", "STREAMS", doctored, ">"); reply == nil {
		t.Error("the group that was created does not begin at the beginning")
	}
}

// The commands that findings give name this binary's commands and flags as they
// are.
func TestDoctorCommandsAreOnes(t *testing.T) {
	code, err := os.ReadFile(filepath.Join("..", "..", "inspect", "doctor_groups.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"doctor_entries.go", "doctor_catalogue.go", "doctor_conflicts.go", "doctor_server.go"} {
		more, err := os.ReadFile(filepath.Join("..", "..", "inspect", file))
		if err != nil {
			t.Fatal(err)
		}
		code = append(code, more...)
	}
	calls := regexp.MustCompile(`x\.freshet\((.*)\)`).FindAllSubmatch(code, -1)
	if len(calls) < 10 {
		t.Fatalf("%d calls", len(calls))
	}
	literal := regexp.MustCompile(`"([^"]*)"`)
	for _, call := range calls {
		var words []string
		for _, m := range literal.FindAllSubmatch(call[1], -1) {
			words = append(words, string(m[1]))
		}
		c := &cli{stdin: strings.NewReader(""), stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}
		cmd, rest, err := c.rootCommand().Find(words)
		if err != nil || cmd.Runnable() && cmd.Name() == "freshet" {
			t.Errorf("%s: no such command: %v", call[1], err)
			continue
		}
		for _, w := range rest {
			if name, ok := strings.CutPrefix(w, "--"); ok && cmd.Flags().Lookup(name) == nil {
				t.Errorf("%s: %s has no flag --%s", call[1], cmd.CommandPath(), name)
			}
		}
	}
}

func TestDoctorTellsNoSecret(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "s3cret")
	var out, log bytes.Buffer
	run(t.Context(), []string{"doctor", "--redis", "redis://:s3cret@" + server.Addr()}, strings.NewReader(""), &out, &log)
	if text := out.String() + log.String(); !strings.Contains(text, "persistence") || strings.Contains(text, "s3cret") {
		t.Error(text)
	}
}

// A consumer of Freshet that runs is well, and missed once it is killed.
func TestDoctorOfARunningConsumer(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	server.Do("XADD", doctored, "*", "eventType", "user_created", "tenantId", "acme", "data", `{"userId":"u-1","email":"a@example.com"}`)
	args := []string{"run", "--app", "crm", "--redis", server.URL(), "--replica", "sqlite://" + filepath.Join(t.TempDir(), "suite.db")}
	p := start(t, nil, args...)
	eventually(t, "all is well", func() bool {
		_, r := diagnosed(t, server)
		return r.Healthy && len(r.Findings) == 0 && strings.Contains(r.Verdict, "read by 1 group")
	})
	p.signal(t, syscall.SIGTERM)
	p.exit(t)
	server.Do("XADD", doctored, "*", "eventType", "user_created", "tenantId", "acme", "data", `{"userId":"u-2","email":"b@example.com"}`)
	code, r := diagnosed(t, server)
	if code != exitFindings || len(r.Findings) != 1 || r.Findings[0].Check != "no_consumer" || r.Findings[0].Severity != "critical" ||
		!strings.HasPrefix(*r.Findings[0].Command, "freshet --redis "+server.URL()+" run --app crm ") {
		t.Errorf("%d %+v", code, r)
	}
	// The command that it gives mends it.
	cmd := exec.Command("bash", "-c", "cd "+t.TempDir()+" && exec "+*r.Findings[0].Command)
	again := &process{cmd: cmd}
	again.run(t)
	eventually(t, "all is well again", func() bool { _, r := diagnosed(t, server); return r.Healthy })
	again.signal(t, syscall.SIGTERM)
	again.exit(t)
}
