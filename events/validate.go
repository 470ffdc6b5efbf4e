package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shopspring/decimal"
)

// FieldError says which field of an event keeps it from being published.
type FieldError struct {
	Type    string // "user_created"
	Field   string // "data.email"
	Problem string // "required"
}

func (e *FieldError) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Type, e.Field, e.Problem)
}

// Limits of ids and of tenants, in bytes.
const (
	MaxID     = 512
	MaxTenant = 128
)

// Validate checks a payload before it is published: what the guide requires,
// and what the consumers that exist need. Its error is a *FieldError.
func Validate(p Payload) error {
	v, err := valueOf(p)
	if err != nil {
		return &FieldError{"event", "data", err.Error()}
	}
	t := p.Type()
	for i := range t.plan.fields {
		f := &t.plan.fields[i]
		if problem := f.problem(v.Field(f.index).Interface()); problem != "" {
			return &FieldError{typeLabel(t), f.path(), problem}
		}
	}
	switch e := v.Interface().(type) {
	case Acknowledgment:
		if !KnownStatus(e.Status) {
			return &FieldError{t.Name, "data.status", "must be processed, failed or timeout"}
		}
		return objectOrEmpty(t, "data.acknowledgmentData", e.Data)
	case InterApp:
		return objectOrEmpty(t, "eventData", e.Data)
	case RoleCreated:
		return appName(t, e.App)
	case AppRoleUpdated:
		return appName(t, e.App)
	case RoleDeleted:
		return appName(t, e.App)
	}
	return nil
}

func (f *planField) path() string {
	if f.Envelope {
		return f.Name
	}
	return "data." + f.Name
}

// problem says what is wrong with a field's value, "" when nothing is.
func (f *planField) problem(value any) string {
	switch x := value.(type) {
	case string:
		switch {
		case x == "" && f.Required:
			return "required"
		case !utf8.ValidString(x):
			return "must be UTF-8"
		case f.Kind == KindID || f.Envelope:
			if x == "null" || x == "undefined" {
				return "must not be a word for absence"
			}
			if x == "" {
				return ""
			}
			if err := ValidID(x); err != nil {
				return err.Error()
			}
		}
	case time.Time:
		if f.Required && x.IsZero() {
			return "required"
		}
	case Changes:
		if f.Required && x == nil {
			return "required"
		}
	case decimal.Decimal:
		switch {
		case !inRange(x):
			return "number out of range"
		case f.positive && !x.IsPositive():
			return "must be above 0"
		}
	case *decimal.Decimal:
		if x != nil && !inRange(*x) {
			return "number out of range"
		}
	case json.RawMessage:
		if len(x) > 0 && !json.Valid(x) {
			return "must be JSON"
		}
	}
	return ""
}

func objectOrEmpty(t *Type, field string, raw json.RawMessage) error {
	if len(raw) > 0 && strings.TrimLeft(string(raw), " \t\r\n")[0] != '{' {
		return &FieldError{typeLabel(t), field, "must be a JSON object"}
	}
	return nil
}

// appName checks the application of a fan-out, which becomes a part of a key.
func appName(t *Type, app string) error {
	if ValidTenant(app) != nil {
		return &FieldError{t.Name, "app", "must be of letters, digits, '_', '-' and '.'"}
	}
	return nil
}

// ValidID checks an opaque id: 1 to MaxID bytes, UTF-8, no control characters.
func ValidID(id string) error {
	switch {
	case id == "":
		return errors.New("must not be empty")
	case len(id) > MaxID:
		return fmt.Errorf("must have at most %d bytes", MaxID)
	}
	if !visible(id) {
		return validOddID(id)
	}
	return nil
}

// visible tells whether s is of ASCII's visible characters and spaces alone.
// It looks at eight bytes at a time.
func visible(s string) bool {
	const ones = 0x0101010101010101
	i := 0
	for ; i <= len(s)-8; i += 8 {
		w := eight(s, i)
		// The high bit of some byte is set where one is below ' ' or above '~'.
		if ((w-' '*ones)|(w+ones)|w)&(0x80*ones) != 0 {
			return false
		}
	}
	for ; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// validOddID checks an id that is not of ASCII's visible characters alone.
func validOddID(id string) error {
	if !utf8.ValidString(id) {
		return errors.New("must be UTF-8")
	}
	for i := range len(id) {
		if c := id[i]; c < ' ' || c == 0x7f {
			return errors.New("must have no control characters")
		}
	}
	return nil
}

// ValidTenant checks a tenant id: 1 to MaxTenant letters, digits, '_', '-' and
// '.', so that it may stand in a key, and none of the words that a publisher
// writes in its absence.
func ValidTenant(tenant string) error {
	switch tenant {
	case "":
		return errors.New("tenant: required")
	case "null", "undefined", ".", "..":
		return fmt.Errorf("tenant: must not be %q", tenant)
	}
	if len(tenant) > MaxTenant {
		return fmt.Errorf("tenant: must have at most %d bytes", MaxTenant)
	}
	for i := range len(tenant) {
		if !ofTenant[tenant[i]] {
			return errors.New("tenant: must be of letters, digits, '_', '-' and '.'")
		}
	}
	return nil
}

// ofTenant are the bytes that a tenant id may have.
var ofTenant = func() (of [256]bool) {
	for _, c := range []byte("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") {
		of[c] = true
	}
	return of
}()

// typeLabel names a type in messages.
func typeLabel(t *Type) string {
	if t.Name == "" {
		return "inter-app"
	}
	return t.Name
}
