package wire

import "strings"

// kind is what a JSON value is, told by its first byte.
type kind byte

const (
	jsonString kind = '"'
	jsonNumber kind = '0'
	jsonTrue   kind = 't'
	jsonFalse  kind = 'f'
	jsonNull   kind = 'n'
	jsonObject kind = '{'
	jsonArray  kind = '['
)

func kindOf(first byte) kind {
	if first == '-' || '0' <= first && first <= '9' {
		return jsonNumber
	}
	return kind(first)
}

// member is one member of an object: its name and the text of its value.
type member struct{ name, value string }

func (m *member) kind() kind { return kindOf(m.value[0]) }

// text returns a string value, which has been scanned, without its quotes and
// escapes; "" of another kind of value.
func (m *member) text() string {
	if m.kind() != jsonString {
		return ""
	}
	if strings.IndexByte(m.value, '\\') < 0 {
		return m.value[1 : len(m.value)-1]
	}
	s, _ := unquote(m.value)
	return s
}

// text is the text of a member that was scanned last.
func (c *scanner) text(m *member) string {
	if c.escaped || m.kind() != jsonString {
		return m.text()
	}
	return m.value[1 : len(m.value)-1]
}

// findMember returns the member of a name, nil when it is absent or null.
func findMember(members []member, name string) *member {
	for i := range members {
		if m := &members[i]; m.name == name && m.kind() != jsonNull {
			return m
		}
	}
	return nil
}
