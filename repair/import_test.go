package repair_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/repair"
)

// export returns all dead letters as lines, sorted by stream and entry.
func (x tools) export(t *testing.T) (lines []string) {
	t.Helper()
	for _, l := range x.letters(t) {
		line, err := json.Marshal(repair.RecordOf(l))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(line))
	}
	return lines
}

func parse(t *testing.T, lines []string) (records []repair.Record) {
	t.Helper()
	for _, line := range lines {
		record, err := repair.ParseRecord([]byte(line))
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		records = append(records, record)
	}
	return records
}

func TestExportAndImport(t *testing.T) {
	from, to := open(t), open(t)
	hostile := []string{"a", "1", "a", "\xff\x00", "\xc3", "", "<b>&\u2028", "\uFFFD\"\\\n", "freshet-id", "x", "e", "{\"base64\":\"\"}"}
	for i := range 250 {
		from.put(t, []string{created, deleted}[i%2], fmt.Sprintf("%d-0", i+1), hostile...)
	}
	want := from.export(t)
	records := parse(t, want)
	result, err := to.Importer().Import(t.Context(), records)
	if err != nil || result != (repair.ImportResult{Imported: 250}) {
		t.Fatalf("%+v, %v", result, err)
	}
	if got := to.export(t); !slices.Equal(got, want) {
		t.Error("what was imported is exported otherwise")
	}
	if got, was := to.letters(t)[0].Record, from.letters(t)[0].Record; !slices.Equal(got, was) {
		t.Errorf("%q, was %q", got, was)
	}

	// A second time; and when half of it was dropped.
	importer := to.Importer()
	for range 2 {
		if result, err := importer.Import(t.Context(), records); err != nil || result != (repair.ImportResult{Present: 250}) {
			t.Errorf("again: %+v, %v", result, err)
		}
	}
	if _, err := to.Drop(t.Context(), to.refs(t)[:100]); err != nil {
		t.Fatal(err)
	}
	if result, err := to.Importer().Import(t.Context(), slices.Concat(records, records)); err != nil || result != (repair.ImportResult{Imported: 100, Present: 400}) {
		t.Errorf("after a drop: %+v, %v", result, err)
	}
	if got := to.export(t); !slices.Equal(got, want) {
		t.Error("after a drop: exported otherwise")
	}
}

// What a consumer of this group did not handle is redriven where it was
// imported.
func TestImportedIsRedriven(t *testing.T) {
	from, to := open(t), open(t)
	from.put(t, created, "7-0", "eventType", "user_created", "tenantId", "acme", "data", `{"userId":"u-1"}`)
	if _, err := to.Importer().Import(t.Context(), parse(t, from.export(t))); err != nil {
		t.Fatal(err)
	}
	to.redrive(t)
	h := &handler{}
	drain(t, to.consumer("g", h))
	if got := h.list(); !slices.Equal(got, []string{"user_created u-1 attempt 1"}) {
		t.Errorf("handled %q", got)
	}
}

// Two imports at once, while others are dead-lettered, store each once.
func TestImportsAtOnce(t *testing.T) {
	from, to := open(t), open(t)
	for i := range 400 {
		from.put(t, created, fmt.Sprintf("%d-0", i+1), "n", "1")
	}
	records := parse(t, from.export(t))
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for part := range slices.Chunk(records, 10) {
				if _, err := to.Importer().Import(t.Context(), part); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 50 {
		to.put(t, created, fmt.Sprintf("%d-0", 1000+i), "n", "1")
	}
	all.Wait()
	ids := map[string]int{}
	for _, ref := range to.refs(t) {
		ids[ref.EntryID]++
	}
	for id, n := range ids {
		if n != 1 {
			t.Errorf("%s is there %d times", id, n)
		}
	}
	if len(ids) != 450 {
		t.Errorf("%d dead letters, want 450", len(ids))
	}
}

const own = `["freshet-stream","s"],["freshet-id","1-0"],["freshet-group","g"],["freshet-consumer","c"],["freshet-attempts","8"],` +
	`["freshet-reason","r"],["freshet-error","e"],["freshet-first-failed","2026-01-02T03:04:05.678Z"],["freshet-last-failed",""]`

func TestParseRecordRefuses(t *testing.T) {
	line := func(fields string) string { return `{"stream":"s","group":"g","fields":[` + fields + `]}` }
	good := line(`["a","1"],` + own)
	if _, err := repair.ParseRecord([]byte(good)); err != nil {
		t.Fatalf("%s: %v", good, err)
	}
	for _, test := range []struct{ line, want string }{
		{``, "ends too early"},
		{`{"stream":"s"`, "ends too early"},
		{`{]`, "bad JSON at byte 2"},
		{`[]`, "must be an object"},
		{`null`, "stream and group are required"},
		{good + `{}`, "behind the object"},
		{good[:len(good)-1] + `,"id":"1-0"}`, `unknown field "id"`},
		{strings.Replace(good, `"s"`, `5`, 1), "text must be a string"},
		{strings.Replace(good, `"s"`, `null`, 1), "text must be a string"},
		{strings.Replace(good, `"g"`, `""`, 1), "stream and group are required"},
		{strings.Replace(good, `"s"`, `"a}:dlq:b"`, 1), "stream: not possible"},
		{strings.Replace(good, `"1"`, `"\ud800"`, 1), "text must be a string"},
		{strings.Replace(good, `"1"`, "\"\xff\"", 1), "not UTF-8"},
		{strings.Replace(good, `"1"`, `{"base64":"*"}`, 1), "text must be a string"},
		{strings.Replace(good, `"1"`, `{"base65":""}`, 1), "text must be a string"},
		{strings.Replace(good, `"1"`, `{}`, 1), "text must be a string"},
		{line(`["a","1","2"],` + own), "number 1 is no pair"},
		{line(own + `,["a"]`), "number 10 is no pair"},
		{line(`"a",` + own), "fields: must be a list of pairs"},
		{line(`["a","1"]`), "must end with the fields of a dead letter"},
		{line(own + `,["a","1"]`), "must end with the fields of a dead letter"},
		{strings.Replace(good, `["freshet-stream","s"]`, `["freshet-stream","x"]`, 1), "freshet-stream: not the same"},
		{strings.Replace(good, `["freshet-group","g"]`, `["freshet-group","x"]`, 1), "freshet-group: not the same"},
		{strings.Replace(good, `"1-0"`, `"one"`, 1), "freshet-id: must be an entry id"},
		{strings.Replace(good, `"8"`, `"-8"`, 1), "freshet-attempts: must be a number"},
		{strings.Replace(good, `"2026-01-02T03:04:05.678Z"`, `"yesterday"`, 1), "freshet-first-failed: must be a time"},
		{strings.Replace(good, `"freshet-last-failed",""`, `"freshet-last-failed","x"`, 1), "freshet-last-failed: must be a time"},
		{line(strings.Repeat(`["a","1"],`, 3501) + own), "fields: 3510, at most 3509"},
	} {
		_, err := repair.ParseRecord([]byte(test.line))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%.200s\n%v, want %q", test.line, err, test.want)
		}
	}
}

// Whatever the bytes, a record is the same after JSON.
func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.Custom(func(t *rapid.T) string { return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) })
		word := rapid.StringMatching(`[a-z:]{1,20}`)
		r := repair.Record{Stream: word.Draw(t, "stream"), Group: word.Draw(t, "group")}
		for range rapid.IntRange(0, 5).Draw(t, "fields") {
			r.Fields = append(r.Fields, events.Field{Name: text.Draw(t, "name"), Value: rapid.OneOf(text, rapid.String()).Draw(t, "value")})
		}
		for _, f := range [][2]string{{"stream", r.Stream}, {"id", "1-2"}, {"group", r.Group}, {"consumer", text.Draw(t, "consumer")}, {"attempts", "1"},
			{"reason", text.Draw(t, "reason")}, {"error", text.Draw(t, "error")}, {"first-failed", ""}, {"last-failed", ""}} {
			r.Fields = append(r.Fields, events.Field{Name: "freshet-" + f[0], Value: f[1]})
		}
		line, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := repair.ParseRecord(line)
		if err != nil || got.Stream != r.Stream || got.Group != r.Group || !slices.Equal(got.Fields, r.Fields) {
			t.Fatalf("%s\n%+v, %v, want %+v", line, got, err, r)
		}
	})
}
