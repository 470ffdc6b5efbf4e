package replica

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// object is a JSON object, opened one level deep. Events have few fields, and
// of those that are asked for most are there, so they are searched one by one.
type object []member

// member is a field of an object. Both are parts of the object's text.
type member struct {
	name []byte // unquoted
	raw  []byte // nil for null
}

// parseObject appends the members of the object that text holds, and reports
// whether it holds one and is JSON throughout.
func parseObject(text []byte, members object) (object, bool) {
	if !json.Valid(text) {
		return members, false
	}
	i := skipSpace(text, 0)
	if text[i] != '{' {
		return members, false
	}
	for i = skipSpace(text, i+1); text[i] != '}'; {
		end := skipValue(text, i)
		name := text[i+1 : end-1]
		if !isPlain(name) {
			name = []byte(unquote(text[i:end]))
		}
		i = skipSpace(text, skipSpace(text, end)+1) // the colon
		end = skipValue(text, i)
		raw := text[i:end]
		if string(raw) == "null" {
			raw = nil
		}
		members = append(members, member{name, raw})
		if i = skipSpace(text, end); text[i] == ',' {
			i = skipSpace(text, i+1)
		}
	}
	return members, true
}

// get returns the value of the field; of several, the last. raw is nil for
// null.
func (o object) get(name string) (raw []byte, given bool) {
	for i := len(o) - 1; i >= 0; i-- {
		if string(o[i].name) == name {
			return o[i].raw, true
		}
	}
	return nil, false
}

// skipSpace and skipValue return where what begins at i ends. text is valid.
func skipSpace(text []byte, i int) int {
	for text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r' {
		i++
	}
	return i
}

func skipValue(text []byte, i int) int {
	switch text[i] {
	case '"':
		for i++; text[i] != '"'; i++ {
			if text[i] == '\\' {
				i++
			}
		}
		return i + 1
	case '{', '[':
		for depth := 0; ; {
			switch text[i] {
			case '"':
				i = skipValue(text, i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			i++
			if depth == 0 {
				return i
			}
		}
	}
	for ; i < len(text); i++ {
		switch text[i] {
		case ',', '}', ']', ' ', '\t', '\n', '\r':
			return i
		}
	}
	return i
}

// unquote returns the value of a valid JSON string.
func unquote(raw []byte) string {
	if inner := raw[1 : len(raw)-1]; isPlain(inner) {
		return string(inner)
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		panic("replica: " + err.Error()) // it was found valid
	}
	return s
}

// isPlain reports whether the inside of a JSON string stands for itself.
func isPlain(inner []byte) bool {
	return bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner)
}
