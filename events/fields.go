package events

import (
	"encoding/json"
	"iter"
	"strconv"
)

// Field is one field of a stream entry.
type Field struct{ Name, Value string }

// Fields are the fields of a stream entry as they were read, byte for byte:
// Redis keeps their order, and names that stand twice. The zero value has
// none; fields are equal (==) when names and values are, in the same order.
//
// They are kept as the text that came from the server, because few who have an
// event ask for its fields: a list would be most of what the collector has to
// look at.
type Fields struct {
	text string // each name and each value as "$" length "\r\n" bytes "\r\n"
}

// FieldsOf returns the fields of a list.
func FieldsOf(list ...Field) Fields {
	if len(list) == 0 {
		return Fields{}
	}
	size := 0
	for _, f := range list {
		size += len(f.Name) + len(f.Value) + 2*len("$1234\r\n\r\n")
	}
	text := make([]byte, 0, size)
	for _, f := range list {
		for _, part := range [2]string{f.Name, f.Value} {
			text = append(text, '$')
			text = strconv.AppendInt(text, int64(len(part)), 10)
			text = append(text, "\r\n"...)
			text = append(text, part...)
			text = append(text, "\r\n"...)
		}
	}
	return Fields{string(text)}
}

// FieldsFrom returns the fields whose names and values stand in text, in turn,
// as the Redis protocol writes strings. It is for those who read entries from a
// server themselves, and keeps text. Where text is anything else, the fields
// end; they are not equal then to those that are listed like them.
func FieldsFrom(text string) Fields { return Fields{text} }

// All yields the fields in order.
func (f Fields) All() iter.Seq[Field] {
	return func(yield func(Field) bool) {
		for text := f.text; ; {
			field, rest, ok := cutField(text)
			if !ok || !yield(field) {
				return
			}
			text = rest
		}
	}
}

// AppendTo appends the fields to a list.
func (f Fields) AppendTo(list []Field) []Field {
	for text := f.text; ; {
		field, rest, ok := cutField(text)
		if !ok {
			return list
		}
		list = append(list, field)
		text = rest
	}
}

// List returns the fields as a list, which is the caller's.
func (f Fields) List() []Field {
	if f.text == "" {
		return nil
	}
	return f.AppendTo(make([]Field, 0, f.Len()))
}

// Len returns how many fields there are.
func (f Fields) Len() (n int) {
	for range f.All() {
		n++
	}
	return n
}

// Size returns how many bytes the fields take as they are kept.
func (f Fields) Size() int { return len(f.text) }

// MarshalJSON writes the fields as a list of objects with Name and Value.
func (f Fields) MarshalJSON() ([]byte, error) { return json.Marshal(f.List()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (f *Fields) UnmarshalJSON(text []byte) error {
	var list []Field
	if err := json.Unmarshal(text, &list); err != nil {
		return err
	}
	*f = FieldsOf(list...)
	return nil
}

func cutField(text string) (f Field, rest string, ok bool) {
	if f.Name, text, ok = cutString(text); !ok {
		return Field{}, "", false
	}
	f.Value, text, ok = cutString(text)
	return f, text, ok
}

// cutString cuts a string of the protocol off.
func cutString(text string) (s, rest string, ok bool) {
	if len(text) == 0 || text[0] != '$' {
		return "", "", false
	}
	n := 0
	for i := 1; i < len(text); i++ {
		d := text[i]
		if d >= '0' && d <= '9' {
			if n = 10*n + int(d-'0'); n > len(text) {
				return "", "", false
			}
			continue
		}
		from := i + 2
		if d != '\r' || len(text)-from < n+2 {
			return "", "", false
		}
		return text[from : from+n], text[from+n+2:], true
	}
	return "", "", false
}
