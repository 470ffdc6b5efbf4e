package delivery

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestErrorKinds(t *testing.T) {
	cause := errors.New("cause")
	for _, tt := range []struct {
		name                   string
		err                    error
		permanent, unavailable bool
		wait                   time.Duration
		asked                  bool
	}{
		{name: "plain", err: cause},
		{name: "permanent", err: Permanent(cause), permanent: true},
		{name: "unavailable", err: Unavailable(cause), unavailable: true},
		{name: "retry after", err: RetryAfter(cause, time.Minute), wait: time.Minute, asked: true},
		{name: "retry after a negative wait", err: RetryAfter(cause, -time.Minute), asked: true},
		{name: "wrapped", err: fmt.Errorf("apply: %w", Permanent(cause)), permanent: true},
		{name: "joined", err: errors.Join(errors.New("other"), Unavailable(cause)), unavailable: true},
		{name: "nested", err: Unavailable(RetryAfter(cause, time.Second)), unavailable: true, wait: time.Second, asked: true},
		{name: "foreign", err: foreignError{true}, permanent: true},
		{name: "foreign that is not", err: foreignError{false}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := isPermanent(tt.err); got != tt.permanent {
				t.Errorf("permanent = %v", got)
			}
			if got := isUnavailable(tt.err); got != tt.unavailable {
				t.Errorf("unavailable = %v", got)
			}
			if wait, asked := retryAfter(tt.err); wait != tt.wait || asked != tt.asked {
				t.Errorf("retry after %v, %v", wait, asked)
			}
			if foreign := (foreignError{}); !errors.As(tt.err, &foreign) && !errors.Is(tt.err, cause) {
				t.Error("the cause is not in the chain")
			}
		})
	}
}

// foreignError is of a package that does not know this one.
type foreignError struct{ permanent bool }

func (e foreignError) Error() string   { return "foreign" }
func (e foreignError) Permanent() bool { return e.permanent }

func TestErrorKindsOfNil(t *testing.T) {
	if Permanent(nil) != nil || Unavailable(nil) != nil || RetryAfter(nil, time.Second) != nil {
		t.Error("a nil error became one")
	}
}
