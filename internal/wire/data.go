package wire

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/freshet/freshet/events"
)

// data reads the payload, sets the entity that it is about, and leaves one
// JSON object in the catalogue's names in the envelope.
func (r *reading) data() *Refusal {
	switch t := r.env.Type; {
	case t.Shape == events.ShapeAcknowledgment:
		return r.acknowledgment()
	case t.Shape == events.ShapeInterApp:
		return r.interApp()
	case !r.named.data.given && (t.Shape == events.ShapeCredit || t.Shape == events.ShapeConsumption):
		return r.flatCredit()
	case !r.named.data.given:
		return r.flatData()
	}
	text, refusal := r.object("data", r.named.data.text)
	if refusal != nil {
		return refusal
	}
	return r.fromMembers(text)
}

// fromMembers takes the scanned object for data.
func (r *reading) fromMembers(text string) *Refusal {
	t := r.env.Type
	var f *events.DataField
	next := 0
	for i := range r.json.members {
		m := &r.json.members[i]
		if m.name == "tenantId" && m.kind() == jsonString && m.text() != r.env.Tenant {
			r.warn("data.tenantId: another tenant than the envelope's, ignored")
		}
		if f, next = fieldOf(t, m.name, next); f != nil && !isAmount(f) {
			if refusal := r.checkKind(f, m); refusal != nil {
				return refusal
			}
		}
	}
	credits := t.Entity == "credit"
	if credits && t.Field("amount") != nil {
		if refusal := r.amountOfData(); refusal != nil {
			return refusal
		}
	}
	if refusal := r.entity(); refusal != nil {
		return refusal
	}
	if err := r.checkID(r.env.Entity.ID); err != nil {
		return &Refusal{BadID, "entityId", err.Error()}
	}
	if credits {
		r.identify()
	}
	r.env.Data = r.withAdded(text)
	if t.Shape == events.ShapeAssignment && r.env.Metadata == nil {
		return r.metadataOfData()
	}
	return nil
}

// fieldOf is t.Field, but looks first from the field that is expected: most
// publishers keep to the catalogue's order. It also returns the one to expect
// after it.
func fieldOf(t *events.Type, name string, expected int) (f *events.DataField, next int) {
	for i := expected; i < len(t.Fields); i++ {
		if f := &t.Fields[i]; f.Name == name && !f.Envelope {
			return f, i + 1
		}
	}
	return t.Field(name), expected
}

// member returns a scanned member of data, one that was added first; nil when
// it is absent or null.
func (r *reading) member(name string) *member {
	if m := findMember(r.added, name); m != nil {
		return m
	}
	return findMember(r.json.members, name)
}

// id returns an id of data, "" when it is absent.
func (r *reading) id(name string) string {
	m := r.member(name)
	if m == nil || m.kind() != jsonString {
		return ""
	}
	return scalarText(m.text(), false)
}

// set adds a member to data, in place of the publisher's if there is one.
func (r *reading) set(name, value string) {
	r.added = append(r.added, member{name, value})
}

func (r *reading) setText(name, text string) { r.set(name, r.quoted(text)) }

// withAdded returns the object with the added members behind its own.
func (r *reading) withAdded(text string) []byte {
	if len(r.added) == 0 && r.built != nil {
		return r.built
	}
	if len(r.added) == 0 {
		return keep(r.workspace, text)
	}
	b := append(r.scratch[:0], '{')
	for _, m := range r.json.members {
		if !slices.ContainsFunc(r.added, func(a member) bool { return a.name == m.name }) {
			b = appendMember(b, m)
		}
	}
	for _, m := range r.added {
		b = appendMember(b, m)
	}
	r.scratch = append(b, '}')
	return keep(r.workspace, r.scratch)
}

func appendMember(b []byte, m member) []byte {
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = append(appendQuoted(b, m.name), ':')
	return append(b, m.value...)
}

// metadataOfData reads what an assignment carries as data.metadata.
func (r *reading) metadataOfData() *Refusal {
	m := r.member("metadata")
	if m == nil || m.kind() != jsonObject {
		return nil
	}
	if _, refusal := r.json.scan("data.metadata", m.value); refusal != nil {
		return refusal
	}
	return r.readMetadata(r.json.members)
}

// flatData builds data from payload fields at the top level of the entry.
func (r *reading) flatData() *Refusal {
	t := r.env.Type
	b, refusal := r.flatObject()
	if refusal != nil {
		return refusal
	}
	known := false
	for i, f := range r.fields.List() {
		if ofEnvelope(f.Name) {
			continue
		}
		field := t.Field(f.Name)
		value, quote, refusal := r.flatValue(field, f, i)
		if refusal != nil {
			return refusal
		}
		if value == "" && !quote {
			continue
		}
		known = known || field != nil
		b = appendFlat(b, f.Name, value, quote)
	}
	if !known {
		return &Refusal{Reason: MissingField, Field: "data"}
	}
	r.warn("data: absent, taken from the fields beside it")
	return r.fromBuilt(append(b, '}'))
}

// flatObject begins an object of the entry's fields, with room for all of them.
// Control characters are six bytes of JSON each: an entry that has little else
// is refused.
func (r *reading) flatObject() ([]byte, *Refusal) {
	size, text := len("{}"), 1<<10
	for f := range r.fields.All() {
		size += quotedLength(f.Name) + quotedLength(f.Value) + len(":,")
		text += 2 * (len(f.Name) + len(f.Value))
	}
	if size > text {
		return nil, &Refusal{TooLarge, "entry", fmt.Sprintf("%d bytes as JSON, for its control characters, at most %d", size, text)}
	}
	b := r.scratch[:0]
	if cap(b) < size {
		b = make([]byte, 0, size) // slices.Grow would allocate twice under the race detector
	}
	return append(b, '{'), nil
}

func appendFlat(b []byte, name, value string, quote bool) []byte {
	if !quote {
		return appendMember(b, member{name, value})
	}
	return appendQuoted(appendMember(b, member{name: name}), value)
}

// fromBuilt takes an object that was put together for data.
func (r *reading) fromBuilt(object []byte) *Refusal {
	r.scratch = object
	text := r.text(object)
	if len(object) > chunk/4 && cap(object) < 2*len(object) { // it need not be copied once more
		r.scratch, r.built = nil, slices.Clip(object)
	}
	if _, refusal := r.json.scan("data", text); refusal != nil {
		return refusal
	}
	return r.fromMembers(text)
}

// flatValue returns the JSON of a top-level payload field, or the text that is
// to be quoted; "" for absent. A field that the catalogue does not know is a
// string.
func (r *reading) flatValue(field *events.DataField, f events.Field, place int) (value string, quote bool, refusal *Refusal) {
	text := scalarText(f.Value, r.quotedEra)
	if text == "" && f.Value != "" && f.Value != `""` {
		return "", false, nil
	}
	if field != nil && field.Kind != events.KindString {
		if text == "" {
			return "", false, nil
		}
		switch field.Kind {
		case events.KindBool, events.KindInt, events.KindDecimal:
			if text == "true" || text == "false" || isNumber(text) {
				return text, false, nil
			}
		case events.KindObject, events.KindAny:
			if strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
				_, refusal := r.json.scan(field.Name, text)
				return text, false, refusal
			}
		case events.KindTime:
			text = strings.Trim(text, `"`)
		}
	}
	if strings.ToValidUTF8(text, "") != text {
		return "", false, &Refusal{BadUTF8, fieldLabel(place, f.Name), "not UTF-8"}
	}
	return text, true, nil
}

// flatCredit builds the data of credit-events, whose shapes have none: the
// flat fields, and of the metadata what the catalogue counts as data.
func (r *reading) flatCredit() *Refusal {
	t := r.env.Type
	lifted := make([]member, 0, 8)
	if r.env.Metadata != nil { // still in the scanner
		for _, m := range r.json.members {
			f := t.Field(m.name)
			if f == nil || m.kind() == jsonNull || m.name == "entityId" || isAmount(f) {
				continue
			}
			if f.Kind == events.KindID && m.kind() == jsonNumber {
				m.value = `"` + m.value + `"`
			}
			if refusal := r.checkKind(f, &m); refusal != nil {
				r.warn("metadata." + f.Name + ": " + string(refusal.Reason) + ", left out")
				continue
			}
			lifted = append(lifted, m)
		}
	}
	amount, refusal := r.flatAmount()
	if refusal != nil {
		return refusal
	}
	b, refusal := r.flatObject()
	if refusal != nil {
		return refusal
	}
	if id := r.named.entityID; id != "" {
		b = appendMember(b, member{"entityId", r.quoted(id)})
	}
	b = appendMember(b, member{"amount", amount})
	flat := map[string]bool{}
	for i, f := range r.fields.List() {
		if ofEnvelope(f.Name) {
			continue
		}
		field := t.Field(f.Name)
		if field == nil || isAmount(field) {
			continue
		}
		value, quote, refusal := r.flatValue(field, f, i)
		if refusal != nil {
			return refusal
		}
		if value != "" {
			b = appendFlat(b, f.Name, value, quote)
			flat[f.Name] = true
		}
	}
	for _, m := range lifted {
		if !flat[m.name] {
			b = appendMember(b, m)
		}
	}
	return r.fromBuilt(append(b, '}'))
}

func (r *reading) acknowledgment() *Refusal {
	original, _ := r.flat("originalEventId")
	original = scalarText(original, r.quotedEra)
	status, _ := r.flat("status")
	status = scalarText(status, r.quotedEra)
	switch {
	case original == "":
		return &Refusal{Reason: MissingField, Field: "originalEventId"}
	case status == "":
		return &Refusal{Reason: MissingField, Field: "status"}
	case !events.KnownStatus(status):
		return &Refusal{Validation, "status", "not a known status"}
	}
	if err := events.ValidID(original); err != nil {
		return &Refusal{BadID, "originalEventId", err.Error()}
	}
	data, refusal := r.objectOrEmpty("acknowledgmentData", r.named.acknowledgmentData)
	if refusal != nil {
		return refusal
	}
	r.env.Entity = events.Entity{Type: r.env.Type.Entity, ID: original}
	b := appendMember(append(r.scratch[:0], '{'), member{"originalEventId", r.quoted(original)})
	b = appendMember(b, member{"status", r.quoted(status)})
	b = appendMember(b, member{"acknowledgmentData", data})
	r.scratch = append(b, '}')
	r.env.Data = keep(r.workspace, r.scratch)
	return nil
}

// interApp reads an event between applications. Of era v2 there are entries
// that carry one, addresses included, as the data of a sync stream.
func (r *reading) interApp() *Refusal {
	eventData := r.named.eventData
	if !eventData.given && r.named.data.given {
		if _, refusal := r.object("data", r.named.data.text); refusal != nil {
			return refusal
		}
		if source := r.id("sourceApplication"); source != "" {
			r.env.Source = source
		}
		r.env.Target, r.env.PublishedBy = r.id("targetApplication"), r.id("publishedBy")
		if m := r.member("eventData"); m != nil {
			eventData = jsonField{m.value, true}
		}
	}
	text, refusal := r.objectOrEmpty("eventData", eventData)
	if refusal != nil {
		return refusal
	}
	if text == "{}" {
		r.json.members = r.json.members[:0]
	}
	if r.env.Target == "" {
		r.warn("targetApplication: absent")
	}
	return r.fromMembers(text)
}

// objectOrEmpty is object for a field that may be absent or empty.
func (r *reading) objectOrEmpty(field string, f jsonField) (string, *Refusal) {
	if f.text == "" || f.text == `""` && r.quotedEra {
		return "{}", nil
	}
	return r.object(field, f.text)
}

// checkKind refuses a member of data that its Go field could not take.
func (r *reading) checkKind(f *events.DataField, m *member) *Refusal {
	kind := m.kind()
	if kind == jsonNull {
		return nil
	}
	refuse := func(reason Reason, detail string) *Refusal { return &Refusal{reason, "data." + f.Name, detail} }
	ok := true
	switch f.Kind {
	case events.KindString:
		ok = kind == jsonString
	case events.KindID:
		ok = kind == jsonString
		if id := r.json.text(m); ok && id != "" {
			if err := r.checkID(id); err != nil {
				return refuse(BadID, err.Error())
			}
		}
	case events.KindBool:
		ok = kind == jsonTrue || kind == jsonFalse
	case events.KindInt:
		ok = kind == jsonNumber
		if _, err := strconv.ParseInt(m.value, 10, 64); ok && err != nil {
			return refuse(BadNumber, "must be a whole number")
		}
	case events.KindDecimal:
		ok = kind == jsonNumber || kind == jsonString && isNumber(r.json.text(m)) && numberInRange(r.json.text(m))
	case events.KindTime:
		ok = kind == jsonString
		if _, err := parseTime(r.json.text(m)); ok && err != nil {
			return refuse(BadTimestamp, err.Error())
		}
	case events.KindObject:
		ok = kind == jsonObject
	}
	if !ok {
		return refuse(BadJSONType, "must be of kind "+string(f.Kind))
	}
	return nil
}
