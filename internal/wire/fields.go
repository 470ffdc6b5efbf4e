package wire

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/freshet/freshet/events"
)

// Limits of an entry, checked before its fields are read and before a publish.
const (
	maxEntry  = 1 << 20   // bytes of names and values
	maxField  = 256 << 10 // bytes of one value
	maxFields = 64
)

// ownPrefix begins the names of the fields that a dead letter adds to the
// original's.
const ownPrefix = "freshet-"

// named are the fields that the shapes give a meaning, free of the quotes of
// era v0. "" stands for absent; so do the words null and undefined, which
// publishers write for what they do not have.
type named struct {
	eventType, eventID, acknowledgmentID, messageID   string
	tenantID, entityType, entityID, action, timestamp string
	source, target, publishedBy, version              string

	data, eventData, acknowledgmentData, metadata, event jsonField

	originalID string // entry id of the original, in another system's copy
	entityNull bool   // entityId is there, and says null
}

// jsonField is a field whose value is JSON text.
type jsonField struct {
	text  string
	given bool
}

// place returns where the field of a name is kept: as a scalar or as JSON, or
// neither.
func (n *named) place(name string) (scalar *string, json *jsonField) {
	switch name {
	case "eventType":
		return &n.eventType, nil
	case "eventId":
		return &n.eventID, nil
	case "acknowledgmentId":
		return &n.acknowledgmentID, nil
	case "messageId":
		return &n.messageID, nil
	case "tenantId":
		return &n.tenantID, nil
	case "entityType":
		return &n.entityType, nil
	case "entityId":
		return &n.entityID, nil
	case "action":
		return &n.action, nil
	case "timestamp":
		return &n.timestamp, nil
	case "source", "sourceApp", "sourceApplication":
		return &n.source, nil
	case "targetApplication":
		return &n.target, nil
	case "publishedBy":
		return &n.publishedBy, nil
	case "version":
		return &n.version, nil
	case "data":
		return nil, &n.data
	case "eventData":
		return nil, &n.eventData
	case "acknowledgmentData":
		return nil, &n.acknowledgmentData
	case "metadata":
		return nil, &n.metadata
	case "event":
		return nil, &n.event
	}
	return nil, nil
}

// ofEnvelope tells whether a field belongs to an envelope, of any shape, and
// so never to data that stands at the top level.
func ofEnvelope(name string) bool {
	switch name {
	case "id", "streamId", "legacyEventType", "originalEventId", "dlqTimestamp", "validationErrors":
		return true
	}
	var n named
	scalar, json := n.place(name)
	return strings.HasPrefix(name, ownPrefix) || scalar != nil || json != nil
}

// fieldCheck refuses an entry by the count, the names and the size of its
// fields.
type fieldCheck struct {
	count, size int
	seen        uint64 // a bit for each name; others may share it, but none of the same shape
}

// next checks the field that comes next of all.
func (c *fieldCheck) next(f events.Field, all iter.Seq[events.Field]) *Refusal {
	i := c.count
	if c.count++; c.count > maxFields {
		return &Refusal{TooLarge, "entry", fmt.Sprintf("more than %d fields", maxFields)}
	}
	if f.Name == "" {
		return &Refusal{EmptyField, fmt.Sprintf("field %d", i+1), "a name is empty"}
	}
	first, last := f.Name[0], f.Name[len(f.Name)-1]
	mark := uint64(1) << ((uint(len(f.Name))*3 + uint(first) + uint(last)*3) % 64)
	if c.seen&mark != 0 && placeOf(all, f.Name) < i {
		return &Refusal{DuplicateField, fieldLabel(i, f.Name), "stands twice"}
	}
	c.seen |= mark
	if len(f.Value) > maxField {
		return &Refusal{TooLarge, fieldLabel(i, f.Name), fmt.Sprintf("%d bytes, at most %d", len(f.Value), maxField)}
	}
	c.size += len(f.Name) + len(f.Value)
	return nil
}

// end checks them together.
func (c *fieldCheck) end() *Refusal {
	if c.size > maxEntry {
		return &Refusal{TooLarge, "entry", fmt.Sprintf("%d bytes, at most %d", c.size, maxEntry)}
	}
	return nil
}

// placeOf returns the place of the first field of a name that is there.
func placeOf(all iter.Seq[events.Field], name string) (i int) {
	for f := range all {
		if f.Name == name {
			break
		}
		i++
	}
	return i
}

// checkFields is a fieldCheck of a list.
func checkFields(fields []events.Field) *Refusal {
	var c fieldCheck
	for _, f := range fields {
		if refusal := c.next(f, slices.Values(fields)); refusal != nil {
			return refusal
		}
	}
	return c.end()
}

// fieldLabel names a field in a refusal; names that are not ours may be
// anything and are given by their place.
func fieldLabel(i int, name string) string {
	if ofEnvelope(name) && !strings.HasPrefix(name, ownPrefix) {
		return name
	}
	return fmt.Sprintf("field %d", i+1)
}

// published returns the fields that the original had, or more of them than are
// allowed.
func (e *Entry) published() events.Fields {
	if _, ours := events.CopyOf(e.Stream); !ours {
		return e.Fields
	}
	var fields []events.Field
	for f := range e.Fields.All() {
		if len(fields) <= maxFields && !strings.HasPrefix(f.Name, ownPrefix) {
			fields = append(fields, f)
		}
	}
	return events.FieldsOf(fields...)
}

// isQuotedEra tells whether an entry is of era v0, in which every value is
// JSON text: the event type, or an acknowledgment's id, is a JSON string, and
// no other scalar of the envelope is anything but JSON. It is decided for the
// entry as a whole: a raw id of digits in a later era is no number.
func isQuotedEra(fields events.Fields, mark string) bool {
	if _, marked := unquote(mark); !marked {
		return false
	}
	var n named
	for f := range fields.All() {
		if scalar, _ := n.place(f.Name); scalar != nil && !isJSONScalar(f.Value) {
			return false
		}
	}
	return true
}

func isJSONScalar(s string) bool {
	switch s {
	case "null", "true", "false":
		return true
	}
	if _, ok := unquote(s); ok {
		return true
	}
	return isNumber(s)
}

// scalarText frees a value from the quotes of era v0 and from the words for
// absence.
func scalarText(s string, quotedEra bool) string {
	if quotedEra {
		if text, ok := unquote(s); ok {
			s = text
		}
	}
	if s == "null" || s == "undefined" {
		return ""
	}
	return s
}

// check checks the fields, and collects them. It returns how many bytes they
// have.
func (r *reading) check() (size int, refusal *Refusal) {
	var c fieldCheck
	all := r.fields.All()
	for f := range all {
		if refusal := c.next(f, all); refusal != nil {
			return 0, refusal
		}
		r.take(f)
	}
	return c.size, c.end()
}

func (r *reading) collect() {
	r.named = named{}
	for f := range r.fields.All() {
		r.take(f)
	}
}

// take puts a field where those of its name are kept. Of the three names of a
// source the first that is given counts.
func (r *reading) take(f events.Field) {
	n := &r.named
	scalar, json := n.place(f.Name)
	switch {
	case scalar != nil:
		if *scalar == "" {
			*scalar = scalarText(f.Value, r.quotedEra)
		}
		if scalar == &n.entityID {
			n.entityNull = f.Value == "null"
		}
	case json != nil:
		*json = jsonField{f.Value, true}
	case f.Name == "id":
		n.originalID = f.Value
	}
}

// flat returns the value of a field that is no envelope's.
func (r *reading) flat(name string) (string, bool) {
	for f := range r.fields.All() {
		if f.Name == name {
			return f.Value, true
		}
	}
	return "", false
}
