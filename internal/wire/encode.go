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

func (w *writing) sync() (string, error) {
	id := w.stamp.id("", "-")
	entity := w.of(w.t.Key...)
	about := entity // whom the correlation id names
	switch w.t.Entity {
	case "role_assignment":
		about = w.of("userId")
	case "credit":
		if w.t.Key[0] == "configId" {
			about = "system"
			break
		}
		if entity = w.of("allocationId"); entity == "" {
			entity = "credit_" + w.ms
		}
	}
	family, _, _ := strings.Cut(w.t.Name, "_")
	metadata, err := w.metadata([]member{
		{"correlationId", w.correlation(family, about)},
		{"version", `"1.0"`},
		{"retryCount", `0`},
		{"sourceTimestamp", `"` + w.time + `"`},
	})
	if err != nil {
		return "", err
	}
	source := "wrapper-api"
	if family == "org" || family == "credit" {
		source = "wrapper"
	}
	w.fields = make([]events.Field, 0, 11)
	w.add("streamId", w.stream)
	w.add("messageId", id)
	w.add("timestamp", w.time)
	w.add("sourceApp", w.source(source))
	w.add("eventType", w.t.Name)
	w.add("entityType", w.t.Entity)
	w.add("entityId", entity)
	w.add("tenantId", w.Tenant)
	w.add("action", w.t.Action)
	w.add("data", w.wireData())
	w.add("metadata", metadata)
	return id, nil
}

// wireData is data with the amount of an allocation under the name that its
// consumers know.
func (w *writing) wireData() string {
	if w.t.Name != "credit_allocated" {
		return w.data
	}
	b := []byte{'{'}
	for _, m := range w.members {
		if m.name == "amount" {
			m.name = "allocatedCredits"
		}
		b = appendMember(b, m)
	}
	return string(append(b, '}'))
}

func (w *writing) assignment() (string, error) {
	version := "1.0"
	if w.t.Action == "created" || w.t.Action == "updated" {
		version = "1.1"
	}
	data, err := w.dataWithMetadata()
	if err != nil {
		return "", err
	}
	id := w.stamp.uuid
	w.add("eventId", id)
	w.add("eventType", w.t.Name)
	w.add("source", w.source("wrapper-app"))
	w.add("version", version)
	w.add("timestamp", w.time)
	w.add("tenantId", w.Tenant)
	w.add("data", data)
	return id, nil
}

// dataWithMetadata puts metadata into data, where assignments carry it.
func (w *writing) dataWithMetadata() (string, error) {
	if len(w.Metadata) == 0 && w.CorrelationID == "" && w.Traceparent == "" {
		return w.data, nil
	}
	var own []member
	b := []byte{'{'}
	for _, m := range w.members {
		if m.name != "metadata" {
			b = appendMember(b, m)
			continue
		}
		if m.kind() != jsonObject {
			return "", w.fail("data.metadata", "must be a JSON object")
		}
		var err error
		if own, err = w.scan("data.metadata", m.value); err != nil {
			return "", err
		}
	}
	if w.CorrelationID != "" {
		own = setMember(own, member{"correlationId", w.correlation("", "")})
	}
	metadata, err := w.metadata(own)
	if err != nil {
		return "", err
	}
	return string(append(appendMember(b, member{"metadata", metadata}), '}')), nil
}

func (w *writing) credit() (string, error) {
	id := w.stamp.id("evt_", "_")
	consumed := w.t.Shape == events.ShapeConsumption
	flat := func(name string) bool {
		switch name {
		case "entityId", "amount":
			return true
		case "userId", "operationType", "operationId":
			return consumed
		}
		return false
	}
	var own []member
	if w.CorrelationID != "" {
		own = append(own, member{"correlationId", w.correlation("", "")})
	}
	amount := ""
	for _, m := range w.members {
		if m.name == "amount" {
			amount = m.value
		}
		if !flat(m.name) {
			own = append(own, m)
		}
	}
	metadata, err := w.metadata(own)
	if err != nil {
		return "", err
	}
	w.add("eventId", id)
	w.add("eventType", w.t.Name)
	w.add("tenantId", w.Tenant)
	w.add("entityId", w.of("entityId"))
	if consumed {
		w.add("userId", w.of("userId"))
	}
	w.add("amount", amount)
	if consumed {
		w.add("operationType", w.of("operationType"))
		w.add("operationId", w.of("operationId"))
	}
	w.add("timestamp", w.time)
	w.add("source", w.source("wrapper"))
	w.add("metadata", metadata)
	return id, nil
}

func (w *writing) interApp() (string, error) {
	to := address(w.Payload)
	id := w.stamp.id("inter_", "_")
	w.add("eventId", id)
	w.add("eventType", to.EventType)
	w.add("sourceApplication", or(to.Source, w.source("wrapper")))
	w.add("targetApplication", to.Target)
	w.add("tenantId", w.Tenant)
	w.add("entityId", to.EntityID)
	w.add("timestamp", w.time)
	w.add("eventData", w.data)
	w.add("publishedBy", or(to.PublishedBy, "system"))
	return id, nil
}

func (w *writing) acknowledgment() (string, error) {
	id := w.stamp.id("ack_", "_")
	data := "{}"
	for _, m := range w.members {
		if m.name == "acknowledgmentData" {
			data = m.value
		}
	}
	w.add("acknowledgmentId", id)
	w.add("originalEventId", w.of("originalEventId"))
	w.add("status", w.of("status"))
	w.add("timestamp", w.time)
	w.add("source", w.source("wrapper"))
	w.add("acknowledgmentData", data)
	return id, nil
}

func (w *writing) roleFanOut() (string, error) {
	id := w.stamp.id(application(w.Payload)+"_", "_")
	w.add("eventId", id)
	w.add("timestamp", w.time)
	w.add("eventType", w.t.Name)
	w.add("tenantId", w.Tenant)
	w.add("entityType", w.t.Entity)
	w.add("entityId", w.of("roleId"))
	w.add("data", w.data)
	w.add("publishedBy", or(w.of("createdBy", "updatedBy", "deletedBy"), "system"))
	return id, nil
}

func (w *writing) rolePermissions() (string, error) {
	role := w.of("roleId")
	metadata, err := w.metadata([]member{
		{"correlationId", w.correlation("role_permissions", role)},
		{"version", `"1.0"`},
		{"sourceTimestamp", `"` + w.time + `"`},
		{"sourceApp", string(appendQuoted(nil, w.source("wrapper")))},
	})
	if err != nil {
		return "", err
	}
	id := w.stamp.uuid
	w.add("eventId", id)
	w.add("timestamp", w.time)
	w.add("eventType", w.t.Name)
	w.add("tenantId", w.Tenant)
	w.add("entityType", w.t.Entity)
	w.add("entityId", role)
	w.add("action", w.t.Action)
	w.add("data", w.data)
	w.add("metadata", metadata)
	return id, nil
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

// application returns the application that a fan-out is for.
func application(p events.Payload) string {
	switch p := p.(type) {
	case events.RoleCreated:
		return p.App
	case *events.RoleCreated:
		return p.App
	case events.AppRoleUpdated:
		return p.App
	case *events.AppRoleUpdated:
		return p.App
	case events.RoleDeleted:
		return p.App
	case *events.RoleDeleted:
		return p.App
	}
	return ""
}

// address returns the envelope of an inter-app event.
func address(p events.Payload) events.InterApp {
	switch p := p.(type) {
	case events.InterApp:
		return p
	case *events.InterApp:
		return *p
	case events.AppUserCreated:
		return events.InterApp{
			EventType:   p.Type().Name,
			Target:      p.Target,
			Source:      p.Source,
			EntityID:    or(p.EntityID, p.UserID),
			PublishedBy: p.PublishedBy,
		}
	case *events.AppUserCreated:
		return address(*p)
	}
	return events.InterApp{}
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
