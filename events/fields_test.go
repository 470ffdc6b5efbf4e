package events_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet/freshet/events"
)

func ExampleFields() {
	fields := events.FieldsOf(events.Field{Name: "eventType", Value: "user_created"}, events.Field{Name: "tenantId", Value: "acme"})
	for f := range fields.All() {
		fmt.Println(f.Name, f.Value)
	}
	fmt.Println(fields.Len())
	// Output:
	// eventType user_created
	// tenantId acme
	// 2
}

func TestFieldsKeepEveryByte(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "\r\n", "$3\r\nabc\r\n", "\x00\xff"}))
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOf(rapid.Custom(func(t *rapid.T) events.Field {
			return events.Field{Name: text.Draw(t, "name"), Value: text.Draw(t, "value")}
		})).Draw(t, "fields")
		f := events.FieldsOf(list...)
		if got := f.List(); !slices.Equal(got, list) || f.Len() != len(list) || f != events.FieldsOf(got...) {
			t.Fatalf("%q of %q", got, list)
		}
		before := []events.Field{{Name: "before"}}
		if got := f.AppendTo(before); !slices.Equal(got[1:], list) || got[0].Name != "before" {
			t.Fatalf("%q appended: %q", list, got)
		}
		for range f.All() {
			break // ends there
		}
		a, err1 := json.Marshal(f)
		b, err2 := json.Marshal(list)
		if err1 != nil || err2 != nil || len(list) > 0 && string(a) != string(b) {
			t.Fatalf("%s, want %s (%v, %v)", a, b, err1, err2)
		}
		var back, whole events.Fields
		err1, err2 = json.Unmarshal(a, &back), json.Unmarshal(b, &whole)
		if err1 != nil || err2 != nil || back != whole {
			t.Fatalf("read back: %q (%v, %v)", back.List(), err1, err2)
		}
	})
}

// What is no text of fields has those that it begins with.
func TestFieldsFromAnyText(t *testing.T) {
	whole := "$1\r\na\r\n$2\r\nbc\r\n"
	for text, want := range map[string]int{
		"": 0, whole: 1, whole + whole: 2, whole + "$1\r\na\r\n": 1, whole + "$1\r\na\r\n$9999999999999999999\r\nb\r\n": 1,
		whole + "*2\r\n": 1, "$-1\r\n$1\r\na\r\n": 0, "$1": 0, "$1\r": 0, "$5\r\na\r\n$1\r\nb\r\n": 0, "$" + strings.Repeat("9", 30): 0,
	} {
		if got := events.FieldsFrom(text); got.Len() != want || len(got.List()) != want {
			t.Errorf("%q: %q, want %d", text, got.List(), want)
		}
	}
}
