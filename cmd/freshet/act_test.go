package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/freshet/freshet/internal/redistest"
)

// command runs a command line and returns its exit code and what it wrote.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &problems)
	return code, out.String(), problems.String()
}

// asJSONOf runs a command with -o json and reads what it wrote.
func asJSONOf[T any](t *testing.T, args ...string) (value T) {
	t.Helper()
	code, stdout, stderr := command(t, append(args, "-o", "json")...)
	if code != exitOK {
		t.Fatalf("%q: exit code %d: %s", args, code, stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &value); err != nil {
		t.Fatalf("%q: %v: %s", args, err, stdout)
	}
	return value
}

const users = "crm:sync:user:user_created"

// someUsers starts a server that has n users, with the ids 1-0, 2-0, …
func someUsers(t *testing.T, n int) *redistest.Server {
	t.Helper()
	server := redistest.StartWithClock(t)
	t.Setenv("REDIS_URL", server.URL())
	for i := range n {
		reply := server.Do("XADD", users, fmt.Sprintf("%d-0", i+1), "eventType", "user_created", "eventId", fmt.Sprint("evt-", i+1), "tenantId", "acme",
			"userId", fmt.Sprint("u-", i+1), "timestamp", "2026-01-02T03:04:05.000Z",
			"data", `{"userId":"u-`+fmt.Sprint(i+1)+`","email":"ada@example.com"}`, "metadata", `{"correlationId":"req-7"}`)
		if err, failed := reply.(redistest.Error); failed {
			t.Fatal(err)
		}
	}
	return server
}

func TestGroupsCreateRewindDelete(t *testing.T) {
	server := someUsers(t, 20)
	created := asJSONOf[[]createdJSON](t, "groups", "create", "crm:*", "g", "--start", "5-0")
	if len(created) != 1 || created[0] != (createdJSON{users, "g", true, "5-0"}) {
		t.Errorf("%+v", created)
	}
	if created = asJSONOf[[]createdJSON](t, "groups", "create", users, "g"); created[0].Created {
		t.Errorf("created again: %+v", created)
	}
	server.Do("XREADGROUP", "GROUP", "g", "c", "COUNT", "10", "STREAMS", users, ">") // 5 to 14

	rewound := asJSONOf[rewoundJSON](t, "groups", "rewind", users, "g", "--to", "3-0", "--dry-run")
	if *rewound.Again != 12 || *rewound.Unread != 6 || rewound.Pending != 10 || *rewound.First != "3-0" || !rewound.DryRun || rewound.Types["user_created"] != 12 {
		t.Errorf("%+v", rewound)
	}
	code, stdout, stderr := command(t, "groups", "rewind", users, "g", "--to", "3-0")
	if code != exitOK || !strings.Contains(stdout, "delivered again  12, from 3-0") || !strings.Contains(stdout, "user_created 12") || !strings.Contains(stderr, "pending, and stay so: 10") {
		t.Errorf("%d: %s%s", code, stdout, stderr)
	}
	if code, _, stderr := command(t, "groups", "rewind", users, "g", "--to", "1m"); code != exitUsage || !strings.Contains(stderr, "never moved ahead") {
		t.Errorf("ahead: %d: %s", code, stderr)
	}

	refused := func(args []string, code int, what string) {
		t.Helper()
		got, _, stderr := command(t, append([]string{"groups", "delete", users, "g"}, args...)...)
		if got != code || !strings.Contains(stderr, what) {
			t.Errorf("%q: %d: %s", args, got, stderr)
		}
	}
	refused(nil, exitFailure, "stop them first")
	server.MoveClock(time.Hour)
	refused(nil, exitUsage, "add --yes --discard-pending 10")
	refused([]string{"--yes", "--discard-pending", "9"}, exitUsage, "add --yes --discard-pending 10")
	deleted := asJSONOf[[]deletedJSON](t, "groups", "delete", users, "g", "--yes", "--discard-pending", "10")
	if len(deleted) != 1 || !deleted[0].Deleted || deleted[0].Pending != 10 || *deleted[0].Unread != 18 {
		t.Errorf("%+v", deleted)
	}

	for _, test := range []struct {
		code int
		args string
	}{
		{exitNotFound, "groups delete " + users + " g"},
		{exitNotFound, "groups rewind " + users + " g --to 1-0"},
		{exitNotFound, "groups create no:such g"},
		{exitNotFound, "groups create no:* g"},
		{exitNotFound, "consumers prune " + users + " g"},
		{exitUsage, "groups create " + users},
		{exitUsage, "groups create " + users + " g --start soon"},
		{exitUsage, "groups rewind " + users + " g"},
		{exitUsage, "groups rewind crm:* g --to 1-0"},
		{exitUsage, "groups delete crm:* g"},
		{exitUsage, "consumers prune " + users + " g --idle 5s"},
	} {
		if code, _, stderr := command(t, strings.Fields(test.args)...); code != test.code {
			t.Errorf("%s: exit code %d, want %d: %s", test.args, code, test.code, stderr)
		}
	}
}

func TestConsumersPrune(t *testing.T) {
	server := someUsers(t, 5)
	server.Do("XGROUP", "CREATE", users, "g", "0")
	server.Do("XREADGROUP", "GROUP", "g", "dead", "COUNT", "3", "STREAMS", users, ">")
	server.MoveClock(3 * time.Hour)
	code, stdout, stderr := command(t, "consumers", "prune", users, "g")
	if code != exitFailure || !strings.Contains(stdout, "no live consumer") || !strings.Contains(stderr, "consumers that stay: 1") {
		t.Errorf("%d: %s%s", code, stdout, stderr)
	}
	server.Do("XREADGROUP", "GROUP", "g", "live", "COUNT", "1", "STREAMS", users, ">")
	for _, dryRun := range []bool{true, false} {
		args := []string{"consumers", "prune", "*", "g", fmt.Sprint("--dry-run=", dryRun)}
		pruned := asJSONOf[[]prunedJSON](t, args...)
		if len(pruned) != 1 || !pruned[0].Removed || *pruned[0].To != "live" || pruned[0].Pending != 3 || pruned[0].DryRun != dryRun {
			t.Errorf("%q: %+v", args, pruned)
		}
	}
	if got := fmt.Sprint(server.Do("XPENDING", users, "g")); got != "[4 1-0 4-0 [[live 4]]]" {
		t.Errorf("pending: %s", got)
	}
}

func TestReplayToGroup(t *testing.T) {
	server := someUsers(t, 20)
	server.Do("XGROUP", "CREATE", users, "g", "$")
	if got := asJSONOf[replayedJSON](t, "replay", "--group", "g", "--dry-run", "--since", "6-0"); got.Sent != 15 || !got.DryRun {
		t.Errorf("%+v", got)
	}
	kept := filepath.Join(t.TempDir(), "kept")
	args := []string{"replay", users, "--group", "g", "--until", "6-0", "--resume", kept}
	code, stdout, stderr := command(t, args...)
	if code != exitOK || !strings.Contains(stderr, "no consumer of group g has been seen") || !strings.Contains(stdout, "6 ") {
		t.Errorf("%d: %s%s", code, stdout, stderr)
	}
	code, _, stderr = command(t, args...)
	if n := server.Do("XLEN", "{"+users+"}:retry:g"); code != exitOK || n != int64(6) || !strings.Contains(stderr, "was finished: 6 events sent") {
		t.Errorf("again: %d, %v sent: %s", code, n, stderr)
	}
	if code, _, stderr := command(t, "replay", users, "--group", "g", "--resume", kept); code != exitUsage || !strings.Contains(stderr, "another replay") {
		t.Errorf("another one: %d: %s", code, stderr)
	}
	for _, test := range []struct {
		code int
		args string
	}{
		{exitNotFound, "replay --group nobody"},
		{exitUsage, "replay --group g --since never"},
		{exitUsage, "replay --group g --rate 0"},
		{exitUsage, "replay --group g --rate inf"},
		{exitUsage, "replay --group g --file f"},
		{exitUsage, "replay --resume " + kept},
		{exitUsage, "replay --group g --since 5-0 --until 4-0"},
	} {
		if code, _, stderr := command(t, strings.Fields(test.args)...); code != test.code {
			t.Errorf("%s: exit code %d, want %d: %s", test.args, code, test.code, stderr)
		}
	}
}

// A replay to a file that died in the middle of a line goes on so that the file
// has each event once.
func TestReplayToFileGoesOn(t *testing.T) {
	someUsers(t, 250)
	dir := t.TempDir()
	whole, cut, kept := filepath.Join(dir, "whole"), filepath.Join(dir, "cut"), filepath.Join(dir, "kept")
	if code, _, stderr := command(t, "replay", "--file", whole); code != exitOK {
		t.Fatal(stderr)
	}
	want, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(want, []byte("\n")); n != 250 || !bytes.Contains(want, []byte(`"fields":[["eventType","user_created"]`)) {
		t.Fatalf("%d lines: %.300s", n, want)
	}
	args := []string{"replay", "--file", cut, "--resume", kept}
	if code, _, stderr := command(t, args...); code != exitOK {
		t.Fatal(stderr)
	}
	// As after a death behind a hundred events.
	lines := bytes.SplitAfter(want, []byte("\n"))
	hundred := bytes.Join(lines[:100], nil)
	var p map[string]any
	text, _ := os.ReadFile(kept)
	if err := json.Unmarshal(text, &p); err != nil {
		t.Fatal(err)
	}
	p["at"], p["sent"], p["bytes"], p["done"] = map[string]string{"id": "100-0", "stream": users}, 100, len(hundred), false
	text, _ = json.Marshal(p)
	for file, content := range map[string][]byte{kept: text, cut: append(hundred, lines[100][:20]...)} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, stderr := command(t, args...); code != exitOK {
		t.Fatal(stderr)
	}
	if got, _ := os.ReadFile(cut); !bytes.Equal(got, want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
	if code, _, _ := command(t, "replay", "--file", whole); code != exitUsage {
		t.Error("a file that is there was written over")
	}
	if code, stdout, _ := command(t, "replay", "--entity", "u-7"); code != exitOK || strings.Count(stdout, "\n") != 1 {
		t.Errorf("to stdout: %s", stdout)
	}
}

func TestEventsGet(t *testing.T) {
	server := someUsers(t, 3)
	server.Do("XGROUP", "CREATE", users, "g\x1b[31m", "0")
	server.Do("XREADGROUP", "GROUP", "g\x1b[31m", "c\n", "COUNT", "2", "STREAMS", users, ">")
	for _, id := range []string{"2-0", users + "/2-0", "evt-2"} {
		code, stdout, stderr := command(t, "events", "get", id, "--raw")
		if code != exitOK || !strings.Contains(stdout, "IDENTITY      evt-2") || !strings.Contains(stdout, `pending at c\x0a for`) {
			t.Errorf("%s: %d: %s%s", id, code, stdout, stderr)
		}
		if strings.Contains(stdout, "ada@") || !strings.Contains(stdout, "a***@example.com") {
			t.Errorf("%s: not masked: %s", id, stdout)
		}
		for _, r := range stdout {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("%s: %U in the output", id, r)
			}
		}
	}
	if _, stdout, _ := command(t, "events", "get", "evt-2", "--reveal"); !strings.Contains(stdout, "ada@example.com") {
		t.Errorf("not revealed: %s", stdout)
	}
	got := asJSONOf[[]followedJSON](t, "events", "get", "evt-3")
	if len(got) != 1 || got[0].ID != "3-0" || *got[0].CorrelationID != "req-7" || got[0].Groups[0].State != "unread" || got[0].Fields != nil || got[0].Rows != nil {
		t.Errorf("%+v", got)
	}
	if code, _, stderr := command(t, "events", "get", "evt-4"); code != exitNotFound {
		t.Errorf("%d: %s", code, stderr)
	}
	if code, _, stderr := command(t, "events", "get", "evt-1", "--limit", "1"); code != exitNotFound || !strings.Contains(stderr, "not looked at: entries of "+users+" before 3-0") {
		t.Errorf("within a limit: %d: %s", code, stderr)
	}

	// Redriven, to a group that is there and to one that is not.
	for _, group := range []string{"g\x1b[31m", "gone"} {
		server.Do("XADD", "{"+users+"}:retry:"+group, "*", "eventType", "user_created", "eventId", "evt-3", "tenantId", "acme", "userId", "u-3",
			"data", `{"userId":"u-3"}`, "freshet-stream", users, "freshet-id", "3-0")
	}
	server.Do("XADD", "{"+users+"}:retry:gone", "*", "eventType", "user_created", "eventId", "evt-8", "tenantId", "acme", "userId", "u-8",
		"data", `{"userId":"u-8"}`, "freshet-stream", users, "freshet-id", "8-0")
	for _, id := range []string{"3-0", "evt-3"} {
		code, stdout, stderr := command(t, "events", "get", id)
		if code != exitOK || strings.Count(stdout, ": redriven, waits for a consumer\n") != 2 || !strings.Contains(stdout, "  gone: redriven") || stderr != "" {
			t.Errorf("%s: %d: %s%s", id, code, stdout, stderr)
		}
	}
	for _, id := range []string{"8-0", users + "/8-0", "evt-8"} {
		code, stdout, stderr := command(t, "events", "get", id)
		if code != exitOK || !strings.Contains(stdout, "ENTRY         8-0\n") || !strings.Contains(stdout, "gone: redriven, waits for a consumer") ||
			strings.Count(stdout, "freshet-") != 0 || !strings.Contains(stderr, users+"/8-0 was not found on its stream; it is shown as it was redriven") {
			t.Errorf("%s: %d: %s%s", id, code, stdout, stderr)
		}
	}

	// Gone from the stream, and kept as a dead letter.
	putLetter(t, server, "9-0", "other", "max_attempts", "no", "eventType", "user_created", "eventId", "evt-9", "tenantId", "acme", "userId", "u-9", "data", `{"userId":"u-9"}`)
	server.Do("XADD", users, "10-0", "eventType", "user_created")
	server.Do("XGROUP", "CREATE", users, "other", "$")
	code, stdout, stderr := command(t, "events", "get", "evt-9")
	if code != exitOK || !strings.Contains(stdout, "other: dead letter 9-0, max_attempts after 8 attempts: no") || !strings.Contains(stderr, "has gone from the stream") {
		t.Errorf("%d: %s%s", code, stdout, stderr)
	}
}

func TestEventsGetShowsRows(t *testing.T) {
	someUsers(t, 2)
	copied := "sqlite://" + filepath.Join(t.TempDir(), "suite ?#%.db")
	if code, _, stderr := command(t, "run", "--replica", copied, "--drain", "--allow-no-persistence"); code != exitOK {
		t.Fatal(stderr)
	}
	got := asJSONOf[[]followedJSON](t, "events", "get", "evt-2", "--replica", copied)
	if len(got) != 1 || len(got[0].Rows) != 1 || got[0].Rows[0].Table != "users" || !strings.Contains(string(got[0].Rows[0].Row), `"user_id":"u-2"`) ||
		!strings.Contains(string(got[0].Rows[0].Row), `"email":"a***@example.com"`) || strings.Contains(string(got[0].Rows[0].Row), "versions") {
		t.Errorf("%+v %s", got, got[0].Rows)
	}
	if code, _, _ := command(t, "events", "get", "evt-2", "--replica", "sqlite://"+filepath.Join(t.TempDir(), "none.db")); code != exitNotFound {
		t.Errorf("a copy that is not there: %d", code)
	}
}

func TestTrace(t *testing.T) {
	server := someUsers(t, 3)
	server.Do("XGROUP", "CREATE", users, "g", "2-0")
	got := asJSONOf[[]tracedJSON](t, "trace", "req-7")
	if len(got) != 3 || got[0].ID != "1-0" || got[1].Groups[0].State != "settled" || got[2].Groups[0].State != "unread" {
		t.Errorf("%+v", got)
	}
	if code, stdout, _ := command(t, "trace", "req-7"); code != exitOK || !strings.Contains(stdout, "g: not delivered yet") ||
		strings.Count(stdout, "2026-01-02 03:04:05Z") != 3 {
		t.Errorf("%d: %s", code, stdout)
	}
	if code, _, _ := command(t, "trace", "req-8"); code != exitNotFound {
		t.Errorf("%d", code)
	}
}

func TestParsePlace(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]string{
		"5": "5-0", "5-7": "5-7", "15m": fmt.Sprint(now.Add(-15*time.Minute).UnixMilli()) + "-0", "2d": fmt.Sprint(now.Add(-48*time.Hour).UnixMilli()) + "-0",
		"2026-01-02T03:04:05Z": fmt.Sprint(now.UnixMilli()) + "-0", "2026-01-02 04:04:05+01:00": fmt.Sprint(now.UnixMilli()) + "-0", "": "", "soon": "", "-5m": "", "1-2-3": "",
	} {
		if got, err := parsePlace("--to", text, now); got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	// A time is taken as a table shows it, wherever that is.
	shown := timeCell(now.In(time.FixedZone("", 3600)))
	if got, err := parsePlace("--to", shown, now); shown != "2026-01-02 03:04:05Z" || err != nil || got != fmt.Sprint(now.UnixMilli())+"-0" {
		t.Errorf("%q: %q, %v", shown, got, err)
	}
	if got, err := parseEnd("--until", "2026-01-02T03:04:05Z", now); err != nil || !strings.HasSuffix(got, "-18446744073709551615") {
		t.Errorf("%q, %v", got, err)
	}
}
