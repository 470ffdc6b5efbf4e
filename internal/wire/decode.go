package wire

import (
	"fmt"
	"strings"
	"time"

	"github.com/freshet/freshet/events"
)

// acknowledgmentType is the one type that is told by its stream alone.
var acknowledgmentType = events.Acknowledgment{}.Type()

// Decoder reads entries. The zero value is ready; it is safe for concurrent
// use.
type Decoder struct {
	Now func() time.Time // default time.Now
}

// Decode reads an entry of any era and shape. The envelope is never nil: of
// an entry that is refused it holds what could be read. An entry whose type
// the catalogue does not know is not refused for it: Type is nil then, and
// only the fields as such have been checked.
func (d *Decoder) Decode(e *Entry) (*events.Envelope, *Refusal) {
	w := workspaces.Get().(*workspace)
	r := reading{
		workspace: w,
		entry:     e,
		base:      events.BaseStream(e.Stream),
		fields:    e.published(),
		now:       d.Now,
	}
	size, refusal := r.check()
	r.env = w.envelope(size, refusal)
	w.scratch = e.ID.Append(w.scratch[:0])
	r.env.Stream, r.env.ID, r.env.Fields, r.env.Time = e.Stream, w.text(w.scratch), e.Fields, idTime(e.ID)
	if refusal == nil {
		refusal = r.decode()
	} else {
		r.env.Identity = r.place(e.Ref())
	}
	w.release()
	workspaces.Put(w)
	return r.env, refusal
}

// reading is one entry while it is decoded.
type reading struct {
	*workspace
	env       *events.Envelope
	entry     *Entry
	base      string        // the stream that the entry was first published on
	fields    events.Fields // as published
	quotedEra bool          // v0
	named     named
	now       func() time.Time // nil: time.Now

	publisherID string // of the event, "" when it has none
	businessID  string // of an allocation or operation, from metadata
	validID     string // the one that was found valid last
	badTenant   error  // what is wrong with tenantId
	early       bool   // the timestamp is ahead
	built       []byte // data that was put together, when it is long; nobody else writes it
}

func (r *reading) decode() *Refusal {
	acknowledgment := strings.HasPrefix(r.base, acknowledgmentType.Stream) &&
		events.Lookup(r.base, "") == acknowledgmentType
	mark := r.named.eventType
	if acknowledgment {
		mark = r.named.acknowledgmentID
	}
	if isQuotedEra(r.fields, mark) {
		r.quotedEra = true
		r.collect()
	}
	if r.named.event.given && r.named.eventType == "" && !acknowledgment {
		if refusal := r.unwrap(); refusal != nil {
			r.env.Identity = r.place(r.entry.Ref())
			return refusal
		}
	}
	badTime := r.readable()
	switch {
	case acknowledgment:
		r.env.Type = acknowledgmentType
		r.env.WireType = acknowledgmentType.Name
	case r.named.eventType == "":
		return &Refusal{Reason: MissingField, Field: "eventType"}
	case len(r.named.eventType) > events.MaxID:
		return &Refusal{BadID, "eventType", fmt.Sprintf("must have at most %d bytes", events.MaxID)}
	default:
		r.env.WireType = r.named.eventType
		r.env.Type = r.lookup(r.base, r.named.eventType)
		if r.named.entityType == "interapp" {
			r.env.Type = events.LookupInterApp(r.named.eventType)
		}
	}
	if r.env.Type == nil {
		r.unknown()
		return nil
	}
	if r.env.Action == "" {
		r.env.Action = r.env.Type.Action
	}
	if refusal := r.checkEnvelope(badTime); refusal != nil {
		return refusal
	}
	if refusal := r.metadata(); refusal != nil {
		return refusal
	}
	return r.data()
}

// unwrap takes the members of an event that was written as one JSON object in
// one field for the fields of the entry.
func (r *reading) unwrap() *Refusal {
	kind, refusal := r.json.scan("event", r.named.event.text)
	if refusal != nil {
		return refusal
	}
	if kind != jsonObject {
		return &Refusal{BadJSONType, "event", "must be an object"}
	}
	var fields []events.Field
	tenantWide := false
	for i := range r.json.members {
		m := &r.json.members[i]
		switch m.kind() {
		case jsonNull:
			tenantWide = tenantWide || m.name == "entityId"
		case jsonString:
			fields = append(fields, events.Field{Name: m.name, Value: m.text()})
		default:
			fields = append(fields, events.Field{Name: m.name, Value: m.value})
		}
	}
	r.fields, r.quotedEra = events.FieldsOf(fields...), false
	r.collect()
	r.named.entityNull = r.named.entityNull || tenantWide
	r.warn("event: the whole event in one field")
	return nil
}

// unknown keeps the data of an event that the catalogue does not know, where
// it is an object.
func (r *reading) unknown() {
	for _, f := range []jsonField{r.named.data, r.named.eventData} {
		if kind, refusal := r.json.scan("data", f.text); f.given && refusal == nil && kind == jsonObject {
			r.env.Data = keep(r.workspace, f.text)
			return
		}
	}
}

// metadata reads the metadata field. What is no JSON object is taken as
// empty: no event is lost for it.
func (r *reading) metadata() *Refusal {
	if !r.named.metadata.given {
		return nil
	}
	text, refusal := r.object("metadata", r.named.metadata.text)
	switch {
	case refusal == nil:
	case refusal.Reason == BadJSON, refusal.Reason == BadJSONType:
		r.warn("metadata: no JSON object, taken as empty")
		return nil
	default:
		return refusal
	}
	r.env.Metadata = keep(r.workspace, text)
	return r.readMetadata(r.json.members)
}

func (r *reading) readMetadata(members []member) *Refusal {
	for i := range members {
		m := &members[i]
		if m.kind() != jsonString {
			continue
		}
		switch m.name {
		case "correlationId":
			r.env.CorrelationID = r.json.text(m)
		case "traceparent":
			r.env.Traceparent = r.json.text(m)
		case "allocationId", "operationId":
			if r.env.Type.Field(m.name) != nil {
				r.businessID = scalarText(r.json.text(m), false)
			}
		case "sourceApp":
			if r.env.Source == "" {
				r.env.Source = r.json.text(m)
			}
		case "version":
			if refusal := r.checkVersion("metadata.version", r.json.text(m)); refusal != nil {
				return refusal
			}
		}
	}
	return nil
}

// object scans text, which must be a JSON object; the scanner then has its
// members. An object within one JSON string is tolerated, and so is one in
// bare quotes.
func (r *reading) object(field, text string) (string, *Refusal) {
	kind, refusal := r.json.scan(field, text)
	switch {
	case refusal == nil && kind == jsonObject:
		return text, nil
	case refusal == nil && kind == jsonString:
		inner, _ := unquote(strings.TrimSpace(text))
		if !strings.HasPrefix(strings.TrimSpace(inner), "{") {
			return "", &Refusal{BadJSONType, field, "must be an object"}
		}
		// Metadata and the like of era v0 are encoded twice as a rule.
		if !r.quotedEra {
			r.warn(field + ": JSON within a JSON string")
		}
		return r.inner(field, inner)
	case refusal == nil:
		return "", &Refusal{BadJSONType, field, "must be an object"}
	case refusal.Reason == BadJSON && text == "":
		return "", &Refusal{BadJSONType, field, "must be an object"}
	case refusal.Reason == BadJSON && strings.HasPrefix(text, `"{`) && strings.HasSuffix(text, `}"`):
		r.warn(field + ": an object in bare quotes")
		return r.inner(field, text[1:len(text)-1])
	}
	return "", refusal
}

func (r *reading) inner(field, text string) (string, *Refusal) {
	kind, refusal := r.json.scan(field, text)
	if refusal == nil && kind != jsonObject {
		refusal = &Refusal{BadJSONType, field, "must be an object"}
	}
	return text, refusal
}

func (r *reading) warn(what string) { r.env.Warnings = append(r.env.Warnings, what) }
