package wire

import (
	"strings"

	"github.com/freshet/freshet/events"
)

// The members of data that is written.

// readData finds the members of data. Scalars are written to the rules for
// what is read; whatever else a payload has may come from a caller as it is.
func (w *writing) readData() error {
	switch how := cuttings[w.t]; {
	case how == asAsked:
		w.data, w.uncut = w.data[:0], w.object[1:]
		return nil
	case how == whole && w.cut():
		return nil
	}
	if err := w.scan("data", w.object); err != nil {
		return err
	}
	w.data, w.uncut = append(w.data[:0], w.json.members...), "}"
	return nil
}

// cutting is how the data of a type is cut into members.
type cutting int

const (
	not     cutting = iota // it is scanned
	whole                  // it has nothing but scalars, of which a number may be refused
	asAsked                // as far as a member is asked for: the others go unseen
)

// cuttings are by type: to look through its fields each time takes longer.
var cuttings = func() map[*events.Type]cutting {
	of := map[*events.Type]cutting{}
	for _, t := range events.Catalogue() {
		switch t.Shape {
		case events.ShapeSync, events.ShapeRoleFanOut, events.ShapeRolePermissions:
			of[t] = asAsked
		default: // other shapes move members
			of[t] = whole
		}
		for _, f := range t.Fields {
			switch f.Kind {
			case events.KindObject, events.KindArray, events.KindAny:
				of[t] = not
			case events.KindDecimal:
				of[t] = min(of[t], whole)
			}
		}
	}
	return of
}()

// cut cuts data into its members. It gives up at what it does not expect.
func (w *writing) cut() bool {
	w.data, w.uncut = w.data[:0], w.object[1:]
	for w.cutNext() {
	}
	return w.uncut == "}"
}

// cutNext cuts one more member off.
func (w *writing) cutNext() bool {
	const usualNumber = 100 // bytes; always in the range of a float64
	s := strings.TrimPrefix(w.uncut, ",")
	if s == "}" {
		return false
	}
	name, s, _ := strings.Cut(s[1:], `"`) // names of the catalogue have no escapes
	s = s[1:]
	end := 0
	switch kindOf(s[0]) {
	case jsonObject, jsonArray:
		return false
	case jsonString:
		end = stringLength(s)
	default:
		for s[end] != ',' && s[end] != '}' {
			end++
		}
		if end > usualNumber {
			return false
		}
	}
	w.data = append(w.data, member{name, s[:end]})
	w.uncut = s[end:]
	return true
}

// stringLength returns how many bytes at the beginning of s are a JSON string.
func stringLength(s string) int {
	if end := 2 + strings.IndexByte(s[1:], '"'); strings.IndexByte(s[:end], '\\') < 0 {
		return end
	}
	for i := 1; ; i++ {
		switch s[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
}

// of returns the text of a string member of data, "" when it is absent.
func (w *writing) of(names ...string) string {
	for _, name := range names {
		for i := 0; i < len(w.data) || w.cutNext(); i++ {
			if m := &w.data[i]; m.name == name && m.kind() == jsonString {
				return m.text()
			}
		}
	}
	return ""
}
