package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redistest"
)

var (
	syncedRow  = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d  (acme|globex|initech) +\S+ +\S+ +\S.*$`)
	busAddress = regexp.MustCompile(`(?m)^  bus +redis://(\S+)`)
)

// startDev runs freshet dev in a process group of its own, as a shell does.
// Its temporary files are in temp.
func startDev(t *testing.T, env []string, args ...string) (p *process, temp string) {
	t.Helper()
	temp = t.TempDir()
	p = &process{cmd: exec.Command("freshet", append([]string{"dev"}, args...)...)}
	p.cmd.Env = append(append(os.Environ(), "TMPDIR="+temp), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.run(t)
	return p, temp
}

// interrupt is a Ctrl-C, which the terminal sends to the whole group.
func (p *process) interrupt(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
}

func TestDevDemo(t *testing.T) {
	server := redistest.Start(t)
	server.Do("XADD", "crm:sync:user:user_created", "*", "eventType", "user_created", "tenantId", "acme", "data", "{}") // a dead letter
	for _, mode := range []struct {
		name string
		env  []string
		kind string // in the table of addresses
	}{
		{"with a server of one's own", []string{"REDIS_URL=" + server.URL()}, "yours"},
		{"with redis-server on PATH", []string{"REDIS_URL="}, "private redis-server"},
		{"without redis-server", []string{"REDIS_URL=", "PATH=" + t.TempDir()}, "embedded"},
	} {
		t.Run(mode.name, func(t *testing.T) {
			p, temp := startDev(t, mode.env, "--demo", "--rate", "50")
			eventually(t, "rows are shown as they are synced", func() bool {
				return len(syncedRow.FindAllString(p.stdout.String(), -1)) >= 5
			})
			p.interrupt(t)
			if code := p.exit(t); code != 0 {
				t.Errorf("exit %d", code)
			}
			out := p.stdout.String()
			address := busAddress.FindStringSubmatch(out)
			if address == nil || !strings.Contains(out, mode.kind) || !strings.Contains(out, "trigger user_created --tenant acme") {
				t.Fatalf("no table of addresses, or not with %q:\n%s", mode.kind, out)
			}
			if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
				t.Errorf("left in the temporary directory: %v %v", left, err)
			}
			if address[1] != server.Addr() {
				if conn, err := net.DialTimeout("tcp", address[1], time.Second); err == nil {
					conn.Close()
					t.Error("the private server still runs")
				}
			}
			if t.Failed() {
				t.Logf("stdout:\n%s\nstderr:\n%s", out, p.stderr.String())
			}
		})
	}
	for _, stream := range streams(server) {
		if groups := server.Do("XINFO", "GROUPS", stream).([]any); len(groups) != 0 {
			t.Errorf("the group of a copy that is gone is still on %s: %v", stream, groups)
		}
	}
	for _, pattern := range []string{"{*", "freshet:*"} {
		if keys := server.Do("KEYS", pattern).([]any); len(keys) != 0 {
			t.Errorf("left on the server: %v", keys)
		}
	}
}

func TestDevKeepsItsData(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dev")
	env := []string{"REDIS_URL="}
	p, _ := startDev(t, env, "--demo", "--rate", "100", "--data", dir)
	eventually(t, "each tenant has rows", func() bool {
		shown := strings.Join(syncedRow.FindAllString(p.stdout.String(), -1), "\n")
		return strings.Contains(shown, "acme") && strings.Contains(shown, "globex") && strings.Contains(shown, "initech")
	})
	second, _ := startDev(t, env, "--data", dir)
	if code := second.exit(t); code != exitFailure || !strings.Contains(second.stderr.String(), "in use") {
		t.Errorf("a second one with the same directory: exit %d, %s", code, second.stderr.String())
	}
	p.interrupt(t)
	if code := p.exit(t); code != 0 {
		t.Fatalf("exit %d\n%s", code, p.stderr.String())
	}
	file := filepath.Join(dir, "replica.db")
	before := dump(t, file)
	if !strings.Contains(before, "acme") {
		t.Fatalf("the copy is empty:\n%s", before)
	}

	p, _ = startDev(t, env, "--data", dir)
	eventually(t, "the second run answers", func() bool { return busAddress.MatchString(p.stdout.String()) })
	url := "redis://" + busAddress.FindStringSubmatch(p.stdout.String())[1]
	history := freshetCommand(t, "tail", "--redis", url, "--from", "0", "--exit-at-end", "-o", "jsonl")
	if !strings.Contains(history, "user_created") {
		t.Errorf("the second run's bus has no history: %q", history)
	}
	freshetCommand(t, "publish", "user_created", "--redis", url, "--tenant", "newcomer",
		"--data", `{"userId":"u1","email":"u1@example.com","createdAt":"2026-01-01T00:00:00.000Z"}`)
	eventually(t, "the second run goes on", func() bool { return strings.Contains(p.stdout.String(), "newcomer") })
	p.interrupt(t)
	if code := p.exit(t); code != 0 {
		t.Fatalf("exit %d\n%s", code, p.stderr.String())
	}
	if after := dump(t, file); !strings.Contains(after, "newcomer") || !strings.Contains(after, "acme") {
		t.Errorf("the copy after the second run:\n%s", after)
	}
}

func TestDevEndsWithItsServer(t *testing.T) {
	p, temp := startDev(t, []string{"REDIS_URL="}, "--demo")
	eventually(t, "it consumes", func() bool { return syncedRow.MatchString(p.stdout.String()) })
	conn, err := net.Dial("tcp", busAddress.FindStringSubmatch(p.stdout.String())[1])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("SHUTDOWN NOSAVE\r\n")); err != nil {
		t.Fatal(err)
	}
	if code := p.exit(t); code != exitFailure || !strings.Contains(p.stderr.String(), "the private redis-server ended") {
		t.Errorf("exit %d\n%s", code, p.stderr.String())
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left in the temporary directory: %v %v", left, err)
	}
}

// The feed shows what a person can follow, and says how much more there was.
func TestDevShowsAScreenful(t *testing.T) {
	p, _ := startDev(t, []string{"REDIS_URL="}, "--demo", "--rate", "500")
	eventually(t, "more is synced than shown", func() bool { return strings.Contains(p.stdout.String(), " more\n") })
	begin, shown := time.Now(), len(syncedRow.FindAllString(p.stdout.String(), -1))
	eventually(t, "a second and third time", func() bool { return strings.Count(p.stdout.String(), " more\n") >= 3 })
	shown = len(syncedRow.FindAllString(p.stdout.String(), -1)) - shown
	if most := rowsPerSecond * (2 + int(time.Since(begin).Seconds())); shown > most {
		t.Errorf("%d rows in %v", shown, time.Since(begin))
	}
}
