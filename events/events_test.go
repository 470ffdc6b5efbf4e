package events_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"pgregory.net/rapid"

	"github.com/freshet/freshet/events"
)

var at = time.Date(2025, 12, 4, 10, 0, 0, 0, time.UTC)

func TestCatalogue(t *testing.T) {
	names, seen := map[string]bool{}, map[*events.Type]bool{}
	for _, typ := range events.Catalogue() {
		p := typ.New()
		if p.Type() != typ {
			t.Errorf("%T: Type is not the catalogue's", p)
		}
		if seen[typ] {
			t.Errorf("%T stands twice", p)
		}
		seen[typ] = true
		if typ.Stream == "" || typ.Shape == "" || typ.Entity == "" || typ.Fact == "" || len(typ.Fields) == 0 {
			t.Errorf("%T is incomplete: %+v", p, typ)
		}
		for _, name := range append([]string{typ.Name}, typ.Aliases...) {
			if name != "" && names[name] && name != "user.created" {
				t.Errorf("%s means two types", name)
			}
			names[name] = true
		}
		for _, key := range typ.Key {
			if key != "organizationId" && typ.Field(key) == nil {
				t.Errorf("%T: key %s is no field", p, key)
			}
		}
	}
	if len(seen) != 24 {
		t.Errorf("%d types, want 24", len(seen))
	}
	events.Catalogue()[0] = nil
	if events.Catalogue()[0] == nil {
		t.Error("a caller changed the catalogue")
	}
}

func TestOneFactOnTwoStreams(t *testing.T) {
	for _, pair := range [][2]events.Payload{
		{events.CreditAllocated{}, events.CreditAllocatedSync{}},
		{events.CreditConsumed{}, events.CreditConsumedSync{}},
	} {
		if a, b := pair[0].Type().Fact, pair[1].Type().Fact; a != b {
			t.Errorf("%T tells %s, %T tells %s", pair[0], a, pair[1], b)
		}
	}
	if events.AppUserCreated.Type(events.AppUserCreated{}).Fact == events.UserCreated.Type(events.UserCreated{}).Fact {
		t.Error("the inter-app user.created is another fact than user_created")
	}
}

func TestLookup(t *testing.T) {
	tests := []struct {
		stream, wireType string
		want             events.Payload // nil: unknown
	}{
		{"crm:sync:user:user_created", "user_created", events.UserCreated{}},
		{"crm:sync:user:user_created", "user.created", events.UserCreated{}},
		{"crm:sync:user_created", "user_created", events.UserCreated{}},
		{"crm:sync:user:user_created:retry", "user_created", events.UserCreated{}},
		{"{crm:sync:user:user_created}:retry:crm-consumers", "user_created", events.UserCreated{}},
		{"{crm:sync:user:user_created}:dlq:a:b", "user_created", events.UserCreated{}},
		{"crm:sync:user:user_deactivated", "user.deactivated", events.UserDeactivated{}},
		{"crm:sync:user:user_deleted", "user.deleted", events.UserDeleted{}},
		{"crm:sync:user:updated", "user.updated", nil},
		{"crm:sync:user:user_created", "User_Created", nil},
		{"crm:sync:user:user_created", "", nil},
		{"crm:sync:permissions:role_assigned", "role_assigned", events.RoleAssigned{}},
		{"crm:sync:role_assignment:role_assigned", "role.assigned", events.RoleAssigned{}},
		{"crm:sync:permissions:role_unassigned", "role.unassigned", events.RoleUnassigned{}},
		{"crm:sync:permissions:role_updated", "role_updated", events.RoleUpdated{}},
		{"crm:sync:permissions:role_updated", "role.updated", events.RoleUpdated{}},
		{"crm:sync:role:role_updated", "role.updated", events.AppRoleUpdated{}},
		{"hr:sync:role:role_updated", "role_updated", events.AppRoleUpdated{}},
		{"affiliateConnect:sync:role:role_created", "role.created", events.RoleCreated{}},
		{"hr:sync:role:role_deleted", "role.deleted", events.RoleDeleted{}},
		{"{hr:sync:role:role_deleted}:retry:g", "role.deleted", events.RoleDeleted{}},
		{"crm:sync:role_permissions", "role_permissions_changed", events.RolePermissionsChanged{}},
		{"crm:sync:role:role_permissions_changed", "role.permissions_changed", events.RolePermissionsChanged{}},
		{"crm:sync:role_permissions", "role_permissions.updated", events.RolePermissionsChanged{}},
		{"crm:sync:organization:org_created", "organization.created", events.OrgCreated{}},
		{"crm:sync:organization:org_created", "org.created", events.OrgCreated{}},
		{"crm:sync:organization:employee_assigned", "employee_assigned", nil},
		{"crm:organization-assignments", "organization.assignment.created", events.AssignmentCreated{}},
		{"crm:organization-assignments:acme", "organization.assignment.updated", events.AssignmentUpdated{}},
		{"crm:organization-assignments:retry", "organization.assignment.deleted", events.AssignmentDeleted{}},
		{"credit-events", "credit.allocated", events.CreditAllocated{}},
		{"credit-events:acme", "credit.allocated", events.CreditAllocated{}},
		{"credit-events", "credit_allocated", events.CreditAllocated{}},
		{"credit-events", "credit.consumed", events.CreditConsumed{}},
		{"credit-events", "credit_consumed", events.CreditConsumed{}},
		{"crm:sync:credits:credit_allocated", "credit_allocated", events.CreditAllocatedSync{}},
		{"crm:sync:credits:credit_allocated", "credit.allocated", events.CreditAllocatedSync{}},
		{"crm:sync:credit:credit_allocated", "credit_allocated", events.CreditAllocatedSync{}},
		{"crm:sync:credits:credit_consumed", "credit.consumed", events.CreditConsumedSync{}},
		{"crm:sync:credits:credit_config_updated", "credit.config.updated", events.CreditConfigUpdated{}},
		{"crm:sync:credits:credit_config_updated", "credit_config.updated", events.CreditConfigUpdated{}},
		{"inter-app-events", "user.created", events.AppUserCreated{}},
		{"inter-app-events", "role.updated", events.InterApp{}},
		{"inter-app-events", "anything", events.InterApp{}},
		{"acknowledgments", "", events.Acknowledgment{}},
		{"acknowledgments:dlq", "whatever", events.Acknowledgment{}},
		{"role.permissions_changed:dlq", "event.validation_failed", nil},
	}
	for _, tt := range tests {
		got := events.Lookup(tt.stream, tt.wireType)
		if tt.want == nil {
			if got != nil {
				t.Errorf("%s %q: %s, want none", tt.stream, tt.wireType, got.Name)
			}
			continue
		}
		if got != tt.want.Type() {
			t.Errorf("%s %q: %v, want %T", tt.stream, tt.wireType, got, tt.want)
		}
	}
}

func TestExplicitStreamsHaveNoGlobs(t *testing.T) {
	for _, key := range events.ExplicitStreams() {
		if strings.ContainsAny(key, `*?[{`) {
			t.Errorf("%s is no key", key)
		}
		if !slices.Contains(events.Streams(), key) {
			t.Errorf("%s is not in Streams", key)
		}
	}
}

func TestApplicationOfCopies(t *testing.T) {
	for key, want := range map[string]string{
		"hr:sync:role:role_created":              "hr",
		"{hr:sync:role:role_created}:retry:crm":  "hr",
		"crm:sync:role:role_created:dlq":         "crm",
		"{hr:sync:role:role_created:retry}:dlq:": "hr",
	} {
		if got := events.Application(key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

func TestEncode(t *testing.T) {
	tests := []struct {
		p    events.Payload
		want string
	}{
		{
			events.UserCreated{UserID: "u", Email: "a<b>&@é.org", CreatedAt: at, IsActive: new(false)},
			`{"userId":"u","email":"a<b>&@é.org","isActive":false,"createdAt":"2025-12-04T10:00:00.000Z"}`,
		},
		{
			&events.UserCreated{UserID: "u", Name: "\"\\\b\f\n\r\t\x01\u2028", CreatedAt: at.Add(1234567 * time.Nanosecond).In(time.FixedZone("", -3600))},
			`{"userId":"u","name":"\"\\\b\f\n\r\t\u0001` + "\u2028" + `","createdAt":"2025-12-04T10:00:00.001Z"}`,
		},
		{
			events.OrgCreated{OrgCode: "o"},
			`{"orgCode":"o","description":null,"parentId":null}`,
		},
		{
			events.RoleAssigned{AssignmentID: "a", UserID: "u", RoleID: "r"},
			`{"assignmentId":"a","userId":"u","roleId":"r","expiresAt":null}`,
		},
		{
			events.RoleUpdated{RoleID: "r", Permissions: events.Permissions{"hr": {}, "crm": {"leads": {"read", "<all>"}}}, Restrictions: json.RawMessage(" { \"a\" : 1 } ")},
			`{"roleId":"r","permissions":{"crm":{"leads":["read","<all>"]},"hr":{}},"restrictions":{"a":1}}`,
		},
		{
			events.RoleDeleted{App: "hr", RoleID: "r"},
			`{"roleId":"r","transferredToRoleId":null,"affectedUsersCount":0}`,
		},
		{
			events.CreditAllocated{EntityID: "o", Amount: decimal.RequireFromString("9007199254740993.10"), NewBalance: new(decimal.RequireFromString("1e21"))},
			`{"entityId":"o","amount":9007199254740993.1,"newBalance":1000000000000000000000}`,
		},
		{
			events.AssignmentUpdated{AssignmentID: "a", UserID: "u", OrganizationID: "o", Changes: map[string]any{}},
			`{"assignmentId":"a","userId":"u","organizationId":"o","changes":{}}`,
		},
		{events.InterApp{Target: "hr", Data: json.RawMessage(`{"x": 1}`)}, `{"x":1}`},
		{events.InterApp{Target: "hr"}, `{}`},
		{events.AppUserCreated{Target: "hr", UserID: "u", Email: "e"}, `{"userId":"u","email":"e"}`},
	}
	for _, tt := range tests {
		got, err := events.Encode(tt.p)
		if err != nil || string(got) != tt.want {
			t.Errorf("%T\n got %s, %v\nwant %s", tt.p, got, err, tt.want)
		}
	}
}

func TestAppendTimeIsTheLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		if got, want := string(events.AppendTime(nil, at)), at.UTC().Format("2006-01-02T15:04:05.000Z"); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}

func TestValidate(t *testing.T) {
	user := events.UserCreated{UserID: "u", Email: "e", CreatedAt: at}
	change := func(f func(*events.UserCreated)) events.Payload {
		u := user
		f(&u)
		return u
	}
	one := decimal.NewFromInt(1)
	tests := []struct {
		p     events.Payload
		field string // "" when valid
	}{
		{user, ""},
		{&user, ""},
		{nil, "data"},
		{(*events.UserCreated)(nil), "data"},
		{change(func(u *events.UserCreated) { u.UserID = "" }), "data.userId"},
		{change(func(u *events.UserCreated) { u.Email = "" }), "data.email"},
		{change(func(u *events.UserCreated) { u.CreatedAt = time.Time{} }), "data.createdAt"},
		{change(func(u *events.UserCreated) { u.UserID = strings.Repeat("x", 513) }), "data.userId"},
		{change(func(u *events.UserCreated) { u.UserID = "a\x00" }), "data.userId"},
		{change(func(u *events.UserCreated) { u.UserID = "a\x1b" }), "data.userId"},
		{change(func(u *events.UserCreated) { u.UserID = "undefined" }), "data.userId"},
		{change(func(u *events.UserCreated) { u.Name = "\xff" }), "data.name"},
		{change(func(u *events.UserCreated) { u.Name = "a\x00" }), ""},
		{events.UserDeactivated{UserID: "u"}, ""},
		{events.UserDeleted{}, "data.userId"},
		{events.RoleAssigned{UserID: "u", RoleID: "r"}, "data.assignmentId"},
		{events.RoleAssigned{AssignmentID: "a", UserID: "u"}, "data.roleId"},
		{events.RoleUnassigned{AssignmentID: "a", RoleID: "r"}, "data.userId"},
		{events.RoleUpdated{}, "data.roleId"},
		{events.RoleUpdated{RoleID: "r", Restrictions: json.RawMessage("{")}, "data.restrictions"},
		{events.RolePermissionsChanged{}, "data.roleId"},
		{events.RoleCreated{RoleID: "r"}, "app"},
		{events.RoleCreated{App: "a:b", RoleID: "r"}, "app"},
		{events.AppRoleUpdated{App: "*", RoleID: "r"}, "app"},
		{events.RoleDeleted{App: "hr"}, "data.roleId"},
		{events.OrgCreated{}, "data.orgCode"},
		{events.AssignmentCreated{AssignmentID: "a", UserID: "u", OrganizationID: "o"}, "data.assignedBy"},
		{events.AssignmentUpdated{AssignmentID: "a", UserID: "u", OrganizationID: "o"}, "data.changes"},
		{events.AssignmentUpdated{AssignmentID: "a", UserID: "u", OrganizationID: "o", Changes: map[string]any{}}, ""},
		{events.AssignmentActivated{AssignmentID: "a", UserID: "u"}, "data.organizationId"},
		{events.AssignmentDeactivated{UserID: "u", OrganizationID: "o"}, "data.assignmentId"},
		{events.AssignmentDeleted{AssignmentID: "a", UserID: "u", OrganizationID: "o"}, ""},
		{events.CreditAllocated{Amount: one}, "data.entityId"},
		{events.CreditAllocated{EntityID: "o"}, "data.amount"},
		{events.CreditAllocated{EntityID: "o", Amount: one.Neg()}, "data.amount"},
		{events.CreditAllocated{EntityID: "o", Amount: decimal.New(1, 1<<30)}, "data.amount"},
		{events.CreditAllocated{EntityID: "o", Amount: one, NewBalance: new(decimal.New(1, -1<<30))}, "data.newBalance"},
		{events.CreditConsumed{EntityID: "o"}, "data.amount"},
		{events.CreditConsumedSync{EntityID: "o", Amount: one}, ""},
		{events.CreditAllocatedSync{EntityID: "o"}, "data.amount"},
		{events.CreditConfigUpdated{}, "data.configId"},
		{events.AppUserCreated{UserID: "u", Email: "e"}, "targetApplication"},
		{events.AppUserCreated{Target: "hr", Email: "e"}, "data.userId"},
		{events.InterApp{EventType: "a.b", Target: "hr"}, "entityId"},
		{events.InterApp{Target: "hr", EntityID: "e"}, "eventType"},
		{events.InterApp{EventType: "a\nb", Target: "hr", EntityID: "e"}, "eventType"},
		{events.InterApp{EventType: "a.b", Target: "hr", EntityID: "e", Data: json.RawMessage("5")}, "eventData"},
		{events.InterApp{EventType: "a.b", Target: "hr", EntityID: "e", Data: json.RawMessage(" ")}, "eventData"},
		{events.Acknowledgment{Status: events.AckFailed}, "data.originalEventId"},
		{events.Acknowledgment{OriginalEventID: "e", Status: "done"}, "data.status"},
		{events.Acknowledgment{OriginalEventID: "e", Status: events.AckTimeout, Data: json.RawMessage("[]")}, "data.acknowledgmentData"},
	}
	for _, tt := range tests {
		err := events.Validate(tt.p)
		if tt.field == "" {
			if err != nil {
				t.Errorf("%+v: %v", tt.p, err)
			}
			continue
		}
		var fieldError *events.FieldError
		if !errors.As(err, &fieldError) || fieldError.Field != tt.field {
			t.Errorf("%+v: %v, want an error on %s", tt.p, err, tt.field)
		}
	}
}

func TestValidTenant(t *testing.T) {
	for tenant, want := range map[string]bool{
		"00000000-0000-0000-0000-000000000001": true, "acme": true, "A_b.c-9": true, "...": true, strings.Repeat("a", 128): true,
		"": false, "null": false, "undefined": false, ".": false, "..": false, "a b": false, "acme:*": false, "../x": false,
		"a}b{c": false, "a\x00": false, "é": false, "a/b": false, "a\n": false, strings.Repeat("a", 129): false,
	} {
		if err := events.ValidTenant(tenant); (err == nil) != want {
			t.Errorf("%q: %v", tenant, err)
		}
	}
}

// Ids are looked at eight bytes at a time.
func TestValidIDLooksAtEachByte(t *testing.T) {
	for length := 1; length <= 33; length++ {
		for at := range length {
			for c := range 256 {
				id := []byte(strings.Repeat("~", length))
				id[at] = byte(c)
				want := ""
				switch {
				case c >= 0x80:
					want = "must be UTF-8"
				case c < ' ' || c == 0x7f:
					want = "must have no control characters"
				}
				got := ""
				if err := events.ValidID(string(id)); err != nil {
					got = err.Error()
				}
				if got != want {
					t.Fatalf("%q: %q, want %q", id, got, want)
				}
			}
		}
	}
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, data string
		want       events.Payload
	}{
		{"user_created", `{"userId":"u","email":"e","isActive":false,"createdAt":"2025-12-04T10:00:00Z"}`, events.UserCreated{UserID: "u", Email: "e", IsActive: new(false), CreatedAt: at}},
		{"user.created", ` {"userId":"u"} `, events.UserCreated{UserID: "u"}},
		{"role.updated", `{"app":"hr","roleId":"r"}`, events.AppRoleUpdated{App: "hr", RoleID: "r"}},
		{"role_updated", `{"roleId":"r"}`, events.RoleUpdated{RoleID: "r"}},
		{"org_created", `{"orgCode":"o","parentId":null}`, events.OrgCreated{OrgCode: "o"}},
		{"credit.allocated", `{"entityId":"o","amount":0.10,"allocationId":"a"}`, events.CreditAllocated{EntityID: "o", Amount: decimal.RequireFromString("0.1"), AllocationID: "a"}},
		{"credit.allocated", `{"entityId":"o","amount":1,"metadata":{"allocationId":"a","reason":"x"}}`, events.CreditAllocated{EntityID: "o", Amount: decimal.NewFromInt(1), AllocationID: "a", Reason: "x"}},
		{"credit_allocated", `{"entityId":"o","allocatedCredits":1}`, events.CreditAllocatedSync{EntityID: "o", Amount: decimal.NewFromInt(1)}},
		{"organization.assignment.updated", `{"changes":{"n":9007199254740993,"x":{"y":0.10}}}`, events.AssignmentUpdated{Changes: events.Changes{"n": json.Number("9007199254740993"), "x": map[string]any{"y": json.Number("0.10")}}}},
		{"inter-app:user.created", `{"targetApplication":"hr","userId":"u","email":"e"}`, events.AppUserCreated{Target: "hr", UserID: "u", Email: "e"}},
		{"inter-app:employee.updated", `{"targetApplication":"hr","entityId":"e","eventData":{"x":1}}`, events.InterApp{EventType: "employee.updated", Target: "hr", EntityID: "e", Data: json.RawMessage(`{"x":1}`)}},
		{"acknowledgment", `{"originalEventId":"e","status":"failed"}`, events.Acknowledgment{OriginalEventID: "e", Status: "failed"}},
	}
	for _, tt := range tests {
		got, err := events.Parse(tt.name, []byte(tt.data))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s\n%s", tt.name, diff)
		}
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct{ name, data, want string }{
		{"user_craeted", `{}`, `unknown event type "user_craeted"; did you mean "user_created"?`},
		{"USER_CREATED", `{}`, `unknown event type "USER_CREATED"; did you mean "user_created"?`},
		{"xyzzy", `{}`, `unknown event type "xyzzy"`},
		{"inter-app:", `{}`, `unknown event type "inter-app:"`},
		{"user_created", `{"emial":"x"}`, `user_created: data.emial: unknown; did you mean "email"?`},
		{"user_created", `{"zzzzzzzzzzzz":"x"}`, `user_created: data.zzzzzzzzzzzz: unknown`},
		{"user_created", `{"Email":"x"}`, `user_created: data.Email: unknown; did you mean "email"?`},
		{"user_created", `{"email":5}`, `user_created: data.email: must be a string`},
		{"user_created", `{"isActive":"yes"}`, `user_created: data.isActive: must be true or false`},
		{"user_created", `{"createdAt":"yesterday"}`, `user_created: data.createdAt: must be a time such as "2025-12-04T10:00:00.000Z"`},
		{"user_created", `{"email":"a","email":"b"}`, `user_created: data.email: given twice`},
		{"user_created", `[]`, `user_created: data: must be a JSON object`},
		{"user_created", ``, `user_created: data: bad JSON at byte 0`},
		{"user_created", `{"email":"a"`, `user_created: data: bad JSON at byte 12`},
		{"user_created", `{} {}`, `user_created: data: bad JSON at byte 4`},
		{"credit.allocated", `{"amount":"5"}`, `credit.allocated: data.amount: must be a number`},
		{"credit.allocated", `{"metadata":5}`, `credit.allocated: data: must be a JSON object`},
		{"org_created", `{"entityLevel":1.5}`, `org_created: data.entityLevel: must be a whole number`},
		{"role_updated", `{"permissions":[]}`, `role_updated: data.permissions: must be an object of the type's form`},
		{"inter-app:a.b", `{"targetAplication":"hr"}`, `inter-app: data.targetAplication: unknown; did you mean "targetApplication"?`},
	}
	for _, tt := range tests {
		p, err := events.Parse(tt.name, []byte(tt.data))
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s %s\n got %v, %v\nwant %s", tt.name, tt.data, p, err, tt.want)
		}
	}
}

func TestDecode(t *testing.T) {
	env := &events.Envelope{
		Stream: "{hr:sync:role:role_created}:retry:g", ID: "1-0",
		Data: json.RawMessage(`{"roleId":"r","permissions":{"hr":{"a":["b"]}},"unknown":1}`),
	}
	role, err := events.Decode[events.RoleCreated](env)
	if err != nil || role.App != "hr" || role.RoleID != "r" || !reflect.DeepEqual(role.Permissions, events.Permissions{"hr": {"a": {"b"}}}) {
		t.Errorf("%+v, %v", role, err)
	}
	env = &events.Envelope{
		Stream: "inter-app-events", WireType: "employee.updated", Target: "hr", Source: "crm", PublishedBy: "p",
		Entity: events.Entity{ID: "e"}, Data: json.RawMessage(`{"targetApplication":"other"}`),
	}
	inter, err := events.Decode[events.InterApp](env)
	want := events.InterApp{EventType: "employee.updated", Target: "hr", Source: "crm", EntityID: "e", Data: env.Data, PublishedBy: "p"}
	if err != nil || !reflect.DeepEqual(inter, want) {
		t.Errorf("%+v, %v", inter, err)
	}
}

// Read and written again, the numbers of changes are what they were.
func TestChangesAreExact(t *testing.T) {
	const data = `{"assignmentId":"a","userId":"u","organizationId":"o","changes":{"big":123456789012345678901234567890,"n":[9007199254740993,0.10]}}`
	p, err := events.Decode[events.AssignmentUpdated](&events.Envelope{Data: json.RawMessage(data)})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := events.Encode(p); err != nil || string(got) != data {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestDecodeErrorsHoldNoPayload(t *testing.T) {
	const secret = "s3cr3t"
	for _, data := range []string{`{"email":{"a":"` + secret + `"}}`, `{"createdAt":"` + secret + `"}`, `{"userId":` + secret, `{"isActive":"` + secret + `"}`} {
		_, err := events.Decode[events.UserCreated](&events.Envelope{Stream: "s", ID: "1-0", Data: json.RawMessage(data)})
		if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "s/1-0") {
			t.Errorf("%s: %v", data, err)
		}
	}
}

func TestSetData(t *testing.T) {
	var ack events.Acknowledgment
	if err := ack.SetData(map[string]any{"error": "<x>"}); err != nil || !bytes.Equal(ack.Data, []byte(`{"error":"<x>"}`)) {
		t.Errorf("%s, %v", ack.Data, err)
	}
	if err := ack.SetData(map[string]any{"f": func() {}}); err == nil {
		t.Error("a function has a JSON form")
	}
}

func TestFanOut(t *testing.T) {
	e := events.RoleCreated{RoleID: "r", Permissions: events.Permissions{"hr": {"a": {"b"}}, "crm": {"c": {"d"}}}}
	copies := e.FanOut()
	want := []events.RoleCreated{
		{App: "crm", RoleID: "r", Permissions: events.Permissions{"crm": {"c": {"d"}}}},
		{App: "hr", RoleID: "r", Permissions: events.Permissions{"hr": {"a": {"b"}}}},
	}
	if diff := cmp.Diff(want, copies); diff != "" {
		t.Error(diff)
	}
	if len(e.Permissions) != 2 || e.App != "" {
		t.Errorf("the original changed: %+v", e)
	}
}
