package events

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// checkUnmarshal compares the reader with encoding/json.
func checkUnmarshal(t interface{ Fatalf(string, ...any) }, typ *Type, data []byte) (taken bool) {
	want := typ.New()
	wantErr := json.Unmarshal(data, want)
	got := typ.New()
	r := reader{data: data}
	taken = r.object(typ.plan, reflect.ValueOf(got).Elem())
	switch {
	case taken && wantErr != nil:
		t.Fatalf("%T: took %q: %v", want, data, wantErr)
	case taken && !reflect.DeepEqual(got, want):
		t.Fatalf("%T: %q\n got %+v\nwant %+v", want, data, got, want)
	}
	return taken
}

// objectOf draws an object for a type: members that fit, and others.
func objectOf(t *rapid.T, typ *Type) []byte {
	space := rapid.SampledFrom([]string{"", "", "", " ", "\n\t", "\x00", ","})
	value := rapid.SampledFrom([]string{
		`"a"`, `""`, `"é"`, `"\u00e9\n"`, `"\ud800"`, "\"\xff\"", "\"\x01\"", `"2025-12-04T10:00:00.000Z"`, `"2025-12-04T10:00:00+05:30"`, `"2025-12-04"`,
		"true", "false", "null", "tru", "nulll", "1", "-0", "01", "1.50", "1e3", "1E+400", "9223372036854775807", "9223372036854775808", "-", "1.", "\"1.5\"",
		`{}`, `[]`, `{"a":{"b":["c"]}}`, `{"a":[1,{"b":"}"}]}`, `{"a":1,"a":2}`, `{"a":}`, `[1,]`, `[}`, `"`, ``, `"\`,
	})
	names := []string{"other", "", "é", `\u0061`, "K", "\u212a"}
	for _, f := range typ.Fields {
		names = append(names, f.Name, f.Name, f.Name)
	}
	names = append(names, "userID", "EMAIL", "AMOUNT")
	name := rapid.SampledFrom(names)
	b := []byte(space.Draw(t, "space") + "{")
	for i := range rapid.IntRange(0, 6).Draw(t, "members") {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, space.Draw(t, "space")+`"`+name.Draw(t, "name")+`"`+space.Draw(t, "space")+":"+space.Draw(t, "space")...)
		b = append(b, value.Draw(t, "value")+space.Draw(t, "space")...)
	}
	return append(b, rapid.SampledFrom([]string{"}", "}", "}", "} ", "}}", "", "]"}).Draw(t, "end")...)
}

func TestReaderAgreesWithEncodingJSON(t *testing.T) {
	for _, typ := range catalogue {
		rapid.Check(t, func(t *rapid.T) { checkUnmarshal(t, typ, objectOf(t, typ)) })
	}
}

// What is ordinary must not be left to encoding/json.
func TestReaderTakesTheOrdinary(t *testing.T) {
	for _, tt := range []struct {
		typ  *Type
		data string
	}{
		{userCreated, `{"userId":"u","email":"a@b","firstName":"Zoë","isActive":false,"createdAt":"2025-12-04T10:00:00.000Z"}`},
		{userCreated, ` { "email" : "a\"b" , "more" : [ 1 , { "a" : "]" } ] , "isActive" : null , "userId" : null , "last" : 1.5e3 } `},
		{creditAllocated, `{"amount":9007199254740993.5,"newBalance":-1e2,"previousBalance":null,"entityId":"e"}`},
		{creditConfigUpdated, `{"configId":"c","volumeTiers":[1,2],"previousConfig":null,"freeAllowance":"3"}`},
		{roleUpdated, `{"roleId":"r","permissions":{"crm":{"leads":["read"]}},"restrictions":"{}"}`},
		{assignmentUpdated, `{"priority":-5,"changes":{"a":1.0},"metadata":{}}`},
		{orgCreated, `{}`},
	} {
		if !checkUnmarshal(t, tt.typ, []byte(tt.data)) {
			t.Errorf("%s: left to encoding/json", tt.data)
		}
	}
}

// Short texts share memory, ids and long texts do not.
func TestReaderAllocations(t *testing.T) {
	const short = `{"userId":"u-1","email":"a@b.c","firstName":"Ada","lastName":"Lovelace","name":"Ada Lovelace","isActive":true,"createdAt":"2025-12-04T10:00:00.000Z"}`
	long := strings.Replace(short, "a@b.c", strings.Repeat("a", maxShared-5)+"@b.com", 1)
	for _, tt := range []struct {
		data string
		want float64
	}{{short, 4}, {long, 5}} { // the struct, the flag, the id, the texts
		env := &Envelope{Data: []byte(tt.data)}
		var p UserCreated
		got := testing.AllocsPerRun(100, func() {
			var err error
			if p, err = Decode[UserCreated](env); err != nil {
				t.Fatal(err)
			}
		})
		if got > tt.want {
			t.Errorf("%s: %v allocations, want %v", tt.data, got, tt.want)
		}
		clear(env.Data)
		if p.UserID != "u-1" || p.FirstName != "Ada" || p.LastName != "Lovelace" || p.Name != "Ada Lovelace" || !*p.IsActive || !strings.Contains(tt.data, `"`+p.Email+`"`) {
			t.Errorf("%s: %+v", tt.data, p)
		}
	}
}

func FuzzReader(f *testing.F) {
	for i := range catalogue {
		for _, s := range []string{`{}`, `{"userId":"u","amount":1.5,"isActive":true,"x":[{}]}`, `{"userid":"u","createdAt":"2025-12-04T10:00:00Z"}`} {
			f.Add(i, []byte(s))
		}
	}
	f.Fuzz(func(t *testing.T, i int, data []byte) {
		if i >= 0 {
			checkUnmarshal(t, catalogue[i%len(catalogue)], data)
		}
	})
}
