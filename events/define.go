package events

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// plan is what the tags of a Go type say, read once.
//
//	json:"name"      the field's name in data
//	event:"..."      options, separated by commas:
//	  id             an opaque id: at most 512 bytes, no control characters
//	  required       checked before a publish
//	  positive       an amount above zero
//	  null           written as null when empty; otherwise absent
//	  always         written when empty
//	  envelope       not in data, but on the envelope
//	  also=name      another name met on the wire
//	doc:"..."        one line
type plan struct{ fields []planField }

type planField struct {
	DataField
	index                  int
	null, always, positive bool
}

func (p *plan) field(name string) *planField {
	for i := range p.fields {
		if p.fields[i].Name == name {
			return &p.fields[i]
		}
	}
	for i := range p.fields {
		for _, also := range p.fields[i].Also {
			if also == name {
				return &p.fields[i]
			}
		}
	}
	return nil
}

// define completes t, the description of the Go type T, from T's tags.
func define[T Payload](t Type) *Type {
	t.fresh = func() Payload { return any(new(T)).(Payload) }
	t.plan = planOf(reflect.TypeFor[T]())
	for _, f := range t.plan.fields {
		t.Fields = append(t.Fields, f.DataField)
	}
	if t.Fact == "" {
		t.Fact = t.Name
	}
	return &t
}

func planOf(goType reflect.Type) *plan {
	p := &plan{}
	for i := range goType.NumField() {
		sf := goType.Field(i)
		f := planField{index: i}
		f.Name = sf.Tag.Get("json")
		f.Doc = sf.Tag.Get("doc")
		f.Kind = kindOf(sf.Type)
		for option := range strings.SplitSeq(sf.Tag.Get("event"), ",") {
			name, value, _ := strings.Cut(option, "=")
			switch name {
			case "":
			case "id":
				f.Kind = KindID
			case "required":
				f.Required = true
			case "positive":
				f.positive = true
			case "null":
				f.null = true
			case "always":
				f.always = true
			case "envelope":
				f.Envelope = true
			case "also":
				f.Also = append(f.Also, value)
			default:
				panic(fmt.Sprintf("events: %s.%s: unknown option %q", goType.Name(), sf.Name, option))
			}
		}
		p.fields = append(p.fields, f)
	}
	return p
}

func kindOf(t reflect.Type) Kind {
	switch t {
	case reflect.TypeFor[string]():
		return KindString
	case reflect.TypeFor[*bool]():
		return KindBool
	case reflect.TypeFor[int64]():
		return KindInt
	case reflect.TypeFor[decimal.Decimal](), reflect.TypeFor[*decimal.Decimal]():
		return KindDecimal
	case reflect.TypeFor[time.Time]():
		return KindTime
	case reflect.TypeFor[Permissions](), reflect.TypeFor[Changes]():
		return KindObject
	case reflect.TypeFor[json.RawMessage]():
		return KindAny
	}
	panic(fmt.Sprintf("events: fields of type %v have no JSON form", t))
}
