package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/shopspring/decimal"
)

// maxExponent bounds the size of a number: beyond it, JSON readers overflow.
const maxExponent = 308

// Encode returns the payload's data: a JSON object in the order of the Go
// fields. Empty fields are absent, or null where the guide's publisher writes
// null; numbers are exact; text is UTF-8 with no more escapes than JSON needs.
func Encode(p Payload) ([]byte, error) { return AppendEncode(nil, p) }

// AppendEncode appends what Encode returns to b.
func AppendEncode(b []byte, p Payload) ([]byte, error) {
	v, err := valueOf(p)
	if err != nil {
		return nil, err
	}
	switch e := p.(type) {
	case InterApp:
		return appendObject(b, e.Data)
	case *InterApp:
		return appendObject(b, e.Data)
	}
	start := len(b)
	b = append(slices.Grow(b, 256), '{')
	fields := p.Type().plan.fields
	for i := range fields {
		f := &fields[i]
		if f.Envelope {
			continue
		}
		before := len(b)
		if before > start+1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), f.Name...), '"', ':')
		fv := v.Field(f.index)
		switch {
		case f.always || !isEmpty(fv):
			if b, err = appendValue(b, fv); err != nil {
				return nil, &FieldError{typeLabel(p.Type()), "data." + f.Name, err.Error()}
			}
		case f.null:
			b = append(b, "null"...)
		default:
			b = b[:before]
		}
	}
	return append(b, '}'), nil
}

// valueOf returns the struct that p is or points to.
func valueOf(p Payload) (reflect.Value, error) {
	v := reflect.ValueOf(p)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return v, errors.New("no payload given")
	}
	return v, nil
}

var (
	stringType  = reflect.TypeFor[string]()
	decimalType = reflect.TypeFor[decimal.Decimal]()
)

// isEmpty tells whether a field's value stands for an absent one. A decimal
// never does, and neither does a map without members.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Slice: // raw JSON
		return v.Len() == 0
	case reflect.Struct:
		return v.Type() != decimalType && v.IsZero()
	}
	return v.IsZero()
}

func appendValue(b []byte, v reflect.Value) ([]byte, error) {
	if v.Type() == stringType {
		return appendString(b, v.String())
	}
	switch x := v.Interface().(type) {
	case *bool:
		return strconv.AppendBool(b, *x), nil
	case int64:
		return strconv.AppendInt(b, x, 10), nil
	case decimal.Decimal:
		return appendDecimal(b, x)
	case *decimal.Decimal:
		return appendDecimal(b, *x)
	case time.Time:
		if y := x.UTC().Year(); y < 1 || y > 9999 {
			return nil, errors.New("must be within the years 1 to 9999")
		}
		return append(AppendTime(append(b, '"'), x), '"'), nil
	case json.RawMessage:
		return appendRaw(b, x)
	default:
		return appendJSON(b, x)
	}
}

// AppendTime appends a time of the years 1 to 9999 as times stand in data and
// on the envelope: in UTC, to the millisecond, "2006-01-02T15:04:05.000Z".
func AppendTime(b []byte, t time.Time) []byte {
	// The layout for which package time has a fast way ends in a Z, without
	// the milliseconds.
	b = t.UTC().AppendFormat(b, time.RFC3339)
	ms := t.Nanosecond() / int(time.Millisecond)
	return append(b[:len(b)-1], '.', '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10), 'Z')
}

// appendString appends s as JSON does in the publishers of the suite: with no
// escape that is not needed. Text that is not UTF-8 is refused, not mended.
func appendString(b []byte, s string) ([]byte, error) {
	b = append(b, '"')
	start := len(b)
	b = append(b, s...)
	if isPlain(b[start:]) {
		return append(b, '"'), nil
	}
	return appendEscaped(b[:start], s)
}

// isPlain tells whether b is ASCII without anything that has to be escaped.
func isPlain(b []byte) bool {
	for _, c := range b[plainWords(b):] {
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// appendEscaped appends s and the quote behind it.
func appendEscaped(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, errors.New("must be UTF-8")
	}
	const hex = "0123456789abcdef"
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
		}
	}
	return append(append(b, s[from:]...), '"'), nil
}

func appendDecimal(b []byte, d decimal.Decimal) ([]byte, error) {
	if !inRange(d) {
		return nil, errors.New("number out of range")
	}
	return append(b, d.String()...), nil
}

func inRange(d decimal.Decimal) bool {
	e := int64(d.Exponent())
	return e >= -maxExponent && e+int64(d.NumDigits()) <= maxExponent
}

// appendObject appends raw JSON, an empty object when there is none.
func appendObject(b []byte, raw json.RawMessage) ([]byte, error) {
	if len(raw) == 0 {
		return append(b, "{}"...), nil
	}
	return appendRaw(b, raw)
}

func appendRaw(b []byte, raw json.RawMessage) ([]byte, error) {
	buffer := bytes.NewBuffer(b)
	if err := json.Compact(buffer, raw); err != nil {
		return nil, errors.New("must be JSON")
	}
	return buffer.Bytes(), nil
}

func appendJSON(b []byte, v any) ([]byte, error) {
	buffer := bytes.NewBuffer(b)
	e := json.NewEncoder(buffer)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, errors.New("has no JSON form")
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte{'\n'}), nil
}
