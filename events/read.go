package events

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

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
}

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
			if place >= 64 || seen&(1<<place) != 0 || !r.value(into.Field(p.fields[place].index)) {
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
func (r *reader) value(field reflect.Value) bool {
	start := r.i
	switch into := field.Addr().Interface().(type) {
	case *string:
		if text, ok := r.plain(); ok {
			*into = string(text)
			return true
		}
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
		if _, ok := r.plain(); ok {
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
	r.i = start
	return r.extent() && json.Unmarshal(r.data[start:r.i], field.Addr().Interface()) == nil
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

// next passes white space and returns the byte behind it, 0 at the end.
func (r *reader) next() byte {
	for ; r.i < len(r.data); r.i++ {
		switch c := r.data[r.i]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (r *reader) end() bool { return r.next() == 0 && r.i == len(r.data) }

// plain reads a string in which nothing is escaped and that is UTF-8, and
// returns its text.
func (r *reader) plain() ([]byte, bool) {
	rest := r.data[r.i:]
	if len(rest) == 0 || rest[0] != '"' {
		return nil, false
	}
	ascii := true
	for i := 1; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			r.i += i + 1
			return rest[1:i], ascii || utf8.Valid(rest[1:i])
		case c == '\\', c < ' ':
			return nil, false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, false
}

func (r *reader) word(word string) bool {
	if !bytes.HasPrefix(r.data[r.i:], []byte(word)) {
		return false
	}
	r.i += len(word)
	return true
}

// number reads a number.
func (r *reader) number() bool {
	r.byteOf("-")
	if !r.byteOf("0") && !r.digits() {
		return false
	}
	if r.byteOf(".") && !r.digits() {
		return false
	}
	if r.byteOf("eE") {
		r.byteOf("+-")
		return r.digits()
	}
	return true
}

func (r *reader) byteOf(set string) bool {
	if r.i == len(r.data) || strings.IndexByte(set, r.data[r.i]) < 0 {
		return false
	}
	r.i++
	return true
}

func (r *reader) digits() bool {
	from := r.i
	for r.i < len(r.data) && '0' <= r.data[r.i] && r.data[r.i] <= '9' {
		r.i++
	}
	return r.i > from
}

// extent passes the bytes that are a value, if they are JSON at all.
func (r *reader) extent() bool {
	const maxDepth = 1000 // encoding/json has a limit, too, over all of a text
	depth := 0
	for ; r.i < len(r.data); r.i++ {
		switch c := r.data[r.i]; c {
		case '"':
			for r.i++; r.i < len(r.data) && r.data[r.i] != '"'; r.i++ {
				if r.data[r.i] == '\\' {
					r.i++
				}
			}
		case '{', '[':
			if depth++; depth > maxDepth {
				return false
			}
			continue
		case '}', ']', ',':
			if depth == 0 {
				return true
			}
			if c == ',' {
				continue
			}
			if depth--; depth > 0 {
				continue
			}
		default:
			continue
		}
		if depth == 0 {
			r.i++
			return r.i <= len(r.data)
		}
	}
	return false
}
