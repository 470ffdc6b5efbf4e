package main

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/freshet/freshet/internal/redistest"
)

// process is a running freshet.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr output
}

// output collects what a process writes while others look.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// start runs freshet with the environment of the test, but for env.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command("freshet", args...)}
	p.cmd.Env = append(os.Environ(), env...)
	p.run(t)
	return p
}

// run starts the process, and kills it at the end of the test if it still
// runs.
func (p *process) run(t *testing.T) {
	t.Helper()
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // fails when it has ended
		_ = p.cmd.Wait()
	})
}

func (p *process) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// exit waits for the end of the process and returns its exit code, -1 when a
// signal ended it.
func (p *process) exit(t *testing.T) int {
	t.Helper()
	killer := time.AfterFunc(60*time.Second, func() { _ = p.cmd.Process.Signal(syscall.SIGQUIT) })
	defer killer.Stop()
	err := p.cmd.Wait()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// freshetCommand runs one command to its end and fails the test unless it succeeds.
func freshetCommand(t *testing.T, args ...string) (stdout string) {
	t.Helper()
	p := start(t, nil, args...)
	if code := p.exit(t); code != 0 {
		t.Fatalf("freshet %s: exit %d\n%s", strings.Join(args, " "), code, p.stderr.String())
	}
	return p.stdout.String()
}

// eventually polls a condition.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// streams returns the keys of the suite's streams, without the project's own.
func streams(server *redistest.Server) []string {
	var names []string
	for _, key := range server.Do("KEYS", "*").([]any) {
		name := key.(string)
		if !strings.HasPrefix(name, "{") && server.Do("TYPE", name) == "stream" {
			names = append(names, name)
		}
	}
	return names
}

// pending returns how many entries a group has in hand on all streams.
func pending(server *redistest.Server, group string) int64 {
	var total int64
	for _, stream := range streams(server) {
		if reply, ok := server.Do("XPENDING", stream, group).([]any); ok { // otherwise the group is not on it yet
			total += reply[0].(int64)
		}
	}
	return total
}

// allSettled tells whether a group has read every entry of every stream, and
// settled it.
func allSettled(server *redistest.Server, group string) bool {
	names := streams(server)
	unsettled := func(stream string) bool { return !settled(server, stream, group) }
	return len(names) > 0 && !slices.ContainsFunc(names, unsettled)
}

// settled is allSettled of one stream.
func settled(server *redistest.Server, stream, group string) bool {
	groups, _ := server.Do("XINFO", "GROUPS", stream).([]any)
	last := server.Do("XREVRANGE", stream, "+", "-", "COUNT", "1").([]any)
	for _, g := range groups {
		info := map[string]any{}
		for i, list := 0, g.([]any); i < len(list); i += 2 {
			info[list[i].(string)] = list[i+1]
		}
		if info["name"] == group {
			return info["pending"] == int64(0) && (len(last) == 0 || info["last-delivered-id"] == last[0].([]any)[0])
		}
	}
	return false
}

// deadLetters returns the entry ids that a group has dead-lettered, by
// stream/id, with the reasons.
func deadLetters(server *redistest.Server, group string) map[string]string {
	letters := map[string]string{}
	for _, key := range server.Do("KEYS", "{*}:dlq:"+group).([]any) {
		for _, entry := range server.Do("XRANGE", key.(string), "-", "+").([]any) {
			fields := map[string]string{}
			list := entry.([]any)[1].([]any)
			for i := 0; i < len(list); i += 2 {
				fields[list[i].(string)] = list[i+1].(string)
			}
			letters[fields["freshet-stream"]+"/"+fields["freshet-id"]] = fields["freshet-reason"]
		}
	}
	return letters
}

// dump returns all rows of all tables of a copy.
func dump(t *testing.T, file string) string {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var out strings.Builder
	for _, table := range rows(t, db, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%' ORDER BY 1`) {
		lines := rows(t, db, `SELECT * FROM `+table)
		slices.Sort(lines)
		fmt.Fprintf(&out, "%s\n%s\n", table, strings.Join(lines, "\n"))
	}
	return out.String()
}

func rows(t *testing.T, db *sql.DB, query string) []string {
	t.Helper()
	result, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer result.Close()
	columns, err := result.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for result.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := result.Scan(into...); err != nil {
			t.Fatal(err)
		}
		var cells []string
		for _, v := range values {
			if v.Valid {
				cells = append(cells, v.String)
			} else {
				cells = append(cells, "NULL")
			}
		}
		lines = append(lines, strings.Join(cells, " | "))
	}
	if err := result.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}
