package wire_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

var update = flag.Bool("update", false, "rewrite testdata/golden.jsonl; review every line of the difference")

// vectorNow is a minute after the last recorded entry was written.
var vectorNow = time.Date(2026, 11, 23, 19, 40, 0, 0, time.UTC)

// vector is one entry as a production publisher wrote it.
type vector struct {
	name   string // "v1.jsonl:3"
	source string
	entry  wire.Entry
}

func vectors(t testing.TB) []vector {
	t.Helper()
	files, err := filepath.Glob("testdata/vectors/*.jsonl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	var all []vector
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for n := 1; lines.Scan(); n++ {
			v, err := readVector(lines.Bytes())
			if err != nil {
				t.Fatalf("%s:%d: %v", file, n, err)
			}
			v.name = fmt.Sprintf("%s:%d", filepath.Base(file), n)
			all = append(all, v)
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if len(all) != 128 {
		t.Fatalf("%d vectors, want 128", len(all))
	}
	return all
}

func readVector(line []byte) (vector, error) {
	var raw struct {
		Source, Stream, ID string
		Fields             json.RawMessage
	}
	if err := json.Unmarshal(line, &raw); err != nil {
		return vector{}, err
	}
	id, err := wire.ParseID(raw.ID)
	if err != nil {
		return vector{}, err
	}
	v := vector{source: raw.Source, entry: wire.Entry{Stream: raw.Stream, ID: id}}
	d := json.NewDecoder(bytes.NewReader(raw.Fields)) // keeps the order
	if _, err := d.Token(); err != nil {
		return v, err
	}
	var fields []events.Field
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return v, err
		}
		value, err := d.Token()
		if err != nil {
			return v, err
		}
		fields = append(fields, events.Field{Name: name.(string), Value: value.(string)})
	}
	v.entry.Fields = events.FieldsOf(fields...)
	return v, nil
}

// golden is what a vector must decode to.
type golden struct {
	Vector      string          `json:"vector"`
	Stream      string          `json:"stream"`
	Type        string          `json:"type"` // "?" when the catalogue does not know it
	WireType    string          `json:"wire_type"`
	Tenant      string          `json:"tenant"`
	Entity      string          `json:"entity"`
	Identity    string          `json:"identity"`
	Time        string          `json:"time"`
	Origin      string          `json:"origin"` // source, target, published by
	Correlation string          `json:"correlation,omitempty"`
	Data        json.RawMessage `json:"data,omitempty"`
	Warnings    []string        `json:"warnings,omitempty"`
	Refusal     string          `json:"refusal,omitempty"`
}

func goldenOf(v vector, env *events.Envelope, refusal *wire.Refusal) golden {
	g := golden{
		Vector:      v.name,
		Stream:      env.Stream,
		Type:        "?",
		WireType:    env.WireType,
		Tenant:      env.Tenant,
		Entity:      env.Entity.Type + " " + env.Entity.ID,
		Identity:    env.Identity,
		Time:        env.Time.Format(time.RFC3339Nano),
		Origin:      env.Source + ">" + env.Target + " " + env.PublishedBy,
		Correlation: env.CorrelationID,
		Data:        env.Data,
		Warnings:    env.Warnings,
	}
	if env.Type != nil {
		g.Type = fmt.Sprintf("%T", env.Type.New())[len("*events."):]
	}
	if refusal != nil {
		g.Refusal = refusal.Error()
	}
	return g
}

func TestDecodeVectors(t *testing.T) {
	decoder := wire.Decoder{Now: func() time.Time { return vectorNow }}
	var got bytes.Buffer
	e := json.NewEncoder(&got)
	e.SetEscapeHTML(false)
	for _, v := range vectors(t) {
		env, refusal := decoder.Decode(&v.entry)
		if err := e.Encode(goldenOf(v, env, refusal)); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if refusal == nil && env.Type != nil {
			if err := decodePayload(env); err != nil {
				t.Errorf("%s: %v", v.name, err)
			}
		}
	}
	const file = "testdata/golden.jsonl"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
	if len(gotLines) != len(wantLines) {
		t.Fatalf("%d lines, want %d", len(gotLines), len(wantLines))
	}
	for i := range gotLines {
		if gotLines[i] != wantLines[i] {
			t.Errorf("line %d\n got %s\nwant %s", i+1, gotLines[i], wantLines[i])
		}
	}
}

// decodePayload decodes data into the Go type, as a handler would get it.
func decodePayload(env *events.Envelope) error {
	_, err := payloadOf(env)
	return err
}

func payloadOf(env *events.Envelope) (events.Payload, error) {
	switch env.Type.New().(type) {
	case *events.UserCreated:
		return typed[events.UserCreated](env)
	case *events.UserDeactivated:
		return typed[events.UserDeactivated](env)
	case *events.UserDeleted:
		return typed[events.UserDeleted](env)
	case *events.RoleAssigned:
		return typed[events.RoleAssigned](env)
	case *events.RoleUnassigned:
		return typed[events.RoleUnassigned](env)
	case *events.RoleUpdated:
		return typed[events.RoleUpdated](env)
	case *events.RolePermissionsChanged:
		return typed[events.RolePermissionsChanged](env)
	case *events.RoleCreated:
		return typed[events.RoleCreated](env)
	case *events.AppRoleUpdated:
		return typed[events.AppRoleUpdated](env)
	case *events.RoleDeleted:
		return typed[events.RoleDeleted](env)
	case *events.OrgCreated:
		return typed[events.OrgCreated](env)
	case *events.AssignmentCreated:
		return typed[events.AssignmentCreated](env)
	case *events.AssignmentUpdated:
		return typed[events.AssignmentUpdated](env)
	case *events.AssignmentDeactivated:
		return typed[events.AssignmentDeactivated](env)
	case *events.AssignmentActivated:
		return typed[events.AssignmentActivated](env)
	case *events.AssignmentDeleted:
		return typed[events.AssignmentDeleted](env)
	case *events.CreditAllocated:
		return typed[events.CreditAllocated](env)
	case *events.CreditConsumed:
		return typed[events.CreditConsumed](env)
	case *events.CreditAllocatedSync:
		return typed[events.CreditAllocatedSync](env)
	case *events.CreditConsumedSync:
		return typed[events.CreditConsumedSync](env)
	case *events.CreditConfigUpdated:
		return typed[events.CreditConfigUpdated](env)
	case *events.AppUserCreated:
		return typed[events.AppUserCreated](env)
	case *events.InterApp:
		return typed[events.InterApp](env)
	case *events.Acknowledgment:
		return typed[events.Acknowledgment](env)
	}
	return nil, fmt.Errorf("%T: not in this test", env.Type.New())
}

func typed[T events.Payload](env *events.Envelope) (events.Payload, error) {
	return events.Decode[T](env)
}

// docs/wire.md lists the vectors that are refused and those of unknown types.
func TestDocumentedRefusals(t *testing.T) {
	doc, err := os.ReadFile("../../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	d := wire.Decoder{Now: func() time.Time { return vectorNow }}
	var want []string
	refused, unknown := 0, 0
	for _, v := range vectors(t) {
		switch env, refusal := d.Decode(&v.entry); {
		case refusal != nil:
			refused++
			want = append(want, fmt.Sprintf("| %s | `%s` | %s |", v.name, env.Stream, refusal))
		case env.Type == nil:
			unknown++
			want = append(want, fmt.Sprintf("| %s | `%s` | %s |", v.name, env.Stream, env.WireType))
		}
	}
	want = append(want, fmt.Sprintf("Of the 128, %d are refused; %d more are of a type that is unknown.", refused, unknown))
	for _, line := range want {
		if !strings.Contains(string(doc), line+"\n") {
			t.Errorf("docs/wire.md lacks %s", line)
		}
	}
	if rows := strings.Count(string(doc), ".jsonl:"); rows != refused+unknown {
		t.Errorf("docs/wire.md has %d rows of vectors, want %d", rows, refused+unknown)
	}
}

// A consumer of the default streams reads every vector's.
func TestDefaultStreamsCoverTheVectors(t *testing.T) {
	for _, v := range vectors(t) {
		if !slices.ContainsFunc(events.Streams(), func(glob string) bool {
			ok, err := path.Match(glob, v.entry.Stream)
			return ok && err == nil
		}) {
			t.Errorf("%s: no pattern for %s", v.name, v.entry.Stream)
		}
	}
}
