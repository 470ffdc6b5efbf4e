package wire

import (
	"iter"
	"strings"

	"github.com/freshet/freshet/events"
)

// entity sets what the event is about. The key within data comes first: the
// envelope's entityId is now and then another one's (a role's for a role's
// assignment, a made-up one for credits).
func (r *reading) entity() *Refusal {
	t := r.env.Type
	var id string
	inData := false // under the first key
	switch t.Entity {
	case "inter-app":
		id = r.named.entityID
		if id == "" && len(t.Key) > 0 {
			id = r.id(t.Key[0])
		}
		if id == "" {
			return &Refusal{Reason: MissingField, Field: "entityId"}
		}
	case "role_assignment":
		id = r.pairID("userId", "roleId")
	case "organization_assignment":
		id = legacyAssignment(r.pairID("userId", "organizationId"))
	case "credit":
		id = r.creditEntity()
	default:
		for i, key := range t.Key {
			if id == "" {
				id = r.id(key)
				inData = i == 0 && id != ""
			}
		}
		if id == "" {
			id = r.named.entityID
		} else if r.named.entityID != "" && r.named.entityID != id {
			r.warn("entityId: differs from data." + t.Key[0] + ", ignored")
		}
	}
	if id == "" {
		return &Refusal{Reason: MissingField, Field: "data." + t.Key[0]}
	}
	if t.Entity != "inter-app" && len(t.Key) > 0 && !inData && r.id(t.Key[0]) == "" {
		r.setText(t.Key[0], id)
	}
	r.env.Entity = events.Entity{Type: t.Entity, ID: id}
	return nil
}

// pairID returns data.assignmentId; without it the two ids that the
// assignment joins make one, the same for every event of the assignment.
func (r *reading) pairID(one, other string) string {
	if id := r.id("assignmentId"); id != "" {
		return id
	}
	a, b := r.id(one), r.id(other)
	switch {
	case a != "" && b != "":
		return a + "_" + b
	case r.env.Type.Entity == "role_assignment" && r.named.entityID == b:
		return "" // the publisher's stand-in for a missing assignmentId
	}
	return r.named.entityID
}

// legacyAssignment cuts the time from an id of the form userId_orgId_ms, of
// which each event of an assignment has another.
func legacyAssignment(id string) string {
	i := strings.LastIndexByte(id, '_')
	if i < 0 || len(id)-i-1 != 13 || !strings.Contains(id[:i], "_") || !isDigits(id[i+1:]) {
		return id
	}
	return id[:i]
}

// creditEntity returns whose credits they are. In the shape E1 entityId is
// the allocation's id, or one made of the time; on credit-events null means
// the credits of the tenant as a whole.
func (r *reading) creditEntity() string {
	key := r.env.Type.Key[0]
	if id := r.id(key); id != "" {
		return id
	}
	id := r.named.entityID
	switch {
	case r.named.entityNull && r.env.Type.Shape != events.ShapeSync:
		return r.env.Tenant
	case id == r.id("allocationId"), id == r.id("operationId"), strings.HasPrefix(id, "credit_"):
		return ""
	}
	return id
}

// identify replaces the publisher's event id of a credit by the id of the
// allocation or operation, which all copies of the fact share.
func (r *reading) identify() {
	for _, name := range []string{"allocationId", "operationId"} {
		if r.env.Type.Field(name) == nil {
			continue
		}
		id := r.id(name)
		if id == "" && r.businessID != "" && events.ValidID(r.businessID) == nil {
			id = r.businessID
			r.setText(name, id)
		}
		if id != "" {
			r.env.Identity = id
		}
	}
}

// Amounts of credits.

// namesOf gives the names of a field, the canonical one first.
func namesOf(f *events.DataField) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := -1; i < len(f.Also); i++ {
			name := f.Name
			if i >= 0 {
				name = f.Also[i]
			}
			if !yield(name) {
				return
			}
		}
	}
}

func isAmount(f *events.DataField) bool { return f.Name == "amount" }

// amountOfData makes sure that data has an exact amount under its canonical
// name.
func (r *reading) amountOfData() *Refusal {
	field := r.env.Type.Field("amount")
	for name := range namesOf(field) {
		for i := range r.json.members {
			m := &r.json.members[i]
			if m.name != name {
				continue
			}
			if m.kind() != jsonNumber {
				return &Refusal{Validation, "data." + name, "must be a number"}
			}
			if refusal := checkAmount(name, m.value); refusal != nil {
				refusal.Field = "data." + name
				return refusal
			}
			if name != field.Name {
				r.set(field.Name, m.value)
			}
			return nil
		}
	}
	amount, refusal := r.flatAmount()
	if refusal != nil {
		return &Refusal{refusal.Reason, "data.amount", refusal.Detail}
	}
	r.set(field.Name, amount)
	return nil
}

// flatAmount returns the amount that stands in a field of the entry.
func (r *reading) flatAmount() (string, *Refusal) {
	field := r.env.Type.Field("amount")
	for name := range namesOf(field) {
		text, ok := r.flat(name)
		if !ok {
			continue
		}
		if r.quotedEra {
			if inner, ok := unquote(text); ok {
				text = inner
			}
		}
		return text, checkAmount(name, text)
	}
	return "", &Refusal{Reason: MissingField, Field: "amount"}
}

func checkAmount(field, text string) *Refusal {
	switch {
	case !isNumber(text):
		return &Refusal{Validation, field, "must be a number"}
	case !numberInRange(text):
		return &Refusal{BadNumber, field, "out of range"}
	case text[0] == '-' && strings.Trim(strings.FieldsFunc(text, isExponent)[0], "-0.") != "":
		return &Refusal{Validation, field, "must not be negative"}
	}
	return nil
}

func isExponent(c rune) bool { return c == 'e' || c == 'E' }
