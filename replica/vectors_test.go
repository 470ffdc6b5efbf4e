package replica_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// recorded decodes the entries that production publishers wrote, those that
// the decoder takes and the copy is for.
func recorded(t *testing.T) []*events.Envelope {
	t.Helper()
	files, err := filepath.Glob("../internal/wire/testdata/vectors/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	types := open(t).Types()
	decoder := wire.Decoder{Now: func() time.Time { return time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC) }}
	var all []*events.Envelope
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(text))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			env, refusal := decoder.Decode(entry(t, lines.Bytes()))
			if refusal == nil && slices.Contains(types, env.Type) {
				all = append(all, env)
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// entry reads {"stream", "id", "fields"}; fields are an object, whose order
// does not matter here.
func entry(t *testing.T, line []byte) *wire.Entry {
	t.Helper()
	var raw struct {
		Stream, ID string
		Fields     map[string]string
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		t.Fatal(err)
	}
	id, err := wire.ParseID(raw.ID)
	if err != nil {
		t.Fatal(err)
	}
	e := &wire.Entry{Stream: raw.Stream, ID: id}
	var fields []events.Field
	for name, value := range raw.Fields {
		fields = append(fields, events.Field{Name: name, Value: value})
	}
	e.Fields = events.FieldsOf(fields...)
	return e
}

// What the decoder takes the copy can apply, in either direction.
func TestRecordedEntries(t *testing.T) {
	all := recorded(t)
	if len(all) < 60 {
		t.Fatalf("only %d recorded entries are for the copy", len(all))
	}
	forth, back := open(t), open(t)
	apply(t, forth, all...)
	slices.Reverse(all)
	for _, env := range all {
		apply(t, back, env)
	}
	if diff := cmp.Diff(dump(t, forth), dump(t, back)); diff != "" {
		t.Error("-forth +back\n" + diff)
	}
	checkLedger(t, forth)
	// One allocation of 1000 on two streams, the copy without an id; one of 10.
	got := query(t, forth, "SELECT allocated, consumed, balance FROM credit_balances WHERE tenant_id = '00000000-0000-4000-8000-000000000001'")
	if want := "allocated=1010 consumed=51 balance=959"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
