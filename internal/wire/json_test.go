package wire

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// stricter are the reasons for which scan refuses what encoding/json takes.
var stricter = map[Reason]bool{
	BadUTF8: true, DuplicateKey: true, TooDeep: true, TooManyTokens: true, BadNumber: true,
}

// checkScan compares the scanner with encoding/json.
func checkScan(t interface{ Fatalf(string, ...any) }, s string) {
	var c scanner
	got, refusal := c.scan("data", s)
	valid := json.Valid([]byte(s))
	switch {
	case refusal == nil && !valid:
		t.Fatalf("accepted %q", s)
	case refusal != nil && valid && !stricter[refusal.Reason]:
		t.Fatalf("refused %q: %v", s, refusal)
	case refusal != nil || got != jsonObject:
		return
	}
	var want map[string]json.RawMessage
	if err := json.Unmarshal([]byte(s), &want); err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	if len(c.members) != len(want) {
		t.Fatalf("%q: %d members, want %d", s, len(c.members), len(want))
	}
	for _, m := range c.members {
		if value, ok := want[m.name]; !ok || string(value) != m.value {
			t.Fatalf("%q: member %q is %q, want %q", s, m.name, m.value, value)
		}
	}
}

func TestScanAgreesWithEncodingJSON(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"{", "}", "[", "]", ",", ":", `"a"`, `"b"`, `"A"`, `"\u0061"`, `"\ud83c\udf89"`, `"\ud83c"`, `"\""`, `"\x"`,
		"1", "-0", "0.5", "01", "1e5", "1e999", "-", "true", "false", "null", "nul", " ", "\n", "\x00", "é", "\xff",
		`{"a":1}`, `{"a":{"b":[1,2]},"c":"d"}`, "[]", "{}",
	})
	rapid.Check(t, func(t *rapid.T) {
		checkScan(t, strings.Join(rapid.SliceOf(piece).Draw(t, "pieces"), ""))
	})
	value := rapid.MapOf(rapid.String(), rapid.SliceOf(rapid.MapOf(rapid.String(), rapid.Float64())))
	rapid.Check(t, func(t *rapid.T) {
		b, err := json.Marshal(value.Draw(t, "value"))
		if err != nil {
			t.Fatal(err)
		}
		checkScan(t, string(b))
	})
}

func FuzzScan(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":1,"b":[{"c":null}]}`, `{"a":"\ud83c\udf89"}`, `[1e400]`, `{"a":1,"A":2}`, `"x`, "\ufeff{}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) { checkScan(t, s) })
}

func TestNumbersInRange(t *testing.T) {
	for s, want := range map[string]bool{
		"0": true, "-0": true, "0e999": true, "0.00e-999": true, "9007199254740993": true, "1e308": true, "1e-308": true,
		"1e309": false, "-1e309": false, "1e-400": false, strings.Repeat("9", 400): false, "1" + strings.Repeat("0", 300): true,
	} {
		if got := numberInRange(s); got != want {
			t.Errorf("%s: %v", s, got)
		}
	}
}

// drawText draws what may stand between the quotes of a JSON string, and what may
// not, of some length.
func drawText(t *rapid.T, label string) string {
	piece := rapid.OneOf(
		rapid.String(),
		rapid.StringMatching(`[a-zA-Z0-9 _-]{0,20}`),
		rapid.SampledFrom([]string{`\"`, `\\`, `\/`, `\b\f\n\r\t`, `\u00e9`, `\ud83c\udf89`, `\ud83c`, `\x`, `\`, `"`, "\n", "\x00", "\x1f", "\x7f", "\x80", "\xff", "é", "\u2028"}),
	)
	return strings.Join(rapid.SliceOfN(piece, 0, 5).Draw(t, label), "")
}

func TestUnquoteAgreesWithEncodingJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawText(t, "text")
		got, ok := unquote(`"` + text + `"`)
		var want string
		err := json.Unmarshal([]byte(`"`+text+`"`), &want)
		if !strings.Contains(text, `\`) && err == nil {
			want = text // plain text is left as it is, UTF-8 or not
		}
		if ok != (err == nil) || got != want {
			t.Fatalf("%q: %q, %v; want %q, %v", text, got, ok, want, err)
		}
		quoted := appendQuoted(nil, strings.ToValidUTF8(text, ""))
		if got, ok := unquote(string(quoted)); !ok || got != strings.ToValidUTF8(text, "") {
			t.Fatalf("%q: quoted %q, which is %q, %v", text, quoted, got, ok)
		}
	})
}

func TestPlainLength(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawText(t, "text")
		want := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' })
		if want < 0 {
			want = len(s)
		}
		if got := plainLength(s); got != want {
			t.Fatalf("%q: %d, want %d", s, got, want)
		}
		length, hash, ascii := plainName(s)
		if length != want {
			t.Fatalf("%q: a name of %d bytes, want %d", s, length, want)
		}
		name := s[:want]
		if isASCII := strings.IndexFunc(name, func(r rune) bool { return r >= 0x80 }) < 0; ascii != isASCII {
			t.Fatalf("%q: ASCII %v", name, ascii)
		}
		if ascii && hash != foldedHash(name) {
			t.Fatalf("%q: %x, but %x rune by rune", name, hash, foldedHash(name))
		}
	})
}

func TestFoldedHash(t *testing.T) {
	for _, names := range [][2]string{
		{"userId", "USERID"}, {"key", "\u212aEY"}, {"sourcestamp", "\u017fourceStamp"}, {"É", "é"}, {"straße", "STRAẞE"}, {"Ωmega", "\u2126MEGA"},
	} {
		if !strings.EqualFold(names[0], names[1]) || foldedHash(names[0]) != foldedHash(names[1]) {
			t.Errorf("%q: %x and %x", names, foldedHash(names[0]), foldedHash(names[1]))
		}
	}
	seen := map[uint32]string{}
	for i := range 10_000 {
		name := "member" + strconv.Itoa(i)
		if other, twice := seen[foldedHash(name)]; twice {
			t.Errorf("%s and %s have one hash", name, other)
		}
		seen[foldedHash(name)] = name
	}
}
