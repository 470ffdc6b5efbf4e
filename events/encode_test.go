package events

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// written is what a string is to look like, one character after the other.
func written(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case strings.ContainsRune("\"\\", r):
			b.WriteString("\\" + string(r))
		case strings.ContainsRune("\b\f\n\r\t", r):
			b.WriteString(`\` + string("bfnrt"[strings.IndexRune("\b\f\n\r\t", r)]))
		case r < ' ':
			b.WriteString(`\u00` + string("0123456789abcdef"[r>>4]) + string("0123456789abcdef"[r&15]))
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// Every byte at every place within and behind the words of eight bytes.
func TestStringsAreWrittenWithTheEscapesThatTheyNeed(t *testing.T) {
	before := "before"
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				b := []byte(strings.Repeat("x", length))
				b[at] = byte(c)
				checkString(t, before, string(b))
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-z"\\é\n]*`), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) }))
		checkString(t, before, text.Draw(t, "s"))
	})
}

func checkString(t interface{ Fatalf(string, ...any) }, before, s string) {
	got, err := appendString([]byte(before), s)
	if !utf8.ValidString(s) {
		if err == nil {
			t.Fatalf("%q: written, but is not UTF-8", s)
		}
		return
	}
	if want := before + written(s); err != nil || string(got) != want {
		t.Fatalf("%q: %s, %v, want %s", s, got, err, want)
	}
	var again string
	if err := json.Unmarshal(got[len(before):], &again); err != nil || again != s {
		t.Fatalf("%q: read again as %q, %v", s, again, err)
	}
}
