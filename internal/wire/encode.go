package wire

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/freshet/freshet/events"
)

// Outgoing is an event to be written.
type Outgoing struct {
	Tenant        string // required but for acknowledgments
	Payload       events.Payload
	Key           string         // idempotency key: the same tenant, type and key give the same event id
	CorrelationID string         // default: made of the entity and the time
	Traceparent   string         // W3C trace context
	Source        string         // publishing application
	Time          time.Time      // default now
	Metadata      map[string]any // more metadata, where the shape has any
}

// Encode lays an event out as era v1 does: the stream, the fields in the
// order and spelling of the type's shape, and the id that the event got.
// Errors that a caller can mend are *events.FieldError.
func Encode(m Outgoing) (stream string, fields []events.Field, eventID string, err error) {
	if err := events.Validate(m.Payload); err != nil {
		return "", nil, "", err
	}
	space := workspaces.Get().(*workspace)
	w := writing{workspace: space, Outgoing: m, t: m.Payload.Type(), stamp: newStamp(m)}
	eventID, err = w.encode()
	space.release()
	workspaces.Put(space)
	if err != nil {
		return w.stream, nil, "", err
	}
	return w.stream, w.fields, eventID, nil
}

// writing is one event while it is encoded.
type writing struct {
	*workspace
	Outgoing
	t      *events.Type
	stamp  stamp
	stream string
	object string // data, whose members are in the workspace
	time   string
	ms     string // of the event's time
	fields []events.Field
}

func (w *writing) encode() (eventID string, err error) {
	if err := w.prepare(); err != nil {
		return "", err
	}
	switch w.t.Shape {
	case events.ShapeSync:
		eventID, err = w.sync()
	case events.ShapeAssignment:
		eventID, err = w.assignment()
	case events.ShapeCredit, events.ShapeConsumption:
		eventID, err = w.credit()
	case events.ShapeInterApp:
		eventID, err = w.interApp()
	case events.ShapeAcknowledgment:
		eventID, err = w.acknowledgment()
	case events.ShapeRoleFanOut:
		eventID, err = w.roleFanOut()
	case events.ShapeRolePermissions:
		eventID, err = w.rolePermissions()
	}
	if err != nil {
		return "", err
	}
	if refusal := checkFields(w.fields); refusal != nil {
		return "", w.fail(refusal.Field, refusal.Detail)
	}
	return eventID, nil
}

func (w *writing) prepare() error {
	w.stream = strings.Replace(w.t.Stream, "{app}", application(w.Payload), 1)
	if w.t.Shape != events.ShapeAcknowledgment {
		if err := events.ValidTenant(w.Tenant); err != nil {
			return w.fail("tenantId", strings.TrimPrefix(err.Error(), "tenant: "))
		}
	}
	if w.Source != "" {
		if err := events.ValidID(w.Source); err != nil {
			return w.fail("source", err.Error())
		}
	}
	if w.Time.IsZero() {
		w.Time = time.Now()
	}
	w.Time = w.Time.UTC()
	if y := w.Time.Year(); y < 1970 || y > 9999 {
		return w.fail("timestamp", "must be within the years 1970 to 9999")
	}
	w.scratch = events.AppendTime(w.scratch[:0], w.Time)
	w.time = w.text(w.scratch)
	w.scratch = strconv.AppendInt(w.scratch[:0], w.Time.UnixMilli(), 10)
	w.ms = w.text(w.scratch)
	data, err := events.AppendEncode(w.scratch[:0], w.Payload)
	if err != nil {
		return err
	}
	w.scratch = data
	w.object = w.text(data)
	w.fields = make([]events.Field, 0, 11)
	return w.readData()
}

// readData finds the members of data. Scalars are written to the rules for
// what is read; whatever else a payload has may come from a caller as it is.
func (w *writing) readData() error {
	if !slices.ContainsFunc(w.t.Fields, notScalar) && w.cut() {
		return nil
	}
	if err := w.scan("data", w.object); err != nil {
		return err
	}
	w.data = append(w.data[:0], w.json.members...)
	return nil
}

func notScalar(f events.DataField) bool {
	switch f.Kind {
	case events.KindObject, events.KindArray, events.KindAny:
		return true
	}
	return false
}

// cut cuts data into its members. It gives up at what it does not expect.
func (w *writing) cut() bool {
	const usualNumber = 100 // bytes; always in the range of a float64
	w.data = w.data[:0]
	for rest := w.object[1:]; rest != "}"; {
		rest = strings.TrimPrefix(rest, ",")
		name, after, _ := strings.Cut(rest[1:], `":`) // names of the catalogue have no escapes
		end := 0
		switch kindOf(after[0]) {
		case jsonObject, jsonArray:
			return false
		case jsonString:
			end = stringLength(after)
		default:
			end = strings.IndexAny(after, ",}")
			if end > usualNumber {
				return false
			}
		}
		w.data = append(w.data, member{name, after[:end]})
		rest = after[end:]
	}
	return true
}

// stringLength returns how many bytes at the beginning of s are a JSON string.
func stringLength(s string) int {
	for i := 1; ; i++ {
		switch s[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
}

// scan holds what is written to the rules for what is read; the scanner then
// has the members.
func (w *writing) scan(field, text string) error {
	if _, refusal := w.json.scan(field, text); refusal != nil {
		return w.fail(field, strings.ReplaceAll(string(refusal.Reason), "_", " ")+", "+refusal.Detail)
	}
	return nil
}

func (w *writing) fail(field, problem string) error {
	name := w.t.Name
	if name == "" {
		name = "inter-app"
	}
	return &events.FieldError{Type: name, Field: field, Problem: problem}
}

func (w *writing) add(name, value string) {
	w.fields = append(w.fields, events.Field{Name: name, Value: value})
}

// of returns the text of a string member of data, "" when it is absent.
func (w *writing) of(names ...string) string {
	for _, name := range names {
		for i := range w.data {
			if m := &w.data[i]; m.name == name && m.kind() == jsonString {
				return m.text()
			}
		}
	}
	return ""
}

// correlation returns the correlation id as JSON: the caller's, or one in the
// form that the guide's publisher gives.
func (w *writing) correlation(family, about string) string {
	id := w.CorrelationID
	if id == "" {
		b := append(append(w.scratch[:0], family...), '_')
		b = append(append(b, about...), '_')
		w.scratch = append(b, w.ms...)
		id = w.text(w.scratch)
	}
	return w.quoted(id)
}

// metadata renders the shape's own metadata, with the trace context, and the
// caller's over it.
func (w *writing) metadata(shapes ...member) (string, error) {
	own := append(w.own[:0], shapes...)
	if w.Traceparent != "" {
		own = setMember(own, member{"traceparent", w.quoted(w.Traceparent)})
	}
	if len(w.Metadata) > 0 {
		var err error
		if own, err = w.callers(own); err != nil {
			return "", err
		}
	}
	w.own = own
	b := append(w.scratch[:0], '{')
	for _, m := range own {
		b = appendMember(b, m)
	}
	w.scratch = append(b, '}')
	text := w.text(w.scratch)
	// The rest is ours, or was checked as a part of data.
	ofCaller := len(w.Metadata) > 0 || w.t.Shape == events.ShapeAssignment
	if ofCaller || !utf8.ValidString(w.CorrelationID) || !utf8.ValidString(w.Traceparent) {
		return text, w.scan("metadata", text)
	}
	return text, nil
}

// callers sets what the caller gives in the order of the names.
func (w *writing) callers(own []member) ([]member, error) {
	for _, name := range slices.Sorted(maps.Keys(w.Metadata)) {
		var text bytes.Buffer
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		if err := e.Encode(w.Metadata[name]); err != nil {
			return nil, w.fail("metadata", "has no JSON form")
		}
		own = setMember(own, member{name, strings.TrimSuffix(text.String(), "\n")})
	}
	return own, nil
}

func setMember(members []member, m member) []member {
	for i := range members {
		if members[i].name == m.name {
			members[i] = m
			return members
		}
	}
	return append(members, m)
}

// source returns the name of the publishing application. The owner of the
// data goes by several names, one for each shape.
func (w *writing) source(owners string) string {
	switch w.Source {
	case "", "wrapper", "wrapper-api", "wrapper-app":
		return owners
	}
	return w.Source
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
