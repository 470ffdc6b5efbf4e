package events

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// plans are the plans of the catalogue by Go type.
var plans = func() map[reflect.Type]*plan {
	plans := map[reflect.Type]*plan{}
	for _, t := range catalogue {
		plans[reflect.TypeOf(t.New()).Elem()] = t.plan
	}
	return plans
}()

// unmarshal is [json.Unmarshal] for payloads.
func unmarshal[T Payload](data []byte, p *T) error {
	if plan := plans[reflect.TypeFor[T]()]; plan != nil {
		r := reader{data: data}
		if r.object(plan, reflect.ValueOf(p).Elem()) {
			return nil
		}
		*p = *new(T)
	}
	return json.Unmarshal(data, p)
}

// reader reads a payload of the catalogue as encoding/json does, in a third
// of the time: its names and kinds are known, and its strings mostly plain.
// What it does not know or does not like it leaves to encoding/json, which
// then reads all of the payload again: so that an error is always of
// encoding/json, too.
type reader struct {
	data []byte
	i    int

	texts [8]fieldText // found, and not set yet
	found int
}

// fieldText is the text of a field: where it is in data.
type fieldText struct{ field, from, to int }

// maxShared is how long a text may be, in bytes, to share memory with others.
const maxShared = 64

// object reads into the fields of a zero struct. It tells whether it could;
// when it could not, it may have set some.
func (r *reader) object(p *plan, into reflect.Value) bool {
	if r.next() != '{' {
		return false
	}
	r.i++
	var seen uint64 // fields
	if r.next() == '}' {
		r.i++
		return r.end()
	}
	for place := 0; ; {
		name, ok := r.plain()
		if !ok || r.next() != ':' {
			return false
		}
		r.i++
		r.next()
		if place, ok = p.place(name, place); ok {
			if place >= 64 || seen&(1<<place) != 0 || !r.value(&p.fields[place], into.Field(p.fields[place].index)) {
				return false
			}
			seen |= 1 << place
			place++
		} else if place < 0 || !r.skip() {
			return false
		}
		switch r.next() {
		case ',':
			r.i++
			r.next()
		case '}':
			r.i++
			r.setTexts(into)
			return r.end()
		default:
			return false
		}
	}
}

// place finds the field of a name, beginning with the one that is expected.
// place is below 0 when the name differs from a field's in case only:
// encoding/json takes these, too.
func (p *plan) place(name []byte, expected int) (place int, ok bool) {
	for i := range p.fields {
		at := expected + i
		if at >= len(p.fields) {
			at -= len(p.fields)
		}
		if p.fields[at].Name == string(name) {
			return at, true
		}
	}
	for i := range p.fields {
		if strings.EqualFold(p.fields[i].Name, string(name)) {
			return -1, false
		}
	}
	return expected, false
}

// value reads a value into a field.
func (r *reader) value(f *planField, field reflect.Value) bool {
	start := r.i
	if field.Kind() == reflect.String {
		text, ok := r.plain()
		if !ok {
			return r.foreign(field, start)
		}
		// Ids are what is kept longest, as keys: they share nothing.
		if f.Kind == KindID || len(text) > maxShared || r.found == len(r.texts) {
			field.SetString(string(text))
			return true
		}
		end := r.i - 1 // at the quote
		r.texts[r.found] = fieldText{f.index, end - len(text), end}
		r.found++
		return true
	}
	switch into := field.Addr().Interface().(type) {
	case **bool:
		switch {
		case r.word("true"):
			yes := true
			*into = &yes
			return true
		case r.word("false"):
			*into = new(bool)
			return true
		}
	case *int64:
		if r.number() {
			n, err := strconv.ParseInt(string(r.data[start:r.i]), 10, 64)
			*into = n
			return err == nil
		}
	case *time.Time:
		if text, ok := r.plain(); ok {
			if *into, ok = ParseTime(string(text)); ok {
				return true
			}
			return into.UnmarshalJSON(r.data[start:r.i]) == nil
		}
	case *decimal.Decimal:
		if r.number() {
			return into.UnmarshalJSON(r.data[start:r.i]) == nil
		}
	case **decimal.Decimal:
		if r.number() {
			*into = new(decimal.Decimal)
			return (*into).UnmarshalJSON(r.data[start:r.i]) == nil
		}
	}
	return r.foreign(field, start)
}

// foreign leaves the value that begins at start to encoding/json.
func (r *reader) foreign(field reflect.Value, start int) bool {
	r.i = start
	return r.extent() && json.Unmarshal(r.data[start:r.i], field.Addr().Interface()) == nil
}

// setTexts sets the short texts that were found, cut from one string: who
// keeps one of them keeps all, and saves as many allocations.
func (r *reader) setTexts(into reflect.Value) {
	texts := r.texts[:r.found]
	size := 0
	for _, t := range texts {
		size += t.to - t.from
	}
	var joined strings.Builder
	joined.Grow(size)
	for _, t := range texts {
		joined.Write(r.data[t.from:t.to])
	}
	rest := joined.String()
	for _, t := range texts {
		n := t.to - t.from
		into.Field(t.field).SetString(rest[:n])
		rest = rest[n:]
	}
}

// skip passes a value that no field takes.
func (r *reader) skip() bool {
	start := r.i
	if _, ok := r.plain(); ok {
		return true
	}
	r.i = start
	return r.extent() && json.Valid(r.data[start:r.i])
}
