package events

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Decode returns the payload of an envelope of T's type. It fails where data
// is not what the type says, which no retry can mend.
func Decode[T Payload](env *Envelope) (T, error) {
	var p T
	if _, raw := any(&p).(*InterApp); !raw {
		if err := unmarshal(env.Data, &p); err != nil {
			return p, fmt.Errorf("%s %s/%s: data: %w", typeLabel(p.Type()), env.Stream, env.ID, withoutValue(err))
		}
	}
	if e, ok := any(&p).(interface{ fromEnvelope(*Envelope) }); ok {
		e.fromEnvelope(env)
	}
	return p, nil
}

// withoutValue keeps pieces of the payload out of an error of encoding/json.
func withoutValue(err error) error {
	var kind *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &kind):
		return fmt.Errorf("%s: must not be a JSON %s", kind.Field, firstWord(kind.Value))
	case errors.As(err, &syntax):
		return fmt.Errorf("bad JSON at byte %d", syntax.Offset)
	}
	return fmt.Errorf("a value is not of its type (%T)", err)
}

// firstWord drops the literal from "number 5.5".
func firstWord(s string) string {
	for i := range len(s) {
		if s[i] == ' ' {
			return s[:i]
		}
	}
	return s
}
