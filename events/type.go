package events

// Shape is the layout of an entry's fields (docs/wire.md, Shapes).
type Shape string

// The shapes on the wire. E8 is only read; new entries are written in the
// shape of their type.
const (
	ShapeSync            Shape = "E1"  // the guide's eleven fields
	ShapeAssignment      Shape = "E2"  // crm:organization-assignments
	ShapeCredit          Shape = "E3"  // credit-events, credit.allocated
	ShapeConsumption     Shape = "E3c" // credit-events, credit.consumed
	ShapeInterApp        Shape = "E4"  // inter-app-events
	ShapeAcknowledgment  Shape = "E5"  // acknowledgments
	ShapeRoleFanOut      Shape = "E6"  // {app}:sync:role:*
	ShapeRolePermissions Shape = "E7"  // crm:sync:role_permissions
	ShapeV2              Shape = "E8"  // dotted types of era v2
)

// Payload is implemented by every event type of the catalogue.
type Payload interface {
	// Type returns the catalogue's entry; it is the same for the zero value.
	Type() *Type
}

// Type describes one event type of the catalogue. Values are compared by
// pointer: there is one *Type for each Go type.
type Type struct {
	Name    string   // canonical name, as written in era v1; "" for InterApp, whose name is data
	Fact    string   // what is told; types that tell one fact on two streams share it
	Stream  string   // stream key it is published on; "{app}" stands for the application of a fan-out
	Drift   []string // keys or globs of streams on which single publishers write it besides
	Shape   Shape    // layout it is written in
	Entity  string   // entity type, "user"
	Action  string   // action on the wire, "created"
	Key     []string // fields of data that name the entity: the first that is set
	Fields  []DataField
	Aliases []string // other spellings met on the wire
	Reasons []string // known values of data.reason

	fresh func() Payload
	plan  *plan
}

// New returns a pointer to a zero payload of the type, to decode into.
func (t *Type) New() Payload { return t.fresh() }

// Field returns the field of data that is called name, or has been met under
// that name, and nil when there is none.
func (t *Type) Field(name string) *DataField {
	for i := range t.Fields {
		f := &t.Fields[i]
		if f.Name == name && !f.Envelope {
			return f
		}
	}
	for i := range t.Fields {
		f := &t.Fields[i]
		for _, also := range f.Also {
			if also == name && !f.Envelope {
				return f
			}
		}
	}
	return nil
}

// Kind is the JSON type of a field of data.
type Kind string

// The kinds. An id is an opaque string: most are UUIDs, not all.
const (
	KindID      Kind = "id"
	KindString  Kind = "string"
	KindBool    Kind = "bool"
	KindInt     Kind = "int"
	KindDecimal Kind = "decimal" // a JSON number of any size and precision
	KindTime    Kind = "time"    // ISO 8601 with a zone
	KindObject  Kind = "object"
	KindArray   Kind = "array"
	KindAny     Kind = "any"
)

// DataField describes one field of a type's data.
type DataField struct {
	Name     string // "userId"
	Kind     Kind
	Required bool     // by the guide's "Required Fields"; checked before a publish
	Envelope bool     // stands on the envelope, never in data: a fan-out's application
	Also     []string // other names met on the wire, "allocatedCredits" for amount
	Doc      string   // one line; empty where the name says it
}
