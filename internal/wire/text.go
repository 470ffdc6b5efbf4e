package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/freshet/freshet/events"
)

// maxNumber is the longest number that is read, in bytes.
const maxNumber = 400

// numberLength returns how many bytes at the beginning of s are a JSON number.
func numberLength(s string) (int, bool) {
	i := 0
	digits := func() bool {
		from := i
		for i < len(s) && '0' <= s[i] && s[i] <= '9' {
			i++
		}
		return i > from
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	if i < len(s) && s[i] == '0' {
		i++
	} else if !digits() {
		return 0, false
	}
	if i < len(s) && s[i] == '.' {
		i++
		if !digits() {
			return 0, false
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return 0, false
		}
	}
	return i, true
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

func isNumber(s string) bool {
	n, ok := numberLength(s)
	return ok && n == len(s)
}

// numberInRange tells whether a float64 comes near the number: others are
// read as infinite or zero by most readers, and exact arithmetic on them
// would need memory without bound.
func numberInRange(s string) bool {
	if len(s) > maxNumber {
		return false
	}
	mantissa := s
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa = s[:i]
	} else if len(s) < 300 {
		return true
	}
	f, err := strconv.ParseFloat(s, 64)
	return err == nil && (f != 0 || strings.Trim(mantissa, "-0.") == "")
}

// parseTime reads a time that can be written again: in UTC, too, its year must
// have four digits.
func parseTime(s string) (time.Time, error) {
	if t, ok := events.ParseTime(s); ok {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, errors.New("not ISO 8601 with a zone")
	}
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, errors.New("not within the years 1 to 9999")
	}
	return t, nil
}

// unquote returns the text of a JSON string.
func unquote(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	text := s[1 : len(s)-1]
	switch n := plainLength(text); {
	case n == len(text):
		return text, true
	case text[n] != '\\':
		return "", false
	}
	return unescape(s)
}

// unescape returns the text of a JSON string that has escapes.
func unescape(s string) (string, bool) {
	if strings.Contains(s, `\u`) || !utf8.ValidString(s) {
		var text string
		err := json.Unmarshal([]byte(s), &text)
		return text, err == nil
	}
	var b strings.Builder
	b.Grow(len(s))
	for rest := s[1 : len(s)-1]; rest != ""; rest = rest[2:] {
		n := plainLength(rest)
		b.WriteString(rest[:n])
		if rest = rest[n:]; rest == "" {
			break
		}
		if len(rest) < 2 || rest[0] != '\\' {
			return "", false
		}
		i := strings.IndexByte(`"\/bfnrt`, rest[1])
		if i < 0 {
			return "", false
		}
		b.WriteByte("\"\\/\b\f\n\r\t"[i])
	}
	return b.String(), true
}

// appendQuoted appends s as a JSON string.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for {
		n := plainLength(s)
		b = append(b, s[:n]...)
		if n == len(s) {
			return append(b, '"')
		}
		switch c := s[n]; {
		case c >= ' ':
			b = append(b, '\\', c)
		case shortEscape(c) != 0:
			b = append(b, '\\', shortEscape(c))
		default:
			b = fmt.Appendf(b, `\u%04x`, c)
		}
		s = s[n+1:]
	}
}

// shortEscape returns the letter of a control character's escape, or 0.
func shortEscape(c byte) byte {
	switch c {
	case '\n':
		return 'n'
	case '\r':
		return 'r'
	case '\t':
		return 't'
	}
	return 0
}

// quotedLength returns how many bytes appendQuoted appends.
func quotedLength(s string) int {
	length := len(s) + 2
	for {
		n := plainLength(s)
		if n == len(s) {
			return length
		}
		if c := s[n]; c >= ' ' || shortEscape(c) != 0 {
			length++
		} else {
			length += 5
		}
		s = s[n+1:]
	}
}
