package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/fake"
	"github.com/freshet/freshet/internal/redistest"
)

func TestRunDrainsTheRecordedEntries(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	recorded, refused := addRecorded(t, server)
	copyFile := filepath.Join(t.TempDir(), "suite.db")
	drain := func(group string) freshet.Stats {
		t.Helper()
		out := freshetCommand(t, "run", "--redis", server.URL(), "--group", group, "--replica", "sqlite://"+copyFile, "--drain", "-o", "json")
		var stats freshet.Stats
		d := json.NewDecoder(strings.NewReader(out))
		d.DisallowUnknownFields()
		if err := d.Decode(&stats); err != nil || d.More() {
			t.Fatalf("stdout %q: %v", out, err)
		}
		return stats
	}

	stats := drain("first")
	if n := stats.Handled + stats.Ignored + stats.Filtered + stats.DeadLettered; n != int64(recorded) {
		t.Errorf("%d entries accounted for, want %d: %+v", n, recorded, stats)
	}
	if !allSettled(server, "first") {
		t.Error("not everything is settled")
	}
	if letters := deadLetters(server, "first"); !maps.Equal(letters, refused) {
		t.Errorf("dead letters\n%v\nwant\n%v", letters, refused)
	}
	rows := dump(t, copyFile)

	if again := drain("second"); again != stats {
		t.Errorf("a second group has %+v, want %+v", again, stats)
	}
	if got := dump(t, copyFile); got != rows {
		t.Errorf("the second group changed the copy\nfrom\n%s\nto\n%s", rows, got)
	}
}

// addRecorded adds the recorded production entries to their streams and
// returns how many there are, and stream/id with the reason of those that
// have to be refused.
func addRecorded(t *testing.T, server *redistest.Server) (count int, refused map[string]string) {
	t.Helper()
	const testdata = "../../internal/wire/testdata/"
	reasons := map[string]string{} // "v1.jsonl:3" → reason
	for _, line := range readLines(t, testdata+"golden.jsonl") {
		var golden struct{ Vector, Refusal string }
		if err := json.Unmarshal(line, &golden); err != nil {
			t.Fatal(err)
		}
		if golden.Refusal != "" {
			_, reason, _ := strings.Cut(golden.Refusal, ": ") // "amount: validation (must be a number)"
			reasons[golden.Vector], _, _ = strings.Cut(reason, " ")
		}
	}
	files, err := filepath.Glob(testdata + "vectors/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	refused = map[string]string{}
	for _, file := range files {
		for i, line := range readLines(t, file) {
			var recorded struct {
				Stream string
				Fields json.RawMessage
			}
			if err := json.Unmarshal(line, &recorded); err != nil {
				t.Fatal(err)
			}
			id, ok := server.Do(append([]string{"XADD", recorded.Stream, "*"}, members(t, recorded.Fields)...)...).(string)
			if !ok {
				t.Fatalf("%s:%d was not added", file, i+1)
			}
			count++
			if reason := reasons[fmt.Sprintf("%s:%d", filepath.Base(file), i+1)]; reason != "" {
				refused[recorded.Stream+"/"+id] = reason
			}
		}
	}
	if count != 128 || len(refused) != len(reasons) {
		t.Fatalf("%d entries and %d refusals, want 128 and %d", count, len(refused), len(reasons))
	}
	return count, refused
}

// members returns names and values of a JSON object in their order.
func members(t *testing.T, object json.RawMessage) []string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(object))
	var list []string
	for {
		token, err := d.Token()
		if err != nil {
			return list
		}
		if s, ok := token.(string); ok {
			list = append(list, s)
		}
	}
}

func readLines(t *testing.T, file string) [][]byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Split(bytes.TrimSpace(text), []byte("\n"))
}

// publishFake publishes n events of a story.
func publishFake(t *testing.T, server *redistest.Server, suite *fake.Suite, n int) {
	t.Helper()
	bus, err := freshet.Open(t.Context(), freshet.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	for n > 0 {
		batch := make([]freshet.Message, min(n, 100))
		for i := range batch {
			batch[i] = suite.Next()
		}
		for _, r := range bus.PublishBatch(t.Context(), batch) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		n -= len(batch)
	}
}

func TestRunFinishesWhatIsInHandOnSIGTERM(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	const published = 5_000
	publishFake(t, server, fake.New(1, []string{"acme", "globex"}), published)
	args := []string{"run", "--redis", server.URL(), "--app", "crm", "--replica", "sqlite://" + filepath.Join(t.TempDir(), "suite.db"), "--max-in-flight", "500"}

	p := start(t, nil, args...)
	eventually(t, "something is read", func() bool {
		reply, _ := server.Do("XPENDING", "credit-events", "crm-copy").([]any)
		return len(reply) > 0 && reply[0] != int64(0)
	})
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Fatalf("exit %d\n%s", code, p.stderr.String())
	}
	if n := pending(server, "crm-copy"); n != 0 {
		t.Errorf("%d entries pending, though the process was told to finish", n)
	}
	if s := p.stdout.String(); s != "" {
		t.Errorf("stdout = %q, want nothing", s)
	}
	first := stoppedCounts(t, p.stderr.String())
	if first == 0 || first == published {
		t.Errorf("%d of %d events were handled before the end: the signal came too early or too late", first, published)
	}

	var rest freshet.Stats
	if err := json.Unmarshal([]byte(freshetCommand(t, append(args, "--drain", "-o", "json")...)), &rest); err != nil {
		t.Fatal(err)
	}
	if got := first + rest.Handled + rest.Ignored; got != published {
		t.Errorf("%d events in two runs, want %d", got, published)
	}
}

func TestRunSaysThatADrainWasInterrupted(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes")
	const stream = "crm:sync:user:user_created"
	server.Do("XGROUP", "CREATE", stream, "g", "0", "MKSTREAM")
	server.Do("XADD", stream, "*", "eventType", "user_created", "tenantId", "acme", "data", `{"userId":"u1"}`)
	server.Do("XREADGROUP", "GROUP", "g", "somebody", "STREAMS", stream, ">") // and has it in hand
	server.Do("XADD", stream, "*", "eventType", "user_created", "tenantId", "acme", "data", `{"userId":"u2"}`)
	p := start(t, nil, "run", "--redis", server.URL(), "--group", "g", "--replica", "sqlite://"+filepath.Join(t.TempDir(), "suite.db"), "--drain", "-o", "json")
	eventually(t, "what can be handled is", func() bool {
		consumers, _ := server.Do("XPENDING", stream, "g").([]any)
		groups := fmt.Sprint(server.Do("XINFO", "GROUPS", stream))
		return consumers[0] == int64(1) && strings.Contains(groups, "lag 0")
	})
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != exitFailure || !strings.Contains(p.stderr.String(), "before everything was handled") {
		t.Errorf("exit %d\n%s", code, p.stderr.String())
	}
	if want := `{"handled":1,"ignored":0,"filtered":0,"dead_lettered":0,"retried":0,"lost_trimmed":0,"lost_unread":0,"lost_acks":0,"groups_recreated":0,"streams_set_back":0}` + "\n"; p.stdout.String() != want {
		t.Errorf("stdout %q, want %q", p.stdout.String(), want)
	}
}

// stoppedCounts returns how many events a service logged to have settled.
func stoppedCounts(t *testing.T, log string) int64 {
	t.Helper()
	for lines := bufio.NewScanner(strings.NewReader(log)); lines.Scan(); {
		var line struct {
			Msg    string
			Counts freshet.Stats
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "stopped" {
			return line.Counts.Handled + line.Counts.Ignored
		}
	}
	t.Fatalf("no counts in the log:\n%s", log)
	return 0
}

func TestRunWithoutServer(t *testing.T) {
	port, err := redistest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, nil, "run", "--redis", fmt.Sprintf("redis://:SECRET@127.0.0.1:%d", port), "--replica", "sqlite://"+filepath.Join(t.TempDir(), "suite.db"))
	if code := p.exit(t); code != exitUnreachable || strings.Contains(p.stderr.String(), "SECRET") {
		t.Errorf("exit %d, want %d\n%s", code, exitUnreachable, p.stderr.String())
	}
}

func TestRunSurvivesTheLossOfTheServer(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	suite := fake.New(2, []string{"acme"})
	publishFake(t, server, suite, 1000) // enough for an event on every stream
	p := start(t, nil, "run", "--redis", server.URL(), "--group", "g", "--replica", "sqlite://"+filepath.Join(t.TempDir(), "suite.db"))
	settled := func() bool { return allSettled(server, "g") }
	eventually(t, "all is handled", settled)
	server.Restart()
	publishFake(t, server, suite, 100)
	eventually(t, "all is handled after the restart", settled)
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t); code != 0 {
		t.Errorf("exit %d\n%s", code, p.stderr.String())
	}
}

func TestDrainShowsWhatIsOutOfTheOrdinary(t *testing.T) {
	for _, test := range []struct {
		stats freshet.Stats
		want  string
	}{
		{freshet.Stats{Handled: 117, LostTrimmed: 1, LostUnread: 2}, "" +
			"HANDLED  IGNORED  FILTERED  DEAD-LETTERED  RETRIED  LOST\n" +
			"117      0        0         0              0        3\n"},
		{freshet.Stats{LostAcks: 3, GroupsRecreated: 1, StreamsSetBack: 2}, "" +
			"HANDLED  IGNORED  FILTERED  DEAD-LETTERED  RETRIED  LOST  LOST ACKS  RE-CREATED  SET BACK\n" +
			"0        0        0         0              0        0     3          1           2\n"},
		{freshet.Stats{GroupsRecreated: 1}, "" +
			"HANDLED  IGNORED  FILTERED  DEAD-LETTERED  RETRIED  LOST  RE-CREATED\n" +
			"0        0        0         0              0        0     1\n"},
	} {
		var stdout bytes.Buffer
		if err := (&cli{stdout: &stdout, output: "table"}).printCounts(test.stats); err != nil || stdout.String() != test.want {
			t.Errorf("got\n%s, %v, want\n%s", &stdout, err, test.want)
		}
	}
}
