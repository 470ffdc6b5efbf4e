package replica

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"github.com/freshet/freshet/events"
)

// record reads the fields of one event's data and says them of a row. Its
// methods take the column to set and the names that the field may have in
// data; the first that is there counts. The first value that is not of its
// kind becomes err.
type record struct {
	env    *events.Envelope
	fields object
	patch  patch
	err    *RejectedError
}

// read checks what every event needs and opens its data. What the record held
// of another event is gone.
func (r *record) read(env *events.Envelope) *RejectedError {
	*r = record{env: env, fields: r.fields[:0]}
	switch {
	case env.Type == nil || !takes(env.Type):
		return rejected(env, "", "the copy has no table for this type")
	case env.Tenant == "" || !utf8.ValidString(env.Tenant):
		return rejected(env, "", "no tenant")
	case env.Identity == "" || !utf8.ValidString(env.Identity):
		return rejected(env, "", "no identity")
	case env.Time.UTC().Year() < 0 || env.Time.UTC().Year() > 9999:
		return rejected(env, "", "event time out of range")
	}
	var ok bool
	if r.fields, ok = parseObject(env.Data, r.fields); !ok {
		return rejected(env, "", "data is not a JSON object")
	}
	return nil
}

func (r *record) reject(field, problem string) {
	if r.err == nil {
		r.err = rejected(r.env, field, problem)
	}
}

// field returns the first field that is there. raw is nil for null.
func (r *record) field(names ...string) (name string, raw []byte, given bool) {
	for _, name := range names {
		if raw, given := r.fields.get(name); given {
			return name, raw, true
		}
	}
	return "", nil, false
}

// id returns the first field that is set, and "" when there is none.
func (r *record) id(names ...string) string {
	for _, name := range names {
		raw, _ := r.fields.get(name)
		if raw == nil {
			continue
		}
		if s, ok := scalar(raw); !ok {
			r.reject(name, "must be a string")
		} else if s != "" {
			return s
		}
	}
	return ""
}

// required is id for what an event cannot do without.
func (r *record) required(names ...string) string {
	id := r.id(names...)
	if id == "" {
		r.reject(names[0], "missing")
	}
	return id
}

func (r *record) text(column string, names ...string) {
	name, raw, given := r.field(names...)
	if !given {
		return
	}
	if raw == nil {
		r.set(column, nil)
	} else if s, ok := scalar(raw); ok {
		r.set(column, s)
	} else {
		r.reject(name, "must be a string")
	}
}

// scalar returns a JSON string's value, or a number as it is written: some
// publishers write ids as numbers, which must not be rounded.
func scalar(raw []byte) (string, bool) {
	switch {
	case raw[0] == '"':
		return unquote(raw), true
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		return string(raw), true
	}
	return "", false
}

func (r *record) boolean(column, name string) {
	_, raw, given := r.field(name)
	switch {
	case !given:
	case raw == nil:
		r.set(column, nil)
	case string(raw) == "true":
		r.set(column, int64(1))
	case string(raw) == "false":
		r.set(column, int64(0))
	default:
		r.reject(name, "must be true or false")
	}
}

// active says is_active of something that is new: true unless denied.
func (r *record) active() {
	r.boolean("is_active", "isActive")
	if raw, _ := r.fields.get("isActive"); raw == nil {
		r.set("is_active", int64(1))
	}
}

func (r *record) integer(column, name string) {
	_, raw, given := r.field(name)
	if !given {
		return
	}
	if raw == nil {
		r.set(column, nil)
	} else if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		r.set(column, n)
	} else {
		r.reject(name, "must be a whole number")
	}
}

// timestamp takes "" for null, as forms send it.
func (r *record) timestamp(column string, names ...string) {
	name, raw, given := r.field(names...)
	if !given {
		return
	}
	if raw == nil || string(raw) == `""` {
		r.set(column, nil)
		return
	}
	s, ok := scalar(raw)
	t, err := time.Parse(time.RFC3339, s)
	if !ok || err != nil || t.UTC().Year() < 0 || t.UTC().Year() > 9999 {
		r.reject(name, `must be a time such as "2025-12-04T10:00:00.000Z"`)
		return
	}
	r.set(column, milliseconds(t))
}

// since is timestamp for a moment that an event of its own tells: where the
// field is missing, it is the event's time.
func (r *record) since(column, name string) {
	r.set(column, milliseconds(r.env.Time))
	if _, raw, _ := r.field(name); raw != nil && string(raw) != `""` {
		r.timestamp(column, name)
	}
}

func milliseconds(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// document stores JSON in canonical form. Publishers also write it as a string
// that holds JSON.
func (r *record) document(column, name string) {
	_, raw, given := r.field(name)
	if !given {
		return
	}
	if raw == nil {
		r.set(column, nil)
		return
	}
	if raw[0] == '"' {
		if inner := []byte(unquote(raw)); json.Valid(inner) {
			raw = inner
		}
	}
	s, err := canonical(raw)
	if err != nil {
		r.reject(name, "must be JSON")
		return
	}
	r.set(column, s)
}

// canonical returns JSON without spaces and with sorted keys, numbers as they
// are written.
func canonical(raw []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return "", err
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// amount reads an exact decimal. The bound keeps 1e999999999 from becoming a
// gigabyte of zeros.
func (r *record) amount(name string) decimal.Decimal {
	const digits = 1000
	raw, _ := r.fields.get(name)
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		r.reject(name, "must be a number")
		return decimal.Decimal{}
	}
	d, err := decimal.NewFromString(string(raw))
	if err != nil || len(raw) > digits || d.Exponent() > digits || d.Exponent() < -digits {
		r.reject(name, "must be a number of at most 1000 digits")
		return decimal.Decimal{}
	}
	return d
}
