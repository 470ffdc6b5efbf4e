package wire

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet/events"
)

// How far a publisher's clock may be ahead.
const (
	futureWarned  = time.Minute
	futureRefused = 24 * time.Hour
)

// newestMajor is the newest major schema version that is understood.
const newestMajor = 2

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
	w.scratch = e.ID.append(w.scratch[:0])
	r := reading{
		workspace: w,
		env:       &events.Envelope{Stream: e.Stream, ID: w.text(w.scratch), Fields: e.Fields},
		entry:     e,
		base:      events.BaseStream(e.Stream),
		fields:    e.Fields,
		now:       d.Now,
	}
	refusal := r.decode()
	w.release()
	workspaces.Put(w)
	return r.env, refusal
}

// reading is one entry while it is decoded.
type reading struct {
	*workspace
	env       *events.Envelope
	entry     *Entry
	base      string         // the stream that the entry was first published on
	fields    []events.Field // as published
	quotedEra bool           // v0
	named     named
	now       func() time.Time // nil: time.Now

	publisherID string // of the event, "" when it has none
	businessID  string // of an allocation or operation, from metadata
}

func (r *reading) decode() *Refusal {
	r.env.Time = idTime(r.entry.ID)
	if _, ours := events.CopyOf(r.entry.Stream); ours {
		r.fields = withoutOwn(r.fields)
	}
	if refusal := checkFields(r.fields); refusal != nil {
		r.env.Identity = r.place(r.entry.Ref())
		return refusal
	}
	acknowledgment := strings.HasPrefix(r.base, acknowledgmentType.Stream) &&
		events.Lookup(r.base, "") == acknowledgmentType
	r.quotedEra = isQuotedEra(r.fields, acknowledgment)
	r.collect()
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
		r.env.Type = events.Lookup(r.base, r.named.eventType)
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
	r.fields, r.quotedEra, r.named = nil, false, named{}
	for i := range r.json.members {
		m := &r.json.members[i]
		switch m.kind() {
		case jsonNull:
		case jsonString:
			r.fields = append(r.fields, events.Field{Name: m.name, Value: m.text()})
		default:
			r.fields = append(r.fields, events.Field{Name: m.name, Value: m.value})
		}
	}
	r.collect()
	r.warn("event: the whole event in one field")
	return nil
}

// readable sets what can be told of any entry, as far as it is valid. It
// returns what is wrong with the timestamp.
func (r *reading) readable() (badTime error) {
	n, env := &r.named, r.env
	origin := r.origin()
	if n.tenantID != "" && events.ValidTenant(n.tenantID) == nil {
		env.Tenant = n.tenantID
	}
	env.Source, env.Target, env.PublishedBy, env.Action = n.source, n.target, n.publishedBy, n.action
	r.publisherID = n.publisherID()
	if r.publisherID != "" && events.ValidID(r.publisherID) == nil {
		env.Identity = r.publisherID
	} else {
		env.Identity = r.place(origin)
	}
	env.Entity = events.Entity{Type: n.entityType, ID: n.entityID}
	env.Time = idTime(origin.ID)
	if n.timestamp == "" {
		return nil
	}
	// A Date keeps its JSON quotes in every era.
	t, err := parseTime(strings.Trim(n.timestamp, `"`))
	if err == nil && r.ahead(t, futureRefused) {
		err = errors.New("more than 24 h ahead")
	}
	if err == nil {
		env.Time = t
	}
	return err
}

// origin names the entry that this one is, or that it is a copy of, as far as
// the copy tells.
func (r *reading) origin() Ref {
	stream, ours := events.CopyOf(r.entry.Stream)
	ref := Ref{stream, r.entry.ID}
	for _, f := range r.entry.Fields {
		if ours && f.Name == ownPrefix+"id" {
			if id, err := ParseID(f.Value); err == nil {
				ref.ID = id
			}
		}
	}
	if stream != r.base {
		if id, err := ParseID(r.named.originalID); err == nil {
			return Ref{r.base, id}
		}
	}
	return ref
}

// ahead tells whether t is further ahead than by, of our clock and of the
// server's.
func (r *reading) ahead(t time.Time, by time.Duration) bool {
	if !t.After(idTime(r.entry.ID).Add(by)) {
		return false
	}
	now := time.Now
	if r.now != nil {
		now = r.now
	}
	return t.After(now().Add(by))
}

// place names an event that has no id of its own.
func (r *reading) place(origin Ref) string {
	r.scratch = origin.append(r.scratch[:0])
	return r.text(r.scratch)
}

// publisherID is the id that the publisher gave the event.
func (n *named) publisherID() string { return cmp.Or(n.eventID, n.acknowledgmentID, n.messageID) }

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

func (r *reading) checkEnvelope(badTime error) *Refusal {
	n := &r.named
	if r.env.Type.Shape != events.ShapeAcknowledgment || n.tenantID != "" {
		if refusal := r.checkTenant(); refusal != nil {
			return refusal
		}
	}
	for _, id := range []struct{ field, value string }{
		{"eventId", n.eventID}, {"acknowledgmentId", n.acknowledgmentID}, {"messageId", n.messageID}, {"entityId", n.entityID},
	} {
		if id.value == "" {
			continue
		}
		if err := events.ValidID(id.value); err != nil {
			return &Refusal{BadID, id.field, err.Error()}
		}
	}
	if refusal := r.checkVersion("version", n.version); refusal != nil {
		return refusal
	}
	if badTime != nil {
		return &Refusal{BadTimestamp, "timestamp", badTime.Error()}
	}
	if n.timestamp != "" && r.ahead(r.env.Time, futureWarned) {
		r.warn("timestamp: ahead of this clock")
	}
	if r.publisherID == "" {
		r.warn("eventId: absent, taken from the entry's place")
	}
	return nil
}

func (r *reading) checkTenant() *Refusal {
	tenant := r.named.tenantID
	if tenant == "" {
		return &Refusal{Reason: MissingField, Field: "tenantId"}
	}
	if err := events.ValidTenant(tenant); err != nil {
		return &Refusal{BadTenant, "tenantId", strings.TrimPrefix(err.Error(), "tenant: ")}
	}
	for _, stream := range []string{"credit-events:", "crm:organization-assignments:"} {
		if of, ok := strings.CutPrefix(r.base, stream); ok && of != tenant {
			return &Refusal{TenantMismatch, "tenantId", "not the tenant of the stream"}
		}
	}
	return nil
}

// checkVersion refuses a newer major version; a version that is no number
// says nothing.
func (r *reading) checkVersion(field, version string) *Refusal {
	major, _, _ := strings.Cut(version, ".")
	if !isDigits(major) {
		return nil
	}
	if n, err := strconv.ParseUint(major, 10, 32); err != nil || n > newestMajor {
		return &Refusal{UnsupportedVersion, field, fmt.Sprintf("at most %d", newestMajor)}
	}
	return nil
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
			r.env.CorrelationID = m.text()
		case "traceparent":
			r.env.Traceparent = m.text()
		case "allocationId", "operationId":
			if r.env.Type.Field(m.name) != nil {
				r.businessID = scalarText(m.text(), false)
			}
		case "sourceApp":
			if r.env.Source == "" {
				r.env.Source = m.text()
			}
		case "version":
			if refusal := r.checkVersion("metadata.version", m.text()); refusal != nil {
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

func idTime(id ID) time.Time {
	return time.UnixMilli(int64(min(id.Ms, 1<<53))).UTC()
}
