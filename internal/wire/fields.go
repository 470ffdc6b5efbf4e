package wire

import (
	"fmt"
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

// scalar returns where a named scalar is kept, nil for other names.
func (n *named) scalar(name string) *string {
	switch name {
	case "eventType":
		return &n.eventType
	case "eventId":
		return &n.eventID
	case "acknowledgmentId":
		return &n.acknowledgmentID
	case "messageId":
		return &n.messageID
	case "tenantId":
		return &n.tenantID
	case "entityType":
		return &n.entityType
	case "entityId":
		return &n.entityID
	case "action":
		return &n.action
	case "timestamp":
		return &n.timestamp
	case "source", "sourceApp", "sourceApplication":
		return &n.source
	case "targetApplication":
		return &n.target
	case "publishedBy":
		return &n.publishedBy
	case "version":
		return &n.version
	}
	return nil
}

func (n *named) json(name string) *jsonField {
	switch name {
	case "data":
		return &n.data
	case "eventData":
		return &n.eventData
	case "acknowledgmentData":
		return &n.acknowledgmentData
	case "metadata":
		return &n.metadata
	case "event":
		return &n.event
	}
	return nil
}

// ofEnvelope tells whether a field belongs to an envelope, of any shape, and
// so never to data that stands at the top level.
func ofEnvelope(name string) bool {
	switch name {
	case "id", "streamId", "legacyEventType", "originalEventId", "dlqTimestamp", "validationErrors":
		return true
	}
	var n named
	return strings.HasPrefix(name, ownPrefix) || n.scalar(name) != nil || n.json(name) != nil
}

// checkFields refuses an entry by the count, the names and the size of its
// fields.
func checkFields(fields []events.Field) *Refusal {
	if len(fields) > maxFields {
		return &Refusal{TooLarge, "entry", fmt.Sprintf("%d fields, at most %d", len(fields), maxFields)}
	}
	size := 0
	for i, f := range fields {
		if f.Name == "" {
			return &Refusal{EmptyField, fmt.Sprintf("field %d", i+1), "a name is empty"}
		}
		for _, other := range fields[:i] {
			if other.Name == f.Name {
				return &Refusal{DuplicateField, fieldLabel(i, f.Name), "stands twice"}
			}
		}
		if len(f.Value) > maxField {
			return &Refusal{TooLarge, fieldLabel(i, f.Name), fmt.Sprintf("%d bytes, at most %d", len(f.Value), maxField)}
		}
		size += len(f.Name) + len(f.Value)
	}
	if size > maxEntry {
		return &Refusal{TooLarge, "entry", fmt.Sprintf("%d bytes, at most %d", size, maxEntry)}
	}
	return nil
}

// fieldLabel names a field in a refusal; names that are not ours may be
// anything and are given by their place.
func fieldLabel(i int, name string) string {
	if ofEnvelope(name) && !strings.HasPrefix(name, ownPrefix) {
		return name
	}
	return fmt.Sprintf("field %d", i+1)
}

// withoutOwn returns the fields that the original had.
func withoutOwn(fields []events.Field) []events.Field {
	for i, f := range fields {
		if strings.HasPrefix(f.Name, ownPrefix) {
			rest := append([]events.Field(nil), fields[:i]...)
			for _, f := range fields[i:] {
				if !strings.HasPrefix(f.Name, ownPrefix) {
					rest = append(rest, f)
				}
			}
			return rest
		}
	}
	return fields
}

// isQuotedEra tells whether an entry is of era v0, in which every value is
// JSON text: the event type is a JSON string, and no other scalar of the
// envelope is anything but JSON. It is decided for the entry as a whole: a raw
// id of digits in a later era is no number.
func isQuotedEra(fields []events.Field, acknowledgment bool) bool {
	mark := "eventType"
	if acknowledgment {
		mark = "acknowledgmentId"
	}
	marked := false
	var n named
	for _, f := range fields {
		if n.scalar(f.Name) == nil {
			continue
		}
		if f.Name == mark {
			_, marked = unquote(f.Value)
		}
		if !isJSONScalar(f.Value) {
			return false
		}
	}
	return marked
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

// collect sorts the fields by name. Of the three names of a source the first
// that is given counts.
func (r *reading) collect() {
	n := &r.named
	for _, f := range r.fields {
		if slot := n.scalar(f.Name); slot != nil {
			if *slot == "" {
				*slot = scalarText(f.Value, r.quotedEra)
			}
			if f.Name == "entityId" {
				n.entityNull = f.Value == "null"
			}
		} else if slot := n.json(f.Name); slot != nil {
			*slot = jsonField{f.Value, true}
		} else if f.Name == "id" {
			n.originalID = f.Value
		}
	}
}

// flat returns the value of a field that is no envelope's.
func (r *reading) flat(name string) (string, bool) {
	for _, f := range r.fields {
		if f.Name == name {
			return f.Value, true
		}
	}
	return "", false
}
