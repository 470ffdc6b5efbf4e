package wire_test

import (
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

const (
	tenant = "00000000-0000-0000-0000-000000000001"
	userID = "c8e9f140-be15-4656-9046-bfee3eae7a38"
)

var decoder = wire.Decoder{Now: func() time.Time { return time.Date(2025, 12, 4, 12, 0, 0, 0, time.UTC) }}

// entry makes an entry of name, value, name, value, ...
func entry(stream string, pairs ...string) wire.Entry {
	e := wire.Entry{Stream: stream, ID: wire.ID{Ms: 1764849600000}} // 2025-12-04T12:00:00Z
	var fields []events.Field
	for i := 0; i < len(pairs); i += 2 {
		fields = append(fields, events.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	e.Fields = events.FieldsOf(fields...)
	return e
}

func userEntry() wire.Entry {
	return entry("crm:sync:user:user_created",
		"streamId", "crm:sync:user:user_created",
		"messageId", "1764849600000-abc123def",
		"timestamp", "2025-12-04T10:00:00.000Z",
		"sourceApp", "wrapper-api",
		"eventType", "user_created",
		"entityType", "user",
		"entityId", userID,
		"tenantId", tenant,
		"action", "created",
		"data", `{"userId":"`+userID+`","email":"user@example.com"}`,
		"metadata", `{"correlationId":"c","version":"1.0","retryCount":0}`,
	)
}

func creditEntry() wire.Entry {
	return entry("credit-events",
		"eventId", "evt_1764849600000_abc",
		"eventType", "credit.allocated",
		"tenantId", tenant,
		"entityId", "org-1",
		"amount", "1000",
		"timestamp", "2025-12-04T10:00:00.000Z",
		"source", "wrapper",
		"metadata", `{}`,
	)
}

func assignmentEntry() wire.Entry {
	return entry("crm:organization-assignments",
		"eventId", "e-1",
		"eventType", "organization.assignment.created",
		"source", "wrapper-app",
		"version", "1.1",
		"timestamp", "2025-12-04T10:00:00.000Z",
		"tenantId", tenant,
		"data", `{"assignmentId":"a-1","userId":"u-1","organizationId":"o-1","priority":1}`,
	)
}

func ackEntry() wire.Entry {
	return entry("acknowledgments",
		"acknowledgmentId", "ack_1_a",
		"originalEventId", "evt_1",
		"status", "processed",
		"timestamp", "2025-12-04T10:00:00.000Z",
		"source", "crm",
		"acknowledgmentData", "{}",
	)
}

func interAppEntry() wire.Entry {
	return entry("inter-app-events",
		"eventId", "inter_1_a",
		"eventType", "employee.updated",
		"sourceApplication", "crm",
		"targetApplication", "hr",
		"tenantId", tenant,
		"entityId", "e-1",
		"timestamp", "2025-12-04T10:00:00.000Z",
		"eventData", "{}",
		"publishedBy", "system",
	)
}

// with returns e with a field set, appended when it is new.
func with(e wire.Entry, name, value string) wire.Entry {
	fields := e.Fields.List()
	if i := slices.IndexFunc(fields, func(f events.Field) bool { return f.Name == name }); i >= 0 {
		fields[i].Value = value
		e.Fields = events.FieldsOf(fields...)
		return e
	}
	return plus(e, name, value)
}

func without(e wire.Entry, name string) wire.Entry {
	e.Fields = events.FieldsOf(slices.DeleteFunc(e.Fields.List(), func(f events.Field) bool { return f.Name == name })...)
	return e
}

func plus(e wire.Entry, name, value string) wire.Entry {
	e.Fields = events.FieldsOf(append(e.Fields.List(), events.Field{Name: name, Value: value})...)
	return e
}

func on(stream string, e wire.Entry) wire.Entry {
	e.Stream = stream
	return e
}

func TestDecodeRefuses(t *testing.T) {
	user, credit, assignment, ack, inter := userEntry(), creditEntry(), assignmentEntry(), ackEntry(), interAppEntry()
	nested := func(depth int) string {
		return strings.Repeat(`{"a":`, depth-1) + "{}" + strings.Repeat("}", depth-1)
	}
	manyFields := user
	for i := range 54 {
		manyFields = plus(manyFields, fmt.Sprintf("extra%d", i), "x")
	}
	large := user
	for i := range 5 {
		large = plus(large, fmt.Sprintf("extra%d", i), strings.Repeat("x", 250<<10))
	}
	tests := []struct {
		name   string
		entry  wire.Entry
		reason wire.Reason
		field  string
	}{
		{"no fields", entry("credit-events"), wire.MissingField, "eventType"},
		{"no event type", without(user, "eventType"), wire.MissingField, "eventType"},
		{"event type undefined", with(user, "eventType", "undefined"), wire.MissingField, "eventType"},
		{"event type of 10 KB", with(user, "eventType", strings.Repeat("x", 10<<10)), wire.BadID, "eventType"},
		{"no tenant", without(user, "tenantId"), wire.MissingField, "tenantId"},
		{"tenant empty", with(user, "tenantId", ""), wire.MissingField, "tenantId"},
		{"tenant null", with(user, "tenantId", "null"), wire.MissingField, "tenantId"},
		{"tenant undefined", with(user, "tenantId", "undefined"), wire.MissingField, "tenantId"},
		{"no tenant, inter-app", without(inter, "tenantId"), wire.MissingField, "tenantId"},
		{"tenant glob", with(user, "tenantId", "acme:*"), wire.BadTenant, "tenantId"},
		{"tenant path", with(user, "tenantId", "../x"), wire.BadTenant, "tenantId"},
		{"tenant dots", with(user, "tenantId", ".."), wire.BadTenant, "tenantId"},
		{"tenant braces", with(user, "tenantId", "a}b{c"), wire.BadTenant, "tenantId"},
		{"tenant of 300 bytes", with(user, "tenantId", strings.Repeat("a", 300)), wire.BadTenant, "tenantId"},
		{"tenant with NUL", with(user, "tenantId", "a\x00"), wire.BadTenant, "tenantId"},
		{"tenant of an acknowledgment", plus(ack, "tenantId", "acme:*"), wire.BadTenant, "tenantId"},
		{"another tenant's stream", on("credit-events:acme", credit), wire.TenantMismatch, "tenantId"},
		{"another tenant's assignments", on("crm:organization-assignments:acme", assignment), wire.TenantMismatch, "tenantId"},

		{"no data", without(user, "data"), wire.MissingField, "data"},
		{"no data, assignment", without(assignment, "data"), wire.MissingField, "data"},
		{"data broken", with(user, "data", `{bad`), wire.BadJSON, "data"},
		{"data cut", with(user, "data", `{"userId":"u"`), wire.BadJSON, "data"},
		{"data empty", with(user, "data", ``), wire.BadJSONType, "data"},
		{"data empty string", with(user, "data", `""`), wire.BadJSONType, "data"},
		{"data null", with(user, "data", `null`), wire.BadJSONType, "data"},
		{"data array", with(user, "data", `[]`), wire.BadJSONType, "data"},
		{"data string", with(user, "data", `"s"`), wire.BadJSONType, "data"},
		{"data number", with(user, "data", `5`), wire.BadJSONType, "data"},
		{"data encoded twice", with(user, "data", `"\"{}\""`), wire.BadJSONType, "data"},
		{"data broken in a string", with(user, "data", `"{bad"`), wire.BadJSON, "data"},
		{"data broken in bare quotes", with(user, "data", `"{"a":}"`), wire.BadJSON, "data"},
		{"data with a word behind", with(user, "data", `{} x`), wire.BadJSON, "data"},
		{"data twice", with(user, "data", `{}{}`), wire.BadJSON, "data"},
		{"data with BOM", with(user, "data", "\ufeff{}"), wire.BadJSON, "data"},
		{"data not UTF-8", with(user, "data", "{\"userId\":\"\xff\"}"), wire.BadUTF8, "data"},
		{"lone high surrogate", with(user, "data", `{"userId":"\ud800x"}`), wire.BadUTF8, "data"},
		{"lone low surrogate", with(user, "data", `{"userId":"\udc00"}`), wire.BadUTF8, "data"},
		{"control character", with(user, "data", "{\"userId\":\"a\nb\"}"), wire.BadJSON, "data"},
		{"name twice", with(user, "data", `{"userId":"a","userId":"b"}`), wire.DuplicateKey, "data"},
		{"name twice by an escape", with(user, "data", `{"userId":"a","user\u0049d":"b"}`), wire.DuplicateKey, "data"},
		{"name twice but for case", with(user, "data", `{"userId":"a","USERID":"b"}`), wire.DuplicateKey, "data"},
		{"name twice by folding", with(user, "data", `{"userId":"a","key":1,"\u212aey":2}`), wire.DuplicateKey, "data"},
		{"name twice inside", with(user, "data", `{"userId":"a","x":[{"b":1,"b":2}]}`), wire.DuplicateKey, "data"},
		{"name twice in metadata", with(user, "metadata", `{"a":1,"A":2}`), wire.DuplicateKey, "metadata"},
		{"33 levels", with(user, "data", nested(33)), wire.TooDeep, "data"},
		{"10,000 levels", with(user, "data", nested(10_000)), wire.TooDeep, "data"},
		{"100,000 open brackets", with(user, "data", strings.Repeat("[", 100_000)), wire.TooDeep, "data"},
		{"many tokens", with(user, "data", "["+strings.Repeat("{},", 60_000)+"{}]"), wire.TooManyTokens, "data"},
		{"1 MiB of tokens", with(user, "data", "["+strings.Repeat("{},", 349_000)+"{}]"), wire.TooLarge, "data"},
		{"field of 300 KiB", with(user, "data", `{"userId":"`+strings.Repeat("x", 300<<10)+`"}`), wire.TooLarge, "data"},
		{"entry above 1 MiB", large, wire.TooLarge, "entry"},
		{"65 fields", manyFields, wire.TooLarge, "entry"},
		{"field twice", plus(user, "tenantId", "other"), wire.DuplicateField, "tenantId"},
		{"unknown field twice", plus(plus(user, "x", "1"), "x", "1"), wire.DuplicateField, "field 13"},
		{"empty field name", plus(user, "", "x"), wire.EmptyField, "field 12"},

		{"number beyond range", with(user, "data", `{"userId":"u","n":1e400}`), wire.BadNumber, "data"},
		{"number below range", with(user, "data", `{"userId":"u","n":1e-400}`), wire.BadNumber, "data"},
		{"number of 500 digits", with(user, "data", `{"userId":"u","n":`+strings.Repeat("1", 500)+`}`), wire.BadNumber, "data"},
		{"fraction for an int", with(assignment, "data", `{"assignmentId":"a","priority":1.5}`), wire.BadNumber, "data.priority"},
		{"int beyond 64 bits", with(assignment, "data", `{"assignmentId":"a","priority":9223372036854775808}`), wire.BadNumber, "data.priority"},
		{"number for a string", with(user, "data", `{"userId":"u","email":5}`), wire.BadJSONType, "data.email"},
		{"number for an id", with(user, "data", `{"userId":12345678901234567890}`), wire.BadJSONType, "data.userId"},
		{"string for a bool", with(user, "data", `{"userId":"u","isActive":"yes"}`), wire.BadJSONType, "data.isActive"},
		{"array for changes", with(with(assignment, "eventType", "organization.assignment.updated"), "data", `{"assignmentId":"a","changes":[]}`), wire.BadJSONType, "data.changes"},
		{"array for permissions", on("crm:sync:permissions:role_updated", with(with(user, "eventType", "role_updated"), "data", `{"roleId":"r","permissions":[]}`)), wire.BadJSONType, "data.permissions"},

		{"amount negative", with(credit, "amount", "-5"), wire.Validation, "amount"},
		{"amount NaN", with(credit, "amount", "NaN"), wire.Validation, "amount"},
		{"amount null", with(credit, "amount", "null"), wire.Validation, "amount"},
		{"amount quoted", with(credit, "amount", `"5"`), wire.Validation, "amount"},
		{"amount empty", with(credit, "amount", ``), wire.Validation, "amount"},
		{"amount hexadecimal", with(credit, "amount", `0x10`), wire.Validation, "amount"},
		{"amount with a plus", with(credit, "amount", `+5`), wire.Validation, "amount"},
		{"amount beyond range", with(credit, "amount", `1e400`), wire.BadNumber, "amount"},
		{"amount small and negative", with(credit, "amount", `-1e-9`), wire.Validation, "amount"},
		{"no amount", without(credit, "amount"), wire.MissingField, "amount"},
		{"amount a string in data", on("crm:sync:credits:credit_allocated", with(with(user, "eventType", "credit_allocated"), "data", `{"entityId":"o","amount":"5"}`)), wire.Validation, "data.amount"},
		{"amount negative in data", on("crm:sync:credits:credit_allocated", with(with(user, "eventType", "credit_allocated"), "data", `{"entityId":"o","allocatedCredits":-1}`)), wire.Validation, "data.allocatedCredits"},
		{"amount null in data", on("crm:sync:credits:credit_consumed", with(with(user, "eventType", "credit_consumed"), "data", `{"entityId":"o","amount":null}`)), wire.Validation, "data.amount"},
		{"no amount in data", on("crm:sync:credits:credit_allocated", with(with(user, "eventType", "credit_allocated"), "data", `{"entityId":"o"}`)), wire.MissingField, "data.amount"},
		{"credit of nobody", with(credit, "entityId", "undefined"), wire.MissingField, "data.entityId"},
		{"credit without entity", without(credit, "entityId"), wire.MissingField, "data.entityId"},

		{"timestamp no date", with(user, "timestamp", "not-a-date"), wire.BadTimestamp, "timestamp"},
		{"timestamp a number", with(user, "timestamp", "1764849600000"), wire.BadTimestamp, "timestamp"},
		{"timestamp without zone", with(user, "timestamp", "2025-12-04T10:00:00.000"), wire.BadTimestamp, "timestamp"},
		{"timestamp of the year 9999", with(user, "timestamp", "9999-12-31T23:59:59.999Z"), wire.BadTimestamp, "timestamp"},
		{"timestamp two days ahead", with(user, "timestamp", "2025-12-06T12:00:00.000Z"), wire.BadTimestamp, "timestamp"},
		{"timestamp before the year 1", with(user, "timestamp", "0000-01-01T00:00:00+23:00"), wire.BadTimestamp, "timestamp"},
		{"time in data before the year 1", with(user, "data", `{"userId":"u","createdAt":"0001-01-01T00:00:00+01:00"}`), wire.BadTimestamp, "data.createdAt"},
		{"time in data beyond the year 9999", with(user, "data", `{"userId":"u","createdAt":"9999-12-31T23:59:59-01:00"}`), wire.BadTimestamp, "data.createdAt"},
		{"time in data no date", with(user, "data", `{"userId":"u","createdAt":"yesterday"}`), wire.BadTimestamp, "data.createdAt"},

		{"event id of 10 KB", with(credit, "eventId", strings.Repeat("x", 10<<10)), wire.BadID, "eventId"},
		{"message id with ESC", with(user, "messageId", "a\x1b[0m"), wire.BadID, "messageId"},
		{"entity id with NUL", with(user, "entityId", "a\x00b"), wire.BadID, "entityId"},
		{"user id with NUL", with(user, "data", `{"userId":"a\u0000b"}`), wire.BadID, "data.userId"},
		{"user id of 600 bytes", with(user, "data", `{"userId":"`+strings.Repeat("x", 600)+`"}`), wire.BadID, "data.userId"},

		{"user of nobody", with(with(user, "entityId", "undefined"), "data", `{"email":"a@b.c"}`), wire.MissingField, "data.userId"},
		{"user id null", with(with(user, "entityId", "null"), "data", `{"userId":null}`), wire.MissingField, "data.userId"},
		{"inter-app of nobody", with(inter, "entityId", "null"), wire.MissingField, "entityId"},
		{"inter-app data array", with(inter, "eventData", "[]"), wire.BadJSONType, "eventData"},
		{"inter-app data broken", with(inter, "eventData", "{bad"), wire.BadJSON, "eventData"},
		{"status unknown", with(ack, "status", "done"), wire.Validation, "status"},
		{"no status", without(ack, "status"), wire.MissingField, "status"},
		{"acknowledgment of nothing", without(ack, "originalEventId"), wire.MissingField, "originalEventId"},
		{"version 3", with(assignment, "version", "3.0"), wire.UnsupportedVersion, "version"},
		{"version 3 in metadata", with(user, "metadata", `{"version":"3.1"}`), wire.UnsupportedVersion, "metadata.version"},
		{"event no object", entry("crm:organization-assignments", "event", "[]"), wire.BadJSONType, "event"},
		{"event broken", entry("crm:organization-assignments", "event", "{"), wire.BadJSON, "event"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env, refusal := decoder.Decode(&tt.entry)
			if env == nil || env.Stream != tt.entry.Stream || env.ID != tt.entry.ID.String() || env.Identity == "" || env.Time.IsZero() {
				t.Fatalf("envelope lacks what is known of every entry: %+v", env)
			}
			if refusal == nil {
				t.Fatalf("accepted, data %s; want %s", env.Data, tt.reason)
			}
			if refusal.Reason != tt.reason || refusal.Field != tt.field {
				t.Errorf("got %v, want %s: %s", refusal, tt.field, tt.reason)
			}
		})
	}
}

func TestDecodeAccepts(t *testing.T) {
	user, credit, assignment, ack, inter := userEntry(), creditEntry(), assignmentEntry(), ackEntry(), interAppEntry()
	manyFields := user
	for i := range 53 {
		manyFields = plus(manyFields, fmt.Sprintf("extra%d", i), "x")
	}
	deep := strings.Repeat(`{"a":`, 31) + "{}" + strings.Repeat("}", 31)
	tests := []struct {
		name    string
		entry   wire.Entry
		data    string // "" where it does not matter
		warning string // "" for none
	}{
		{"plain", user, `{"userId":"` + userID + `","email":"user@example.com"}`, ""},
		{"64 fields", manyFields, "", ""},
		{"32 levels", with(user, "data", `{"userId":"`+userID+`","a":`+deep[5:]), "", ""},
		{"NUL in text", with(user, "data", `{"userId":"`+userID+`","name":"a\u0000b"}`), `{"userId":"` + userID + `","name":"a\u0000b"}`, ""},
		{"surrogate pair", with(user, "data", `{"userId":"`+userID+`","name":"\ud83c\udf89"}`), "", ""},
		{"unknown field of binary name", plus(user, "\xff\xfe", "\x00"), "", ""},
		{"entity id no UUID", with(with(user, "entityId", "evt_1"), "data", `{"userId":"evt_1"}`), "", ""},
		{"numeric id stays a string", with(with(user, "entityId", "12345678901234567890"), "data", `{}`), `{"userId":"12345678901234567890"}`, ""},
		{"large number", with(user, "data", `{"userId":"`+userID+`","n":9007199254740993,"z":-0}`), `{"userId":"` + userID + `","n":9007199254740993,"z":-0}`, ""},
		{"amount exact", with(credit, "amount", "9007199254740993.000000001"), `{"entityId":"org-1","amount":9007199254740993.000000001}`, ""},
		{"amount in exponent form", with(credit, "amount", "1e+21"), `{"entityId":"org-1","amount":1e+21}`, ""},
		{"amount zero", with(credit, "amount", "0"), `{"entityId":"org-1","amount":0}`, ""},
		{"amount minus zero", with(credit, "amount", "-0.0"), `{"entityId":"org-1","amount":-0.0}`, ""},
		{"allocation in metadata", with(credit, "metadata", `{"allocationId":"a","reason":"purchase","x":{}}`), `{"entityId":"org-1","amount":1000,"allocationId":"a","reason":"purchase"}`, ""},
		{"numeric allocation id", with(credit, "metadata", `{"allocationId":12345678901234567890}`), `{"entityId":"org-1","amount":1000,"allocationId":"12345678901234567890"}`, ""},
		{"metadata of another kind", with(credit, "metadata", `{"reason":5}`), `{"entityId":"org-1","amount":1000}`, "metadata.reason: bad_json_type, left out"},
		{"credits of the tenant", with(credit, "entityId", "null"), `{"amount":1000,"entityId":"` + tenant + `"}`, ""},
		{"allocation id in sync metadata", on("crm:sync:credits:credit_allocated", with(with(with(user, "eventType", "credit_allocated"), "data", `{"entityId":"o","allocatedCredits":7}`), "metadata", `{"allocationId":"a"}`)), `{"entityId":"o","allocatedCredits":7,"amount":7,"allocationId":"a"}`, ""},
		{"metadata broken", with(user, "metadata", `{bad`), "", "metadata: no JSON object, taken as empty"},
		{"metadata an array", with(user, "metadata", `[]`), "", "metadata: no JSON object, taken as empty"},
		{"metadata empty", with(user, "metadata", ``), "", "metadata: no JSON object, taken as empty"},
		{"no metadata", without(user, "metadata"), "", ""},
		{"no timestamp", without(user, "timestamp"), "", ""},
		{"timestamp with offset", with(user, "timestamp", "2025-12-04T12:00:00+02:00"), "", ""},
		{"timestamp with its quotes", with(user, "timestamp", `"2025-12-04T10:00:00.000Z"`), "", ""},
		{"timestamp 10 minutes ahead", with(user, "timestamp", "2025-12-04T12:10:00.000Z"), "", "timestamp: ahead of this clock"},
		{"no message id", without(user, "messageId"), "", "eventId: absent, taken from the entry's place"},
		{"forged tenant in data", with(user, "data", `{"userId":"`+userID+`","tenantId":"other"}`), "", "data.tenantId: another tenant than the envelope's, ignored"},
		{"another entity id", with(user, "entityId", "other"), "", "entityId: differs from data.userId, ignored"},
		{"version 2.7", with(assignment, "version", "2.7"), "", ""},
		{"version no number", with(assignment, "version", "next"), "", ""},
		{"re-published assignment", without(without(assignment, "source"), "version"), "", ""},
		{"assignment without id", with(assignment, "data", `{"userId":"u","organizationId":"o"}`), `{"userId":"u","organizationId":"o","assignmentId":"u_o"}`, ""},
		{"own tenant's stream", on("credit-events:"+tenant, credit), "", ""},
		{"retry copy", on("credit-events:retry", credit), "", ""},
		{"dead letter of another system", on("credit-events:dlq", credit), "", ""},
		{"inter-app without data", without(inter, "eventData"), `{}`, ""},
		{"inter-app without target", without(inter, "targetApplication"), `{}`, "targetApplication: absent"},
		{"acknowledgment without id", without(ack, "acknowledgmentId"), "", "eventId: absent, taken from the entry's place"},
		{"data from flat fields", plus(plus(plus(without(user, "data"), "userId", userID), "isActive", "false"), "createdAt", "undefined"), `{"userId":"` + userID + `","isActive":false}`, "data: absent, taken from the fields beside it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			env, refusal := decoder.Decode(&tt.entry)
			if refusal != nil {
				t.Fatalf("refused: %v", refusal)
			}
			if tt.data != "" && string(env.Data) != tt.data {
				t.Errorf("data %s\nwant %s", env.Data, tt.data)
			}
			want := []string{tt.warning}
			if tt.warning == "" {
				want = nil
			}
			if !slices.Equal(env.Warnings, want) {
				t.Errorf("warnings %q, want %q", env.Warnings, want)
			}
		})
	}
}

func TestDecodeUnknownTypeIsNotRefused(t *testing.T) {
	e := with(with(userEntry(), "eventType", "user.promoted"), "tenantId", "undefined")
	env, refusal := decoder.Decode(&e)
	if refusal != nil {
		t.Fatalf("refused: %v", refusal)
	}
	if env.Type != nil || env.WireType != "user.promoted" || env.Tenant != "" || env.Entity.ID != userID {
		t.Errorf("got %+v", env)
	}
}

// The reasons are stored and are a metric's label: no name or value of the
// entry may get into a refusal.
func TestRefusalsNameNothingOfTheEntry(t *testing.T) {
	const secret = "s3cr3t"
	user := userEntry()
	for _, e := range []wire.Entry{
		plus(plus(user, secret, "1"), secret, "1"),
		with(user, "tenantId", secret+"*"),
		with(user, "timestamp", secret),
		with(user, "data", `{"userId":"u","`+secret+`":1,"`+secret+`":2}`),
		with(user, "data", `{"userId":"u","email":{"a":"`+secret+`"}}`),
		with(user, "data", `{"userId":"`+secret+`\u0000"}`),
		with(creditEntry(), "amount", secret),
		with(assignmentEntry(), "version", "3."+secret),
	} {
		_, refusal := decoder.Decode(&e)
		if refusal == nil {
			t.Fatal("accepted")
		}
		if strings.Contains(refusal.Error(), secret) {
			t.Errorf("refusal repeats the entry: %v", refusal)
		}
	}
}

func TestDecodeCopiesOfAGroup(t *testing.T) {
	e := on("{crm:sync:user:user_created}:retry:crm-consumers", without(userEntry(), "messageId"))
	e.ID = wire.ID{Ms: 1764850000000}
	e = plus(plus(e, "freshet-stream", "crm:sync:user:user_created"), "freshet-id", "1764849600000-7")
	for i := range 60 {
		e = plus(e, fmt.Sprintf("freshet-%d", i), "x") // ours do not count
	}
	env, refusal := decoder.Decode(&e)
	if refusal != nil {
		t.Fatal(refusal)
	}
	if env.Type == nil || env.Type.Name != "user_created" {
		t.Errorf("type %v", env.Type)
	}
	if want := "crm:sync:user:user_created/1764849600000-7"; env.Identity != want {
		t.Errorf("identity %s, want the original's %s", env.Identity, want)
	}
	if env.Fields != e.Fields {
		t.Errorf("fields %v, want all %v as read", env.Fields.List(), e.Fields.List())
	}
}

func TestDecodeHostileJSONIsCheap(t *testing.T) {
	var names strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&names, `"k%d":1,`, i)
	}
	for _, tt := range []struct {
		name, data string
		limit      int // bytes allocated
	}{
		{"deep", strings.Repeat("[", 250_000), 10_000},
		{"wide", "[" + strings.Repeat("{},", 80_000) + "{}]", 10_000},
		{"names", "{" + names.String() + `"last":1}`, 2 << 20},
	} {
		e := with(userEntry(), "data", tt.data)
		least := uint64(math.MaxUint64)
		for range 20 { // the collector, or the race detector, may have emptied the pool
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if _, refusal := decoder.Decode(&e); refusal == nil {
				t.Errorf("%s: accepted", tt.name)
			}
			runtime.ReadMemStats(&after)
			least = min(least, after.TotalAlloc-before.TotalAlloc)
		}
		if least > uint64(tt.limit) {
			t.Errorf("%s: %d bytes allocated, at most %d", tt.name, least, tt.limit)
		}
	}
}

// TestFlatFieldsAreNotBlownUp: payload fields that stand beside the envelope are
// put together as JSON, where a control character takes six bytes.
func TestFlatFieldsAreNotBlownUp(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		refused    bool
	}{
		{"plain", strings.Repeat("n", 200_000), false},
		{"lines", strings.Repeat("a line\n", 30_000), false},
		{"quotes", strings.Repeat(`"`, 200_000), false},
		{"controls", strings.Repeat("\x01", 200_000), true},
		{"controls in many fields", strings.Repeat("\x01", 200), true},
		{"a control", "\x01" + strings.Repeat("n", 100), false},
		{"few controls", strings.Repeat("\x01", 100), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fields := []events.Field{
				{Name: "eventType", Value: "user_created"}, {Name: "tenantId", Value: "t"}, {Name: "userId", Value: "u"},
				{Name: "email", Value: "ada@example.com"}, {Name: "createdAt", Value: "2025-12-04T10:00:00.000Z"}, {Name: "notes", Value: tt.text},
			}
			for n := range 50 {
				if tt.name == "controls in many fields" {
					fields = append(fields, events.Field{Name: fmt.Sprint("f", n), Value: tt.text})
				}
			}
			e := wire.Entry{Stream: "crm:sync:user:user_created", ID: wire.ID{Ms: 1764842400000}, Fields: events.FieldsOf(fields...)}
			env, refusal := decoder.Decode(&e)
			if tt.refused != (refusal != nil && refusal.Reason == wire.TooLarge) || !tt.refused && refusal != nil {
				t.Errorf("%+v", refusal)
			}
			var data struct{ Notes string }
			if err := json.Unmarshal(env.Data, &data); !tt.refused && (err != nil || data.Notes != tt.text) {
				t.Errorf("data of %d bytes, %v", len(env.Data), err)
			}
			checkAllocation(t, &e)
		})
	}
}

// TestWholeEventOfATenantsCredits: a credit without an entity is the tenant's,
// also where the event is one JSON object.
func TestWholeEventOfATenantsCredits(t *testing.T) {
	for _, none := range []string{`null`, `"null"`} {
		e := entry("credit-events", "event", `{"eventType":"credit.allocated","eventId":"e-1","tenantId":"t","entityType":"organization","entityId":`+none+
			`,"amount":"1","timestamp":"2025-12-04T10:00:00.000Z","metadata":{"allocationId":"a-1"}}`)
		env, refusal := decoder.Decode(&e)
		if refusal != nil || env.Entity.ID != "t" {
			t.Errorf("%s: %+v, %+v", none, env.Entity, refusal)
		}
	}
}
