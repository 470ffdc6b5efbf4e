package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// unpublishable are the vectors of era v1 that our publisher would refuse:
// they lack what the guide, or a consumer, requires.
var unpublishable = map[string]string{
	"v1.jsonl:3":  "data.createdAt",
	"v1.jsonl:4":  "data.email",
	"v1.jsonl:31": "data.assignedBy",
}

// What production wrote, decoded and encoded again, is what production wrote:
// the same fields in the same order, the same text, the same JSON.
func TestEncodeVectorsAgain(t *testing.T) {
	d := wire.Decoder{Now: func() time.Time { return vectorNow }}
	for _, v := range vectors(t) {
		if !strings.HasPrefix(v.name, "v1.") {
			continue
		}
		env, refusal := d.Decode(&v.entry)
		if refusal != nil {
			continue // the golden file has the reason
		}
		p, err := payloadOf(env)
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		m := wire.Outgoing{Tenant: env.Tenant, Payload: p, Source: env.Source, Time: env.Time}
		if strings.Contains(v.source, "caller metadata") {
			if err := json.Unmarshal(env.Metadata, &m.Metadata); err != nil {
				t.Fatal(err)
			}
			delete(m.Metadata, "sourceTimestamp")
		}
		stream, fields, _, err := wire.Encode(m)
		if field, refused := unpublishable[v.name]; refused {
			var fieldError *events.FieldError
			if !errors.As(err, &fieldError) || fieldError.Field != field {
				t.Errorf("%s: %v, want an error on %s", v.name, err, field)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		if stream != v.entry.Stream {
			t.Errorf("%s: stream %s", v.name, stream)
		}
		got, want := publishFree(t, fields), publishFree(t, v.entry.Fields.List())
		for i := range want {
			switch f := &want[i]; {
			case f.Name == "entityType" && env.Type.Name == "role_updated": // the guide says role, and so do we
				f.Value = "role"
			case f.Name == "entityId" && f.Value == "null": // credits of the tenant, by its name
				f.Value = env.Tenant
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s %s\n%s", v.name, v.source, diff)
		}
	}
}

var (
	trailingMs = regexp.MustCompile(`_\d+$`)
	randomID   = regexp.MustCompile(`^(|[A-Za-z_]+_)\d{13}([-_])[0-9a-z]{8,}$`)
	uuidForm   = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
)

// publishFree takes from fields what differs from publish to publish, and from
// JSON what means the same.
func publishFree(t *testing.T, fields []events.Field) []events.Field {
	t.Helper()
	fields = slices.Clone(fields)
	for i := range fields {
		f := &fields[i]
		switch f.Name {
		case "eventId", "messageId", "acknowledgmentId":
			if uuidForm.MatchString(f.Value) {
				f.Value = "uuid"
			} else if m := randomID.FindStringSubmatch(f.Value); m != nil {
				f.Value = m[1] + "ms" + m[2] + "random"
			}
		case "userId":
			if f.Value == "null" { // a word for absence, which we do not write
				f.Value = ""
			}
		case "amount":
			f.Value = decimal.RequireFromString(f.Value).String()
		case "data", "metadata", "eventData", "acknowledgmentData":
			var v map[string]any
			d := json.NewDecoder(strings.NewReader(f.Value))
			d.UseNumber()
			if err := d.Decode(&v); err != nil {
				t.Fatalf("%s: %v", f.Name, err)
			}
			if f.Name == "data" { // null and absent mean the same
				for name, value := range v {
					if value == nil {
						delete(v, name)
					}
				}
			}
			if id, ok := v["correlationId"].(string); ok {
				v["correlationId"] = trailingMs.ReplaceAllString(id, "_ms")
			}
			if at, ok := v["sourceTimestamp"].(string); ok {
				v["sourceTimestamp"] = at[:len("2006-01-02T15:04:05")] // written some ms later
			}
			sorted, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			f.Value = string(sorted)
		}
	}
	return fields
}

func TestEncodeIsExact(t *testing.T) {
	at := time.Date(2025, 12, 4, 10, 0, 0, 0, time.UTC)
	_, fields, id, err := wire.Encode(wire.Outgoing{
		Tenant: tenant,
		Payload: events.UserCreated{
			UserID:    "u-1",
			Email:     "<zoë@exämple.com>",
			Name:      "数据 & \"x\"\n\u2028\x00",
			CreatedAt: at.In(time.FixedZone("", 3600)),
		},
		Key:           "k",
		CorrelationID: "c-1",
		Traceparent:   "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		Source:        "hr",
		Time:          at,
		Metadata:      map[string]any{"retryCount": 2, "tag": "<b>", "a": nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []events.Field{
		{Name: "streamId", Value: "crm:sync:user:user_created"},
		{Name: "messageId", Value: id},
		{Name: "timestamp", Value: "2025-12-04T10:00:00.000Z"},
		{Name: "sourceApp", Value: "hr"},
		{Name: "eventType", Value: "user_created"},
		{Name: "entityType", Value: "user"},
		{Name: "entityId", Value: "u-1"},
		{Name: "tenantId", Value: tenant},
		{Name: "action", Value: "created"},
		{Name: "data", Value: `{"userId":"u-1","email":"<zoë@exämple.com>","name":"数据 & \"x\"\n` + "\u2028" + `\u0000","createdAt":"2025-12-04T10:00:00.000Z"}`},
		{Name: "metadata", Value: `{"correlationId":"c-1","version":"1.0","retryCount":2,"sourceTimestamp":"2025-12-04T10:00:00.000Z",` +
			`"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","a":null,"tag":"<b>"}`},
	}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Error(diff)
	}
}

func TestEncodeRefuses(t *testing.T) {
	user := events.UserCreated{UserID: "u", Email: "e", CreatedAt: time.Now()}
	big := user
	big.Name = strings.Repeat("x", 300<<10)
	notText := user
	notText.Name = "\xff"
	many := map[string]any{}
	for i := range 11_000 {
		many[strings.Repeat("k", i%50)+string(rune('a'+i/50%26))+string(rune('a'+i/1300))] = make([]int, 20)
	}
	tests := []struct {
		name  string
		m     wire.Outgoing
		field string
	}{
		{"nothing", wire.Outgoing{Tenant: tenant}, "data"},
		{"nil pointer", wire.Outgoing{Tenant: tenant, Payload: (*events.UserCreated)(nil)}, "data"},
		{"no tenant", wire.Outgoing{Payload: user}, "tenantId"},
		{"tenant null", wire.Outgoing{Tenant: "null", Payload: user}, "tenantId"},
		{"tenant glob", wire.Outgoing{Tenant: "acme:*", Payload: user}, "tenantId"},
		{"source with ESC", wire.Outgoing{Tenant: tenant, Payload: user, Source: "a\x1b[0m"}, "source"},
		{"source not UTF-8", wire.Outgoing{Tenant: tenant, Payload: user, Source: "\xff"}, "source"},
		{"field of 300 KiB", wire.Outgoing{Tenant: tenant, Payload: big}, "data"},
		{"not UTF-8", wire.Outgoing{Tenant: tenant, Payload: notText}, "data.name"},
		{"too many tokens", wire.Outgoing{Tenant: tenant, Payload: user, Metadata: many}, "metadata"},
		{"no JSON form", wire.Outgoing{Tenant: tenant, Payload: user, Metadata: map[string]any{"f": func() {}}}, "metadata"},
		{"year 10000", wire.Outgoing{Tenant: tenant, Payload: user, Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "timestamp"},
		{"inter-app data an array", wire.Outgoing{Tenant: tenant, Payload: events.InterApp{EventType: "a.b", Target: "hr", EntityID: "e", Data: json.RawMessage("[]")}}, "eventData"},
		{"inter-app name twice", wire.Outgoing{Tenant: tenant, Payload: events.InterApp{EventType: "a.b", Target: "hr", EntityID: "e", Data: json.RawMessage(`{"a":1,"A":2}`)}}, "data"},
		{"amount out of range", wire.Outgoing{Tenant: tenant, Payload: events.CreditAllocated{EntityID: "o", Amount: decimal.New(1, 1_000_000_000)}}, "data.amount"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, fields, _, err := wire.Encode(tt.m)
			var fieldError *events.FieldError
			if !errors.As(err, &fieldError) || fieldError.Field != tt.field {
				t.Errorf("%v, want an error on %s", err, tt.field)
			}
			if fields != nil {
				t.Errorf("fields %v beside an error", fields)
			}
		})
	}
}

func TestIdempotencyKeyMakesTheID(t *testing.T) {
	at := time.Now()
	payloads := []events.Payload{
		events.UserCreated{UserID: "u", Email: "e", CreatedAt: at},
		events.AssignmentDeleted{AssignmentID: "a", UserID: "u", OrganizationID: "o"},
		events.CreditAllocated{EntityID: "o", Amount: decimal.NewFromInt(1)},
		events.InterApp{EventType: "a.b", Target: "hr", EntityID: "e"},
		events.InterApp{EventType: "a.c", Target: "hr", EntityID: "e"},
		events.RoleCreated{App: "hr", RoleID: "r"},
		events.RoleCreated{App: "crm", RoleID: "r"},
		events.RolePermissionsChanged{RoleID: "r"},
		events.Acknowledgment{OriginalEventID: "e", Status: events.AckProcessed},
	}
	seen := map[string]bool{}
	id := func(tenant string, p events.Payload, key string) string {
		_, _, id, err := wire.Encode(wire.Outgoing{Tenant: tenant, Payload: p, Key: key})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	for _, p := range payloads {
		one := id("t1", p, "k")
		if again := id("t1", p, "k"); again != one {
			t.Errorf("%T: %s, then %s", p, one, again)
		}
		for _, other := range []string{one, id("t2", p, "k"), id("t1", p, "k2"), id("t1", p, ""), id("t1", p, "")} {
			if seen[other] {
				t.Errorf("%T: %s stands for two events", p, other)
			}
			seen[other] = true
		}
	}
}

func TestIDsSortInTheOrderOfPublishing(t *testing.T) {
	for _, p := range []events.Payload{
		events.UserCreated{UserID: "u", Email: "e", CreatedAt: time.Now()},
		events.CreditAllocated{EntityID: "o", Amount: decimal.NewFromInt(1)},
		events.AssignmentDeleted{AssignmentID: "a", UserID: "u", OrganizationID: "o"},
	} {
		last := ""
		for range 5000 {
			_, _, id, err := wire.Encode(wire.Outgoing{Tenant: tenant, Payload: p})
			if err != nil {
				t.Fatal(err)
			}
			if id <= last {
				t.Fatalf("%T: %s after %s", p, id, last)
			}
			last = id
		}
	}
}

// Whenever and in whatever order events are encoded, their ids and times are
// those of their moments, which come one after the other.
func TestMomentsAreUsedInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		row, next := wire.Moments(3), wire.Moments(1) // at the same time
		time.Sleep(time.Second)
		last := ""
		for i, m := range slices.Backward([]wire.Moment{row, row.Plus(1), row.Plus(2), next}) {
			_, fields, id, err := wire.Encode(wire.Outgoing{Tenant: tenant, Moment: m, Payload: events.UserCreated{UserID: "u", Email: "e", CreatedAt: time.Now()}})
			if err != nil {
				t.Fatal(err)
			}
			if last != "" && id >= last {
				t.Errorf("moment %d: id %s, that of the next is %s", i, id, last)
			}
			if at := (events.Field{Name: "timestamp", Value: "2000-01-01T00:00:00.000Z"}); !slices.Contains(fields, at) {
				t.Errorf("moment %d: not of its time: %v", i, fields)
			}
			last = id
		}
	})
}

// anyPayload generates a payload of any type of the catalogue that may be
// published.
func anyPayload(t *rapid.T) events.Payload {
	typ := rapid.SampledFrom(events.Catalogue()).Draw(t, "type")
	v := reflect.ValueOf(typ.New()).Elem()
	for i := range v.NumField() {
		f := typ.Fields[i]
		fill(t, v.Field(i), f)
	}
	switch p := v.Addr().Interface().(type) {
	case *events.Acknowledgment:
		p.Status = rapid.SampledFrom([]string{events.AckProcessed, events.AckFailed, events.AckTimeout}).Draw(t, "status")
	case *events.AppUserCreated:
		p.Source, p.EntityID, p.PublishedBy = "crm", "e-1", "system"
	case *events.InterApp:
		p.Source, p.PublishedBy = "crm", "system"
	}
	return v.Interface().(events.Payload)
}

var (
	anyID   = rapid.StringMatching(`[a-zA-Z0-9_:.-]{1,40}`).Filter(func(s string) bool { return s != "null" && s != "undefined" })
	anyText = rapid.String().Filter(func(s string) bool { return s != "null" && s != "undefined" })
	anyTime = rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMilli(rapid.Int64Range(1, 4e12).Draw(t, "ms")).UTC()
	})
	anyAmount = rapid.Custom(func(t *rapid.T) decimal.Decimal {
		return decimal.New(rapid.Int64Range(1, 1<<62).Draw(t, "digits"), rapid.Int32Range(-30, 30).Draw(t, "exponent"))
	})
	anyObject = rapid.SampledFrom([]string{`{}`, `{"a":[1,2.50,{"b":null}]}`, `{"<é>":"\u0000"}`})
)

func fill(t *rapid.T, v reflect.Value, f events.DataField) {
	if !f.Required && rapid.Bool().Draw(t, "absent") {
		return
	}
	switch v.Addr().Interface().(type) {
	case *string:
		switch {
		case f.Name == "app":
			v.SetString(rapid.SampledFrom([]string{"crm", "hr", "affiliateConnect"}).Draw(t, f.Name))
		case f.Kind == events.KindID || f.Envelope || f.Required:
			v.SetString(anyID.Draw(t, f.Name))
		default:
			v.SetString(anyText.Draw(t, f.Name))
		}
	case **bool:
		v.Set(reflect.ValueOf(new(rapid.Bool().Draw(t, f.Name))))
	case *int64:
		v.SetInt(rapid.Int64().Draw(t, f.Name))
	case *decimal.Decimal:
		v.Set(reflect.ValueOf(anyAmount.Draw(t, f.Name)))
	case **decimal.Decimal:
		v.Set(reflect.ValueOf(new(anyAmount.Draw(t, f.Name))))
	case *time.Time:
		v.Set(reflect.ValueOf(anyTime.Draw(t, f.Name)))
	case *json.RawMessage:
		v.Set(reflect.ValueOf(json.RawMessage(anyObject.Draw(t, f.Name))))
	case *events.Permissions:
		v.Set(reflect.ValueOf(events.Permissions{"crm": {"leads": {"read"}}, "hr": {}}))
	case *events.Changes:
		v.Set(reflect.ValueOf(events.Changes{"priority": json.Number(strconv.Itoa(rapid.Int().Draw(t, f.Name)))}))
	default:
		t.Fatalf("%s: no generator for %v", f.Name, v.Type())
	}
}

// sameValues compares numbers by value and raw JSON by its text.
var sameValues = cmp.Options{
	cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) }),
	cmp.Comparer(func(a, b json.RawMessage) bool {
		return bytes.Equal(a, b) || len(a)+len(b) == 2 && string(a)+string(b) == "{}"
	}),
}

// What is published is what a handler gets, whatever it holds.
func TestRoundTrip(t *testing.T) {
	d := wire.Decoder{}
	rapid.Check(t, func(t *rapid.T) {
		p := anyPayload(t)
		at := time.UnixMilli(rapid.Int64Range(1, time.Now().UnixMilli()).Draw(t, "time")).UTC()
		m := wire.Outgoing{Tenant: anyID.Filter(func(s string) bool { return events.ValidTenant(s) == nil }).Draw(t, "tenant"), Payload: p, Time: at, Source: "crm"}
		stream, fields, id, err := wire.Encode(m)
		if err != nil {
			t.Fatalf("%T: %v", p, err)
		}
		env, refusal := d.Decode(&wire.Entry{Stream: stream, ID: wire.ID{Ms: 1}, Fields: events.FieldsOf(fields...)})
		if refusal != nil {
			t.Fatalf("%T: %v in %v", p, refusal, fields)
		}
		if env.Type != p.Type() || !env.Time.Equal(at) || len(env.Warnings) > 0 {
			t.Fatalf("type %v, time %v, warnings %v", env.Type, env.Time, env.Warnings)
		}
		if env.Tenant != m.Tenant && p.Type().Shape != events.ShapeAcknowledgment {
			t.Fatalf("tenant %q, want %q", env.Tenant, m.Tenant)
		}
		if env.Identity != id && p.Type().Entity != "credit" {
			t.Fatalf("identity %s, want %s", env.Identity, id)
		}
		got, err := payloadOf(env)
		if err != nil {
			t.Fatal(err)
		}
		if ack, ok := p.(events.Acknowledgment); ok && ack.Data == nil {
			ack.Data = json.RawMessage("{}")
			p = ack
		}
		if inter, ok := p.(events.InterApp); ok && inter.Data == nil {
			inter.Data = json.RawMessage("{}")
			p = inter
		}
		if diff := cmp.Diff(p, got, sameValues); diff != "" {
			t.Fatalf("%s", diff)
		}
	})
}

// An entry of era v1 and the same entry in the quotes of era v0 mean the same.
func TestErasAgree(t *testing.T) {
	d := wire.Decoder{}
	quote := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	rapid.Check(t, func(t *rapid.T) {
		m := wire.Outgoing{Tenant: tenant, Payload: anyPayload(t), Source: "crm"}
		stream, fields, _, err := wire.Encode(m)
		if err != nil {
			t.Fatal(err)
		}
		quoted := slices.Clone(fields)
		for i := range quoted {
			switch f := &quoted[i]; f.Name {
			case "data", "amount":
			case "metadata": // encoded twice on credit-events alone
				if stream == "credit-events" {
					f.Value = quote(f.Value)
				}
			default:
				f.Value = quote(f.Value)
			}
		}
		raw, refusal := d.Decode(&wire.Entry{Stream: stream, ID: wire.ID{Ms: 1}, Fields: events.FieldsOf(fields...)})
		if refusal != nil {
			t.Fatal(refusal)
		}
		old, refusal := d.Decode(&wire.Entry{Stream: stream, ID: wire.ID{Ms: 1}, Fields: events.FieldsOf(quoted...)})
		if refusal != nil {
			t.Fatalf("%v in %v", refusal, quoted)
		}
		old.Fields, raw.Fields = events.Fields{}, events.Fields{}
		if !reflect.DeepEqual(old, raw) {
			t.Fatalf("v0 %+v\nv1 %+v", old, raw)
		}
	})
}

// What is in a room is as it would be outside, until the room is used again.
func TestEncodeIntoRoom(t *testing.T) {
	var room wire.Room
	rapid.Check(t, func(t *rapid.T) {
		var kept, want [][]events.Field
		for i := range rapid.IntRange(1, 30).Draw(t, "entries") {
			m := wire.Outgoing{Tenant: tenant, Payload: anyPayload(t), Source: "crm", Key: fmt.Sprint(i), Time: vectorNow}
			_, outside, id, err := wire.Encode(m)
			if err != nil {
				t.Fatal(err)
			}
			m.Room = &room
			_, fields, again, err := wire.Encode(m)
			if err != nil || again != id {
				t.Fatalf("id %q, want %q: %v", again, id, err)
			}
			kept, want = append(kept, fields), append(want, outside)
			refused := m
			refused.Metadata = map[string]any{"f": func() {}}
			_, _, _, _ = wire.Encode(refused) // leaves the others alone, whether it has metadata or not
		}
		if diff := cmp.Diff(want, kept); diff != "" {
			t.Fatal(diff)
		}
		room.Reset()
	})
}

// A room is used again, and an error that came of it stays as it was.
func TestRoomIsUsedAgain(t *testing.T) {
	var room wire.Room
	encode := func(p events.Payload) ([]events.Field, error) {
		_, fields, _, err := wire.Encode(wire.Outgoing{Tenant: tenant, Payload: p, Source: "crm", Room: &room})
		return fields, err
	}
	refused := events.InterApp{EventType: "a.b", Target: "hr", EntityID: "e", Data: json.RawMessage(`{"name":1,"Name":2}`)}
	_, refusal := encode(refused)
	if refusal == nil {
		t.Fatal("not refused")
	}
	was := strings.Clone(refusal.Error())
	room.Reset()
	first, err := encode(wholeUser())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		room.Reset()
		again, err := encode(wholeUser())
		if err != nil || &again[0] != &first[0] {
			t.Fatalf("in another room: %v", err)
		}
		if refusal.Error() != was {
			t.Errorf("%q became %q", was, refusal)
		}
	}
}
