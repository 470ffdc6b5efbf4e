package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/freshet/freshet/internal/redistest"
)

// freshetOutput runs one command in this process, which must succeed.
func freshetOutput(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr); code != exitOK {
		t.Fatalf("freshet %s: exit code %d\n%s", strings.Join(args, " "), code, &stderr)
	}
	return stdout.String()
}

// recorded returns the entries recorded from the suite's publishers as
// commands that add them, the n-th with the id n-0. They are dated a year back,
// for they were recorded by a clock that may be ahead of this one.
func recorded(t *testing.T) (commands [][]string) {
	t.Helper()
	files, err := filepath.Glob("../../internal/wire/testdata/vectors/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded entries: %v", err)
	}
	yearBack := strings.NewReplacer("2026-11-23T", "2025-11-23T", "1795462", "1763926")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(yearBack.Replace(string(text))) {
			var entry struct {
				Stream string
				Fields json.RawMessage
			}
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatal(err)
			}
			id := fmt.Sprintf("%d-0", len(commands)+1)
			commands = append(commands, append([]string{"XADD", entry.Stream, id}, namesAndValues(t, entry.Fields)...))
		}
	}
	return commands
}

// namesAndValues keeps the order of an object of strings.
func namesAndValues(t *testing.T, object json.RawMessage) (list []string) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(object))
	for {
		token, err := d.Token()
		if err == io.EOF {
			return list
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := token.(string); ok {
			list = append(list, s)
		}
	}
}

func TestTailOfRecordedEntries(t *testing.T) {
	server := redistest.Start(t)
	commands := recorded(t)
	for _, command := range commands {
		if err, failed := server.Do(command...).(redistest.Error); failed {
			t.Fatalf("%v: %v", command, err)
		}
	}
	got := freshetOutput(t, "tail", "--from", "0", "--exit-at-end", "-o", "jsonl", "--redis", server.URL())
	if n := strings.Count(got, "\n"); n != len(commands) {
		t.Errorf("%d lines for %d entries", n, len(commands))
	}
	golden := "testdata/recorded.jsonl"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", golden, diff)
	}
}

// The keys of every line are the same ones, but that a refused entry has its
// error in the place of data.
func TestTailKeys(t *testing.T) {
	text, err := os.ReadFile("testdata/recorded.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for line := range strings.Lines(string(text)) {
		var got map[string]json.RawMessage
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		want := []string{"stream", "id", "type", "wire_type", "identity", "tenant", "entity", "time", "source", "action", "data", "metadata"}
		if got["error"] != nil {
			want[10] = "error"
			refused++
		}
		for _, key := range want {
			if _, ok := got[key]; !ok {
				t.Errorf("no %s in %s", key, line)
			}
		}
		if len(got) != len(want) {
			t.Errorf("more than %v in %s", want, line)
		}
	}
	if refused == 0 {
		t.Error("no refused entry")
	}
}

func TestTailWritesNoControls(t *testing.T) {
	server := redistest.Start(t)
	for _, hostile := range []string{"\x1b[31mred", "\r\nline", "\u202egnp.exe", "\u2028line", "\u0085line", "\xff\xfe", "\x00", "\U000e0041tag"} {
		data, err := json.Marshal(map[string]string{"userId": "u-1", "name": hostile, hostile: "x"})
		if err != nil {
			t.Fatal(err)
		}
		raw := bytes.ReplaceAll(data, []byte(`\u202e`), []byte("\u202e"))
		for _, fields := range [][]string{
			{"eventType", "user_created", "tenantId", "acme", "data", string(raw)},
			{"eventType", "user_created", "tenantId", "acme", "sourceApp", hostile, "metadata", string(raw), "data", `{"userId":"u-1"}`},
			{"eventType", hostile, "tenantId", hostile, "entityId", hostile, "data", hostile},
			{"eventType", "user_created", "tenantId", "acme", "data", "{" + hostile},
		} {
			if err, failed := server.Do(append([]string{"XADD", "crm:sync:user:user_created", "*"}, fields...)...).(redistest.Error); failed {
				t.Fatal(err)
			}
		}
	}
	for _, format := range []string{"table", "json", "jsonl"} {
		got := freshetOutput(t, "tail", "--from", "0", "--exit-at-end", "--reveal", "-o", format, "--redis", server.URL())
		for i, r := range got {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Errorf("-o %s: %U in the output: …%q", format, r, got[max(i-60, 0):i])
				break
			}
		}
		if format == "json" && !json.Valid([]byte(got)) {
			t.Error("-o json: not JSON")
		}
		if format == "table" && strings.Count(got, "\n") != 1+8*4 {
			t.Errorf("-o table: %d lines, want a header and 32 rows", strings.Count(got, "\n"))
		}
	}
}

// A document that is interrupted is whole.
func TestTailInterrupted(t *testing.T) {
	server := redistest.Start(t)
	freshetOutput(t, "trigger", "user_created", "--count", "2", "--redis", server.URL())
	ctx, interrupt := context.WithCancel(t.Context())
	r, w := io.Pipe()
	code := make(chan int)
	go func() {
		defer w.Close()
		code <- run(ctx, []string{"tail", "--from", "0", "-o", "json", "--redis", server.URL()}, strings.NewReader(""), w, io.Discard)
	}()
	lines := bufio.NewReader(r)
	var got bytes.Buffer
	for range 2 {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		got.WriteString(line)
	}
	interrupt()
	closing, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	got.WriteString(closing)
	if c := <-code; c != exitOK {
		t.Errorf("exit code %d", c)
	}
	var entries []map[string]any
	if err := json.Unmarshal(got.Bytes(), &entries); err != nil || len(entries) != 2 {
		t.Errorf("%d entries, %v:\n%s", len(entries), err, &got)
	}
}
