package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// FuzzPublishData takes what stands behind --data for a type. What is accepted
// can be put on a stream, and read from it again.
func FuzzPublishData(f *testing.F) {
	for _, seed := range []struct{ typeName, data string }{
		{"user_created", `{"userId":"u-1","email":"ada@example.com","createdAt":"2025-12-04T10:00:00Z"}`},
		{"user_created", `{"userId":"u-1","email":"ada@example.com","createdAt":"2025-12-04T10:00:00Z","userid":"u-2"}`},
		{"user_created", `{"userId":"u-1","userId":"u-2"}`},
		{"user_created", `{"userId":"a\u0000b","email":"\ud800","createdAt":"0000-01-01T00:00:00+23:59"}`},
		{"user_created", `{"userId":"` + strings.Repeat("x", 300) + `"}`},
		{"role_updated", `{"app":"crm","roleId":"r","roleName":"admin","permissions":["a","a"]}`},
		{"credit.allocated", `{"amount":"1e400","metadata":{"metadata":{"metadata":{}}}}`},
		{"credit.allocated", `{"amount":0.1,"entityId":"e-1"}`},
		{"inter-app:employee.updated", `{"targetApplication":"hr","entityId":"u-1","eventData":{"title":"CTO"}}`},
		{"inter-app:user.created", `{"targetApplication":"hr","userId":"u-1","email":"e"}`},
		{"inter-app:\xff", `{}`},
		{"nobody_knows", `{}`},
		{"user_created", strings.Repeat(`{"a":`, 10_000)},
		{"user_created", "\ufeff{}"},
		{"user_created", `null`},
		{"user_created", `{} {}`},
		{"user_created", `[]`},
	} {
		f.Add(seed.typeName, []byte(seed.data))
	}
	f.Fuzz(func(t *testing.T, typeName string, data []byte) {
		p := publishing{typeName: typeName, tenant: "acme"}
		message, err := p.message(data, "")
		if err != nil {
			if len(err.Error()) > 2000+2*len(typeName) {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if !json.Valid(data) {
			t.Errorf("not JSON, and accepted: %q", data)
		}
		stream, fields, _, err := wire.Encode(wire.Outgoing{Tenant: message.Tenant, Payload: message.Payload, Source: "fuzz"})
		if field := (*events.FieldError)(nil); errors.As(err, &field) {
			return // such as too large for an entry
		}
		if err != nil {
			t.Fatalf("%q is no field's fault: %v", data, err)
		}
		var d wire.Decoder
		entry := wire.Entry{Stream: stream, ID: wire.ID{Ms: 1764849600000}, Fields: events.FieldsOf(fields...)}
		env, refusal := d.Decode(&entry)
		if refusal != nil {
			t.Fatalf("%s %q is published as %q and refused: %v", typeName, data, fields, refusal)
		}
		if env.Type != message.Payload.Type() {
			t.Errorf("%s %q is read as %s", typeName, data, env.TypeName())
		}
	})
}

// FuzzPublishLines takes standard input as --data - reads it: each line that
// is not blank has its number and is a message or an error.
func FuzzPublishLines(f *testing.F) {
	const good = `{"userId":"u-1","email":"ada@example.com","createdAt":"2025-12-04T10:00:00Z"}`
	for _, text := range []string{
		good + "\n" + good,
		"\n\n" + good + "\r\n \t\n{}\nnull",
		good + good + "\n" + good + " x\n",
		"{\n" + good + "\n}",
		"\ufeff" + good + "\n\xff\n\x00\n",
		"\v\n\u00a0\n\u2028\n" + good,
	} {
		f.Add([]byte(text), uint16(0))
	}
	f.Add([]byte(good+"\nx\n"+good), uint16(3))
	f.Fuzz(func(t *testing.T, text []byte, long uint16) {
		// Now and then a line is longer than any may be.
		if long%64 == 3 {
			text = append(bytes.Repeat([]byte("x"), maxLine+int(long)), text...)
		}
		p := publishing{cli: &cli{stdin: bytes.NewReader(text)}, typeName: "user_created", tenant: "acme", key: "k"}
		got := make(chan line, bytes.Count(text, []byte("\n"))+1)
		p.readLines(t.Context(), got)
		close(got)
		for i, raw := range bytes.Split(text, []byte("\n")) {
			if len(bytes.TrimSpace(raw)) == 0 {
				continue
			}
			l, ok := <-got
			if !ok || l.number != i+1 || l.broken {
				t.Fatalf("line %d came as %d, %t, broken %t", i+1, l.number, ok, l.broken)
			}
			switch {
			case l.err == nil && !json.Valid(raw):
				t.Errorf("line %d is no JSON, and taken: %q", i+1, raw)
			case l.err == nil && l.message.Key != fmt.Sprintf("k-%d", i+1):
				t.Errorf("line %d has the key %q", i+1, l.message.Key)
			}
		}
		if l, more := <-got; more {
			t.Errorf("line %d came from nowhere", l.number)
		}
	})
}
