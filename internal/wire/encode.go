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
	Time          time.Time      // default that of Moment
	Moment        Moment         // default now
	Metadata      map[string]any // more metadata, where the shape has any
	Room          *Room          // where the fields are put; default: memory of their own
}

// Encode lays an event out as era v1 does: the stream, the fields in the
// order and spelling of the type's shape, and the id that the event got.
// Errors that a caller can mend are *events.FieldError.
func Encode(m Outgoing) (stream string, fields []events.Field, eventID string, err error) {
	if err := events.Validate(m.Payload); err != nil {
		return "", nil, "", err
	}
	if m.Moment.tick == 0 {
		m.Moment = Moments(1)
	}
	if m.Time.IsZero() {
		m.Time = m.Moment.at
	}
	space := workspaces.Get().(*workspace)
	w := writing{workspace: space, Outgoing: m, t: m.Payload.Type(), stamp: newStamp(m)}
	eventID, err = w.encode()
	space.release()
	workspaces.Put(space)
	if err != nil {
		return w.stream, nil, "", err
	}
	if m.Room != nil {
		m.Room.fields = m.Room.fields[:len(m.Room.fields)+len(w.fields)]
	}
	return w.stream, w.fields, eventID, nil
}

// writing is one event while it is encoded.
type writing struct {
	*workspace
	Outgoing
	t          *events.Type
	stamp      stamp
	stream     string
	object     string // data, whose members are in the workspace
	uncut      string // what of it has not been cut into members yet
	time       string
	quotedTime string // as JSON
	fields     []events.Field
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
	w.stream = w.t.Stream
	if w.t.Shape == events.ShapeRoleFanOut {
		w.stream = strings.Replace(w.stream, "{app}", application(w.Payload), 1)
	}
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
	w.Time = w.Time.UTC()
	if y := w.Time.Year(); y < 1970 || y > 9999 {
		return w.fail("timestamp", "must be within the years 1970 to 9999")
	}
	w.scratch = append(events.AppendTime(append(w.scratch[:0], '"'), w.Time), '"')
	w.quotedTime = w.text(w.scratch)
	w.time = w.quotedTime[1 : len(w.quotedTime)-1]
	data, err := events.AppendEncode(w.scratch[:0], w.Payload)
	if err != nil {
		return err
	}
	w.scratch = data
	w.object = w.text(data)
	if w.Room != nil {
		w.fields = w.Room.forFields()
	} else {
		w.fields = make([]events.Field, 0, mostFields)
	}
	return w.readData()
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

// correlation returns the correlation id as JSON: the caller's, or one in the
// form that the guide's publisher gives.
func (w *writing) correlation(family, about string) string {
	if w.CorrelationID != "" {
		return w.quoted(w.CorrelationID)
	}
	b := append(append(w.scratch[:0], '"'), family...)
	quote := len(b)
	b = appendQuoted(b, about)
	b[quote], b[len(b)-1] = '_', '_' // for its quotes
	b = strconv.AppendInt(b, w.Time.UnixMilli(), 10)
	w.scratch = append(b, '"')
	return w.text(w.scratch)
}

// metadata renders the shape's own metadata, with the trace context, and the
// caller's over it.
func (w *writing) metadata(members ...member) (string, error) {
	if w.Traceparent != "" || len(w.Metadata) > 0 {
		w.own = append(w.own[:0], members...)
		if w.Traceparent != "" {
			w.own = setMember(w.own, member{"traceparent", w.quoted(w.Traceparent)})
		}
		if err := w.addCallers(); err != nil {
			return "", err
		}
		members = w.own
	}
	b := append(w.scratch[:0], '{')
	for _, m := range members {
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

// addCallers sets what the caller gives in the order of the names.
func (w *writing) addCallers() error {
	for _, name := range slices.Sorted(maps.Keys(w.Metadata)) {
		var text bytes.Buffer
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		if err := e.Encode(w.Metadata[name]); err != nil {
			return w.fail("metadata", "has no JSON form")
		}
		w.own = setMember(w.own, member{name, strings.TrimSuffix(text.String(), "\n")})
	}
	return nil
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
