package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode"

	"github.com/freshet/freshet/internal/redistest"
)

// putLetter stores a dead letter under the id.
func putLetter(t *testing.T, s *redistest.Server, id, group, reason, problem string, fields ...string) {
	t.Helper()
	const stream = "crm:sync:user:user_created"
	command := append([]string{"XADD", "{" + stream + "}:dlq:" + group, id}, fields...)
	command = append(command, "freshet-stream", stream, "freshet-id", id, "freshet-group", group, "freshet-consumer", reason, "freshet-attempts", "8",
		"freshet-reason", reason, "freshet-error", problem, "freshet-first-failed", "", "freshet-last-failed", "2026-01-02T03:04:05.678Z")
	if err, failed := s.Do(command...).(redistest.Error); failed {
		t.Fatal(err)
	}
}

func TestDLQWritesNoControls(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("REDIS_URL", server.URL())
	for i, hostile := range []string{"\x1b[31mred", "\r\nline", "\u202egnp.exe", "\u2028line", "\u0085line", "\xff\xfe", "\x00", "\U000e0041tag"} {
		id := fmt.Sprintf("%d-0", i+1)
		putLetter(t, server, id, hostile, hostile, hostile, "eventType", hostile, "tenantId", hostile, hostile, hostile, "data", hostile, "metadata", `{"a":"`+hostile+`"}`)
		for _, args := range [][]string{
			{"dlq", "ls"}, {"dlq", "ls", "-o", "json"}, {"dlq", "export"},
			{"dlq", "show", id}, {"dlq", "show", id, "--reveal"}, {"dlq", "show", id, "--reveal", "-o", "json"},
		} {
			var stdout, stderr bytes.Buffer
			if code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != exitOK {
				t.Fatalf("%q: exit code %d: %s", args, code, &stderr)
			}
			for at, r := range stdout.String() {
				if r != '\n' && !unicode.IsPrint(r) {
					t.Errorf("%q: %U in the output: …%q", args, r, stdout.String()[max(at-60, 0):at])
					break
				}
			}
		}
	}
	var stdout, stderr bytes.Buffer
	putLetter(t, server, "1-0", "another", "r", "e", "a", "b")
	if code := run(t.Context(), []string{"dlq", "show", "1-0"}, strings.NewReader(""), &stdout, &stderr); code != exitUsage {
		t.Fatalf("exit code %d", code)
	}
	if strings.Contains(stderr.String(), "\x1b") {
		t.Errorf("what an id may mean: %q", stderr.String())
	}
}

// An id may have commas and quotes in it: it selects itself, and no other.
func TestDLQSelectsIDsWithCommas(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("REDIS_URL", server.URL())
	ids := []string{"a", "b", "a,b", `a"b`, `"`, " a"}
	for i, id := range ids {
		data, err := json.Marshal(map[string]string{"userId": id})
		if err != nil {
			t.Fatal(err)
		}
		putLetter(t, server, fmt.Sprintf("%d-0", i+1), "g,h", "r,s", "e", "eventType", "user_created", "tenantId", "acme", "data", string(data))
	}
	for i, id := range ids {
		list := asJSONOf[[]clusterJSON](t, "dlq", "ls", "--entity", id, "--group", "g,h", "--reason", "r,s")
		if len(list) != 1 || list[0].Count != 1 || list[0].Example != fmt.Sprintf("%d-0", i+1) {
			t.Errorf("entity %q selects %+v", id, list)
		}
	}
	if list := asJSONOf[[]clusterJSON](t, "dlq", "ls", "--entity", "a,b", "--entity", "user/b"); len(list) != 1 || list[0].Count != 2 {
		t.Errorf("two entities select %+v", list)
	}
	if dropped := asJSONOf[droppedJSON](t, "dlq", "drop", "--entity", "a,b", "--yes"); dropped.Dropped != 1 {
		t.Errorf("%+v", dropped)
	}
}

// Own ids are those of one group on one stream: where others have the same, each
// of the commands that are listed names one.
func TestDLQListsCommandsForAnIDThatSeveralHave(t *testing.T) {
	server := redistest.Start(t)
	t.Setenv("REDIS_URL", server.URL())
	fields := []string{"eventType", "user_created", "tenantId", "acme", "data", `{"userId":"u-1"}`}
	for _, group := range []string{"a", "b c", "it's"} {
		putLetter(t, server, "7-0", group, "r", "e", fields...)
	}
	const key = "{crm:sync:user:user_created}:dlq:a" // has another letter of the entry 7-0, too
	server.Do(append([]string{"XADD", key, "8-0"}, append(fields, "freshet-stream", users, "freshet-id", "7-0", "freshet-group", "a", "freshet-consumer", "c",
		"freshet-attempts", "8", "freshet-reason", "r", "freshet-error", "e", "freshet-first-failed", "", "freshet-last-failed", "")...)...)
	for _, command := range []string{"show", "redrive", "drop"} {
		_, stderr := exitsWith(t, exitUsage, "dlq", command, "7-0")
		for _, want := range []string{
			`"7-0" means 4 dead letters; name one:`,
			"entry 7-0, r: freshet dlq " + command + " 7-0 --stream " + users + " --group a\n",
			"entry 7-0, r: freshet dlq " + command + " 8-0 --stream " + users + " --group a\n",
			"entry 7-0, r: freshet dlq " + command + " 7-0 --stream " + users + " --group 'b c'\n",
			`--group 'it'\''s'`,
		} {
			if !strings.Contains(stderr, want) {
				t.Errorf("no %q in\n%s", want, stderr)
			}
		}
	}
	if _, stderr := exitsWith(t, exitUsage, "dlq", "show", "7-0", "--redis", server.URL()); !strings.Contains(stderr, ": freshet --redis "+server.URL()+" dlq show 8-0 ") {
		t.Errorf("for another server: %s", stderr)
	}
	out, _ := exitsWith(t, exitOK, "dlq", "show", "7-0", "--stream", users, "--group", "a")
	if !strings.HasPrefix(out, "DEAD LETTER   7-0\n") {
		t.Error(out)
	}
	exitsWith(t, exitOK, "dlq", "drop", "7-0", "--stream", users, "--group", "a", "--yes")
	if left := server.Do("XLEN", key); left != int64(1) {
		t.Errorf("%v left", left)
	}
}

// An export of letters with any bytes is imported byte for byte, whatever
// escapes the output has.
func TestExportedBytesAreImported(t *testing.T) {
	from, to := redistest.Start(t), redistest.Start(t)
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	putLetter(t, from, "1-0", "g", "r", string(all), "a", "", "a", "\xff", "\u2028\x1b<", "\u202e\U000e0041\uFFFD", string(all), `{"base64":"AA=="}`)
	lines := freshetOutput(t, "dlq", "export", "--redis", from.URL())
	if !json.Valid([]byte(lines)) {
		t.Errorf("no JSON: %s", lines)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"dlq", "import", "--redis", to.URL()}, strings.NewReader(lines), &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	key := "{crm:sync:user:user_created}:dlq:g"
	record := func(s *redistest.Server) string {
		return fmt.Sprintf("%q", s.Do("XRANGE", key, "-", "+").([]any)[0].([]any)[1])
	}
	if got, want := record(to), record(from); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
}
