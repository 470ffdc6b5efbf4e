package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

const interAppPrefix = "inter-app:"

// Parse reads a payload from a JSON object, for tools where a person writes
// it. typeName is a canonical name or an alias; "inter-app:" and a name mean
// an inter-app event of that name, whose targetApplication, sourceApplication,
// entityId and publishedBy stand in the object beside its eventData (or, for
// inter-app:user.created, beside userId and email). A role fan-out takes its
// application as app; credit events take what is metadata on the wire at the
// top or in metadata.
//
// Unknown names, of types and of fields, are errors that name the nearest one.
// Parse does not check what Validate checks.
func Parse(typeName string, data []byte) (Payload, error) {
	t, eventType, err := parseType(typeName)
	if err != nil {
		return nil, err
	}
	into := reflect.ValueOf(t.New()).Elem()
	if err := parseObject(t, into, data); err != nil {
		return nil, err
	}
	p := into.Interface().(Payload)
	if e, ok := p.(InterApp); ok {
		e.EventType = eventType
		return e, nil
	}
	return p, nil
}

// UnknownTypeError says that the catalogue has no such type.
type UnknownTypeError struct {
	Name    string
	Nearest string // "" when no name is near
}

func (e *UnknownTypeError) Error() string {
	name := e.Name
	if len(name) > MaxID { // whatever it is, it is no name to be read
		name = name[:MaxID] + "..."
	}
	if e.Nearest == "" {
		return fmt.Sprintf("unknown event type %q", name)
	}
	return fmt.Sprintf("unknown event type %q; did you mean %q?", name, e.Nearest)
}

func parseType(name string) (t *Type, eventType string, err error) {
	if eventType, ok := strings.CutPrefix(name, interAppPrefix); ok && eventType != "" {
		return LookupInterApp(eventType), eventType, nil
	}
	if t := byName[name]; t != nil {
		return t, t.Name, nil
	}
	return nil, "", &UnknownTypeError{name, Nearest(name)}
}

// parseObject sets the fields of into from a JSON object.
func parseObject(t *Type, into reflect.Value, data []byte) error {
	fail := func(field, problem string) error { return &FieldError{typeLabel(t), field, problem} }
	seen := map[string]bool{}
	err := members(data, func(name string, raw json.RawMessage) error {
		if name == "metadata" && (t.Shape == ShapeCredit || t.Shape == ShapeConsumption) {
			return parseObject(t, into, raw)
		}
		f := t.plan.field(name)
		switch {
		case f == nil:
			problem := "unknown"
			if near := nearest(name, fieldNames(t)); near != "" {
				problem += fmt.Sprintf("; did you mean %q?", near)
			}
			return fail("data."+name, problem)
		case seen[f.Name]:
			return fail(f.path(), "given twice")
		}
		seen[f.Name] = true
		if !f.fits(raw) || json.Unmarshal(raw, into.Field(f.index).Addr().Interface()) != nil {
			return fail(f.path(), f.Kind.rule())
		}
		return nil
	})
	var fieldError *FieldError
	if err != nil && !errors.As(err, &fieldError) {
		return fail("data", err.Error())
	}
	return err
}

// fits refuses what encoding/json would take against the kind.
func (f *planField) fits(raw json.RawMessage) bool {
	return f.Kind != KindDecimal || raw[0] != '"'
}

func (k Kind) rule() string {
	switch k {
	case KindID, KindString:
		return "must be a string"
	case KindBool:
		return "must be true or false"
	case KindInt:
		return "must be a whole number"
	case KindDecimal:
		return "must be a number"
	case KindTime:
		return `must be a time such as "2025-12-04T10:00:00.000Z"`
	case KindObject:
		return "must be an object of the type's form"
	}
	return "must be JSON"
}

// members calls f for each member of a JSON object.
func members(data []byte, f func(name string, raw json.RawMessage) error) error {
	d := json.NewDecoder(bytes.NewReader(data))
	bad := func() error { return fmt.Errorf("bad JSON at byte %d", d.InputOffset()) }
	switch open, err := d.Token(); {
	case err != nil:
		return bad()
	case open != json.Delim('{'):
		return errors.New("must be a JSON object")
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return bad()
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return bad()
		}
		if err := f(name.(string), raw); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return bad()
	}
	if _, err := d.Token(); err != io.EOF {
		return bad()
	}
	return nil
}

// Nearest returns the type name, canonical or alias, that name is most likely
// a misspelling of, and "" when none is near.
func Nearest(name string) string {
	var names []string
	for _, t := range catalogue {
		if named(t) {
			names = append(names, t.Name)
			names = append(names, t.Aliases...)
		}
	}
	return nearest(name, names)
}

func fieldNames(t *Type) []string {
	var names []string
	for _, f := range t.Fields {
		names = append(names, f.Name)
	}
	return names
}

// nearest returns the name with the least edits from s, if these are few.
func nearest(s string, names []string) string {
	if len(s) > 100 {
		return ""
	}
	best, least := "", len(s)/3+2
	for _, name := range names {
		if d := edits(strings.ToLower(s), strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	return best
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
