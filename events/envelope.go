package events

import (
	"encoding/json"
	"time"
)

// Entity names what an event is about. Within a tenant, events of one entity
// are handled one at a time and in order.
type Entity struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

// Envelope is one decoded stream entry: what every event has, whatever its
// type, its era and its shape on the wire.
//
// Entries are read many at a time and share memory: who keeps an envelope for
// long keeps up to 100 KB of its neighbours with it, who keeps a string or the
// data of it up to 20 KB. [strings.Clone] and [bytes.Clone] make copies of their
// own.
//
// The envelope is authoritative. Nothing in Data overrides it; a tenantId
// inside Data in particular is only a value there.
type Envelope struct {
	Stream   string // stream key the entry was read from
	ID       string // entry id, "1735987200000-0"
	Identity string // stable over copies, redeliveries and re-publishes

	Type     *Type  // nil when the catalogue does not know WireType
	WireType string // event type as it stands on the wire, unquoted

	Tenant string // "" only where the shape carries none (acknowledgments)
	Entity Entity
	Time   time.Time // publisher's timestamp; the entry id's time when absent
	Source string    // application that published
	Action string

	// Of inter-app events and role fan-outs, "" for the others.
	Target      string // application that the event is addressed to
	PublishedBy string // user who caused it

	CorrelationID string
	Traceparent   string // W3C trace context, from metadata

	Data     json.RawMessage // JSON object in the catalogue's field names
	Metadata json.RawMessage // JSON object, or nil
	Fields   Fields          // as read, byte for byte

	Warnings []string // tolerated oddities, e.g. "metadata: bad JSON, taken as empty"
}

// TypeName returns the catalogue's name of the event type, or the wire's own
// when the catalogue does not know it.
func (e *Envelope) TypeName() string {
	if e.Type == nil || e.Type.Name == "" {
		return e.WireType
	}
	return e.Type.Name
}
