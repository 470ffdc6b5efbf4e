package replica

import (
	"fmt"

	"github.com/freshet/freshet/events"
)

// RejectedError says that an event can never be applied: it does not name what
// it is about, or a value is not of its type. No retry mends it.
type RejectedError struct {
	Stream, ID string // entry
	Type       string // of the event
	Field      string // of data; "" when it is not one field's fault
	Problem    string // never the value
}

func (e *RejectedError) Error() string {
	field := ""
	if e.Field != "" {
		field = "data." + e.Field + ": "
	}
	return fmt.Sprintf("replica: %s/%s: %s: %s%s", e.Stream, e.ID, e.Type, field, e.Problem)
}

// Permanent tells a consumer to dead-letter the event.
func (e *RejectedError) Permanent() bool { return true }

func rejected(env *events.Envelope, field, problem string) *RejectedError {
	return &RejectedError{env.Stream, env.ID, env.TypeName(), field, problem}
}

// UnavailableError is a failure of the database: it is locked, full, closed or
// gone. Events are checked before it is asked, so it is not their fault.
type UnavailableError struct {
	Op  string
	Err error
}

func (e *UnavailableError) Error() string { return "replica: " + e.Op + ": " + e.Err.Error() }

func (e *UnavailableError) Unwrap() error { return e.Err }

// Unavailable tells a consumer to pause instead of counting an attempt.
func (e *UnavailableError) Unavailable() bool { return true }
