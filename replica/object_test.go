package replica

import (
	"encoding/json"
	"maps"
	"testing"
)

// An object has the fields that encoding/json finds in it.
func FuzzParseObject(f *testing.F) {
	for _, text := range []string{
		`{}`, ` { } `, `null`, `[]`, `"x"`, `1`, ``, `{`, `{"a":1`, `{"a":1}}`, `{"a":1,}`, `{a:1}`,
		`{"a":1,"b":"two","c":null,"d":true,"e":{"f":[{"g":"}"}]},"h":[]}`,
		"\t{\r\n\"a\" : -1.5e3 , \"b\"\n:\t[ 1 , {\"c\" : \"]\\\"\"} ] }\n",
		`{"a":1,"a":2}`, `{"a":1,"a":null}`, `{"":"","\u0061":"\ud83c\udf89","\"":"\\","\ud800":"\ud800"}`,
		"{\"\xff\":\"\xff\",\"ä\":\"ö\"}", `{"a":nul}`, `{"a":"\x"}`, "{\"a\":\"\n\"}",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var want map[string]json.RawMessage
		isObject := json.Unmarshal(text, &want) == nil && want != nil
		got, ok := parseObject(text, nil)
		if ok != isObject {
			t.Fatalf("%q: an object: %v, want %v", text, ok, isObject)
		}
		names := map[string]bool{}
		for _, m := range got {
			names[string(m.name)] = ok
		}
		if !maps.EqualFunc(names, want, func(bool, json.RawMessage) bool { return true }) {
			t.Fatalf("%q: fields %v, want %v", text, names, want)
		}
		for name, raw := range want {
			value, given := got.get(name)
			if value == nil {
				value = []byte("null")
			}
			if !given || string(value) != string(raw) {
				t.Errorf("%q: %q is %q, want %q", text, name, value, raw)
			}
			var s string
			if raw[0] == '"' && json.Unmarshal(raw, &s) == nil && unquote(raw) != s {
				t.Errorf("%q: %q unquotes to %q, want %q", text, raw, unquote(raw), s)
			}
		}
	})
}
