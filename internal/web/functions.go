package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/personal"
)

var functions = template.FuncMap{
	"text":   text,
	"short":  short,
	"num":    number,
	"ago":    func(t time.Time) string { return ago(time.Since(t)) },
	"span":   span,
	"bytes":  size,
	"clock":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") },
	"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"to":     to,
	"list":   func(items ...any) []any { return items },
	"plural": plural,
	"entity": entityText,
}

// to is the address of a page: a path and pairs of parameter and value, of
// which the empty ones are left out.
func to(path string, pairs ...any) string {
	query := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if value := fmt.Sprint(pairs[i+1]); value != "" {
			query.Set(fmt.Sprint(pairs[i]), value)
		}
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + query.Encode()
}

// text makes what nobody can see visible: control characters but for line
// ends and tabs, marks that change the direction of what follows, and what is
// no UTF-8.
func text(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, unseen) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1, unseen(r) && r <= 0x7f:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unseen(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		s = s[n:]
	}
	return b.String()
}

func unseen(r rune) bool { return r != '\n' && r != '\t' && !unicode.IsPrint(r) }

// short is the first n characters of s, as text.
func short(n int, s string) string {
	count := 0
	for i := range s {
		if count++; count > n {
			return text(s[:i]) + "…"
		}
	}
	return text(s)
}

// number writes a whole number with its thousands apart.
func number(v any) string {
	digits := fmt.Sprint(v)
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "\u202f" + digits[i:]
	}
	return sign + digits
}

func plural(n any, one, many string) string {
	if fmt.Sprint(n) == "1" {
		return "1 " + one
	}
	return number(n) + " " + many
}

// span writes a duration as a person would say it.
func span(d time.Duration) string {
	switch d = d.Abs(); {
	case d < 10*time.Second && d >= time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d d", int(d.Hours()/24))
}

func ago(d time.Duration) string {
	switch {
	case d < -2*time.Second:
		return "in " + span(d)
	case d < 2*time.Second:
		return "just now"
	}
	return span(d) + " ago"
}

func size(n int64) string {
	const unit = 1024
	switch {
	case n < 0:
		return "unknown"
	case n < unit:
		return fmt.Sprintf("%d B", n)
	case n < unit*unit:
		return fmt.Sprintf("%.1f KiB", float64(n)/unit)
	case n < unit*unit*unit:
		return fmt.Sprintf("%.1f MiB", float64(n)/unit/unit)
	}
	return fmt.Sprintf("%.1f GiB", float64(n)/unit/unit/unit)
}

func entityText(e events.Entity) string { return strings.Trim(e.Type+"/"+e.ID, "/") }

// pretty is an event's data as it is read best: indented where it is JSON.
func pretty(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "  ") != nil {
		return string(raw)
	}
	return b.String()
}

// dataOf returns an event's decoded data, or what stands in its place on the
// wire, with personal data masked unless it is revealed.
func dataOf(e *events.Envelope, revealed bool) json.RawMessage {
	data := e.Data
	if data == nil {
		for f := range e.Fields.All() {
			if f.Name == "data" || f.Name == "eventData" {
				data = json.RawMessage(f.Value)
			}
		}
	}
	if revealed {
		return data
	}
	return personal.JSON(data)
}
