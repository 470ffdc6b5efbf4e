package wire

import "fmt"

// Reason says in one word why an entry was refused. It is stored with the
// dead letter and is a metric label: the set is closed.
type Reason string

// Reasons for which Decode refuses an entry.
const (
	MissingField       Reason = "missing_field"
	BadTenant          Reason = "bad_tenant"
	TenantMismatch     Reason = "tenant_mismatch"
	UnknownType        Reason = "unknown_type"
	BadJSON            Reason = "bad_json"
	BadJSONType        Reason = "bad_json_type"
	BadUTF8            Reason = "bad_utf8"
	DuplicateKey       Reason = "duplicate_key"
	DuplicateField     Reason = "duplicate_field"
	EmptyField         Reason = "empty_field"
	TooDeep            Reason = "too_deep"
	TooManyTokens      Reason = "too_many_tokens"
	TooLarge           Reason = "too_large"
	BadNumber          Reason = "bad_number"
	BadID              Reason = "bad_id"
	BadTimestamp       Reason = "bad_timestamp"
	Validation         Reason = "validation"
	UnsupportedVersion Reason = "unsupported_version"
)

// Refusal is the error of Decode: the entry will never decode, so it is
// dead-lettered at once. It never carries a value from the entry.
type Refusal struct {
	Reason Reason
	Field  string // "tenantId", "data.userId"
	Detail string // "depth 33, at most 32"
}

func (r *Refusal) Error() string {
	if r.Detail == "" {
		return fmt.Sprintf("%s: %s", r.Field, r.Reason)
	}
	return fmt.Sprintf("%s: %s (%s)", r.Field, r.Reason, r.Detail)
}
