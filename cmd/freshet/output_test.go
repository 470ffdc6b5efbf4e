package main

import (
	"encoding/json"
	"testing"
)

func TestMask(t *testing.T) {
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
		if got := string(mask(json.RawMessage(test.in))); got != test.want {
			t.Errorf("mask(%s)\n got %s\nwant %s", test.in, got, test.want)
		}
	}
	if mask(nil) != nil {
		t.Error("nothing is masked as something")
	}
}

func TestShorten(t *testing.T) {
	for _, test := range []struct {
		in    string
		width int
		want  string
	}{
		{"Zoë Łoś", 0, "Zoë Łoś"},
		{"Zoë Łoś", 7, "Zoë Łoś"},
		{"Zoë Łoś", 6, "Zoë Ł…"},
	} {
		if got := shorten(test.in, test.width); got != test.want {
			t.Errorf("shorten(%q, %d) = %q, want %q", test.in, test.width, got, test.want)
		}
	}
}
