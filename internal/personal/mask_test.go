package personal_test

import (
	"encoding/json"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/personal"
)

func TestJSON(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{`{"email":"ada@example.com"}`, `{"email":"a***@example.com"}`},
		{`{"firstName":"Ada","lastName":"Łoś","Name":"Ada"}`, `{"firstName":"A***","lastName":"Ł***","Name":"A***"}`},
		{`{"phone":"+49 30 1234","mobile":4930}`, `{"phone":"+***","mobile":"***"}`},
		{`{"email":"@example.com","name":"","fullName":null}`, `{"email":"@***","name":"","fullName":null}`},
		{`{"email":["ada@example.com",{"to":"bob@example.com"}]}`, `{"email":["a***@example.com",{"to":"b***@example.com"}]}`},
		{`{"a":[{"user":{"email":"ada@example.com"}}]}`, `{"a":[{"user":{"email":"a***@example.com"}}]}`},
		{`{ "z" : 9007199254740993.10, "roleName":"<&>", "a": true , "b":[]}`, `{"z":9007199254740993.10,"roleName":"<&>","a":true,"b":[]}`},
		{`{"first_name":"Ada","E-Mail":"ada@example.com"}`, `{"first_name":"A***","E-Mail":"a***@example.com"}`},
		{`{"a":"{\"email\":\"ada@example.com\"}"}`, `{"a":"{\"email\":\"a***@example.com\"}"}`},
		{`"[{\"email\":\"ada@example.com\"}]"`, `"[{\"email\":\"a***@example.com\"}]"`},
		{`{"a":" {email: ada@example.com"}`, `{"a":"***"}`},
		{`"just text"`, `"just text"`},
		{`{"name":"Ada"`, `"***"`},
	} {
		if got := string(personal.JSON(json.RawMessage(test.in))); got != test.want {
			t.Errorf("personal.JSON(%s)\n got %s\nwant %s", test.in, got, test.want)
		}
	}
	if personal.JSON(nil) != nil {
		t.Error("nothing is masked as something")
	}
}

// Whatever the era and the shape, no field shows what data does not.
func TestFields(t *testing.T) {
	for _, test := range []struct{ name, value, want string }{
		{"data", `{"email":"ada@example.com"}`, `{"email":"a***@example.com"}`},
		{"data", `"{\"email\":\"ada@example.com\"}"`, `"{\"email\":\"a***@example.com\"}"`},
		{"data", `{"email":"ada@`, `"***"`},
		{"metadata", `ada`, `"***"`},
		{"event", `{"data":{"name":"Ada"}}`, `{"data":{"name":"A***"}}`},
		{"validationErrors", ` [{"email":"ada@example.com"}]`, `[{"email":"a***@example.com"}]`},
		{"payload", `"{\"name\":\"Ada\"}"`, `"{\"name\":\"A***\"}"`},
		{"email", `ada@example.com`, `a***@example.com`},
		{"eventType", `user_created`, `user_created`},
		{"entityId", `"u-1"`, `"u-1"`},
	} {
		got := personal.Fields([]events.Field{{Name: test.name, Value: test.value}})
		if got[0] != (events.Field{Name: test.name, Value: test.want}) {
			t.Errorf("%s %s: %s, want %s", test.name, test.value, got[0].Value, test.want)
		}
	}
}

// TestJSONOfAnyDepth: what is too deep for an event is hidden, before it takes
// the whole stack.
func TestJSONOfAnyDepth(t *testing.T) {
	defer debug.SetMaxStack(debug.SetMaxStack(1 << 20))
	for _, open := range []string{"[", `{"a":`, `[{"a":`} {
		deep := json.RawMessage(strings.Repeat(open, 1<<18))
		if got := string(personal.JSON(deep)); got != `"***"` {
			t.Errorf("%s: %d bytes", open, len(got))
		}
	}
	event := strings.Repeat(`{"email":`, 1) + strings.Repeat("[", 31) + `"ada@example.com"` + strings.Repeat("]", 31) + "}"
	if got := string(personal.JSON(json.RawMessage(event))); strings.Contains(got, "ada") || len(got) < 64 {
		t.Errorf("as deep as an event may be: %s", got)
	}
}
