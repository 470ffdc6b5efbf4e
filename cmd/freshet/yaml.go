package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// toYAML writes a JSON document as YAML, as an item of a list or by itself. A
// string is quoted where it could be taken for something else, and what a
// terminal might obey is escaped.
func toYAML(text []byte, item bool) (string, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	value, err := inOrder(d)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if item {
		b.WriteString("- ")
		writeYAML(&b, value, 2)
	} else {
		writeYAML(&b, value, 0)
	}
	return b.String(), nil
}

// member is one of an object whose order is kept.
type member struct {
	name  string
	value any
}

// inOrder reads the next value: []member, []any or a scalar.
func inOrder(d *json.Decoder) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		object := []member{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			value, err := inOrder(d)
			if err != nil {
				return nil, err
			}
			object = append(object, member{name.(string), value})
		}
		_, err = d.Token()
		return object, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			value, err := inOrder(d)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err = d.Token()
		return list, err
	}
	return token, nil
}

// writeYAML writes a value where the indentation of its first line stands
// already.
func writeYAML(b *strings.Builder, value any, indent int) {
	margin := strings.Repeat(" ", indent)
	switch v := value.(type) {
	case []member:
		for n, m := range v {
			if n > 0 {
				b.WriteString(margin)
			}
			b.WriteString(yamlString(m.name) + ":")
			if nested(m.value) {
				b.WriteString("\n" + margin + "  ")
			} else {
				b.WriteString(" ")
			}
			writeYAML(b, m.value, indent+2)
		}
		if len(v) == 0 {
			b.WriteString("{}\n")
		}
	case []any:
		for n, item := range v {
			if n > 0 {
				b.WriteString(margin)
			}
			b.WriteString("- ")
			writeYAML(b, item, indent+2)
		}
		if len(v) == 0 {
			b.WriteString("[]\n")
		}
	case string:
		b.WriteString(yamlString(v) + "\n")
	case nil:
		b.WriteString("null\n")
	default: // a number, true or false
		fmt.Fprintln(b, v)
	}
}

func nested(value any) bool {
	switch v := value.(type) {
	case []member:
		return len(v) > 0
	case []any:
		return len(v) > 0
	}
	return false
}

// plainYAML is what is a string without quotes, unless it is a word that means
// something.
var (
	plainYAML = regexp.MustCompile(`^[A-Za-z](?:[A-Za-z0-9_./:-]*[A-Za-z0-9])?$`)
	yamlWords = regexp.MustCompile(`^(?i:true|false|null|yes|no|on|off|y|n)$`)
)

func yamlString(s string) string {
	if plainYAML.MatchString(s) && !yamlWords.MatchString(s) {
		return s
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"', r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r > 0xffff && unprintable(r):
			fmt.Fprintf(&b, `\U%08x`, r)
		case unprintable(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
