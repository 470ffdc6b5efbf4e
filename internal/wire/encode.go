package wire

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

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
	w := writing{Outgoing: m, t: m.Payload.Type(), stamp: newStamp(m)}
	if err := w.prepare(); err != nil {
		return w.stream, nil, "", err
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
		return w.stream, nil, "", err
	}
	if refusal := checkFields(w.fields); refusal != nil {
		return w.stream, nil, "", w.fail(refusal.Field, refusal.Detail)
	}
	return w.stream, w.fields, eventID, nil
}

// writing is one event while it is encoded.
type writing struct {
	Outgoing
	t       *events.Type
	stamp   stamp
	stream  string
	data    string   // JSON object
	members []member // of data
	time    string
	ms      string // of the event's time
	fields  []events.Field
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
	w.time = w.Time.Format("2006-01-02T15:04:05.000Z")
	w.ms = decimalOf(w.Time.UnixMilli())
	data, err := events.Encode(w.Payload)
	if err != nil {
		return err
	}
	w.data = string(data)
	w.members, err = w.scan("data", w.data)
	return err
}

// scan holds what is written to the rules for what is read.
func (w *writing) scan(field, text string) ([]member, error) {
	var c scanner
	if _, refusal := c.scan(field, text); refusal != nil {
		return nil, w.fail(field, strings.ReplaceAll(string(refusal.Reason), "_", " ")+", "+refusal.Detail)
	}
	return c.members, nil
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
		for i := range w.members {
			if m := &w.members[i]; m.name == name && m.kind() == jsonString {
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
		id = family + "_" + about + "_" + w.ms
	}
	return string(appendQuoted(nil, id))
}

// metadata renders the shape's own metadata, with the trace context, and the
// caller's over it.
func (w *writing) metadata(own []member) (string, error) {
	if w.Traceparent != "" {
		own = setMember(own, member{"traceparent", string(appendQuoted(nil, w.Traceparent))})
	}
	for _, name := range slices.Sorted(maps.Keys(w.Metadata)) {
		var text bytes.Buffer
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		if err := e.Encode(w.Metadata[name]); err != nil {
			return "", w.fail("metadata", "has no JSON form")
		}
		own = setMember(own, member{name, strings.TrimSuffix(text.String(), "\n")})
	}
	b := []byte{'{'}
	for _, m := range own {
		b = appendMember(b, m)
	}
	text := string(append(b, '}'))
	_, err := w.scan("metadata", text)
	return text, err
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
