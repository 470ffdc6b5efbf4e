package personal

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/freshet/freshet/events"
)

// personal are the names of fields that say who a person is, as fieldName
// spells them.
var personal = map[string]bool{
	"email": true, "emailaddress": true, "useremail": true, "contactemail": true,
	"name": true, "firstname": true, "lastname": true, "middlename": true, "fullname": true,
	"displayname": true, "username": true, "surname": true, "givenname": true,
	"phone": true, "phonenumber": true, "mobile": true, "telephone": true, "fax": true,
	"address": true, "street": true, "birthdate": true, "dateofbirth": true,
	"ipaddress": true,
}

var fieldName = strings.NewReplacer("_", "", "-", "", " ", "")

// Is tells whether a field of this name says who a person is.
func Is(name string) bool { return personal[fieldName.Replace(strings.ToLower(name))] }

// maxDepth is how many containers may lie within each other: an event has 32 at
// most, and a text may have millions.
const maxDepth = 64

var errDepth = errors.New("too deep")

// JSON hides the values of personal fields at any depth of a JSON object, also
// of one within a string, and keeps everything else as it is. What is no JSON
// is hidden, and what is too deep for an event.
func JSON(raw json.RawMessage) json.RawMessage {
	if raw == nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var b bytes.Buffer
	if err := maskValue(d, &b, false, 0); err != nil {
		return json.RawMessage(`"***"`)
	}
	return b.Bytes()
}

func maskValue(d *json.Decoder, b *bytes.Buffer, hidden bool, depth int) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	switch token := token.(type) {
	case json.Delim:
		if depth == maxDepth {
			return errDepth
		}
		return maskMembers(d, b, token, hidden, depth+1)
	case string:
		switch {
		case hidden:
			token = Text(token)
		case strings.HasPrefix(strings.TrimSpace(token), "{"), strings.HasPrefix(strings.TrimSpace(token), "["):
			token = maskWithin(token)
		}
		writeJSON(b, token)
	case json.Number:
		if hidden {
			b.WriteString(`"***"`)
		} else {
			b.WriteString(token.String())
		}
	default: // true, false, null
		writeJSON(b, token)
	}
	return nil
}

// maskMembers masks an object or an array; those in a personal field are
// personal as a whole.
func maskMembers(d *json.Decoder, b *bytes.Buffer, open json.Delim, hidden bool, depth int) error {
	b.WriteByte(byte(open))
	for n := 0; d.More(); n++ {
		if n > 0 {
			b.WriteByte(',')
		}
		within := hidden
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			within = hidden || Is(name.(string))
			writeJSON(b, name)
			b.WriteByte(':')
		}
		if err := maskValue(d, b, within, depth); err != nil {
			return err
		}
	}
	end, err := d.Token()
	if err != nil {
		return err
	}
	b.WriteByte(byte(end.(json.Delim)))
	return nil
}

// maskWithin masks text that looks like JSON.
func maskWithin(text string) string {
	if raw := json.RawMessage(text); json.Valid(raw) {
		return string(JSON(raw))
	}
	return "***"
}

func writeJSON(b *bytes.Buffer, v any) {
	e := json.NewEncoder(b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // a string, true, false or null into a buffer: cannot fail
	b.Truncate(b.Len() - 1)
}

// Text masks a value: it leaves the first letter, and the domain of an address:
// "a***@example.com", "J***".
func Text(s string) string {
	if s == "" {
		return ""
	}
	_, first := utf8.DecodeRuneInString(s)
	masked := s[:first] + "***"
	if at := strings.LastIndexByte(s, '@'); at > 0 {
		masked += s[at:]
	}
	return masked
}

// Fields masks the fields of an entry as it was read.
func Fields(fields []events.Field) []events.Field {
	masked := make([]events.Field, len(fields))
	for i, f := range fields {
		masked[i] = events.Field{Name: f.Name, Value: field(f)}
	}
	return masked
}

func field(f events.Field) string {
	switch f.Name {
	case "data", "eventData", "acknowledgmentData", "metadata", "event":
		return string(JSON(json.RawMessage(f.Value)))
	}
	text := strings.TrimSpace(f.Value)
	switch {
	case Is(f.Name):
		return Text(f.Value)
	case strings.HasPrefix(text, "{"), strings.HasPrefix(text, "["), strings.HasPrefix(text, `"{`), strings.HasPrefix(text, `"[`):
		return string(JSON(json.RawMessage(f.Value)))
	}
	return f.Value
}
