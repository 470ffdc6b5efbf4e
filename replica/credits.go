package replica

import (
	"cmp"

	"github.com/freshet/freshet/events"
)

// creditsOf says, for each type of credit event, what it tells.
var creditsOf = map[*events.Type]struct {
	kind     string
	onLedger bool   // on credit-events, otherwise on a sync stream
	id       string // field of data that identifies the fact over all its copies
}{
	events.CreditAllocated{}.Type():     {"allocated", true, "allocationId"},
	events.CreditAllocatedSync{}.Type(): {"allocated", false, "allocationId"},
	events.CreditConsumed{}.Type():      {"consumed", true, "operationId"},
	events.CreditConsumedSync{}.Type():  {"consumed", false, "operationId"},
}

func isCredit(t *events.Type) bool {
	_, ok := creditsOf[t]
	return ok
}

var creditFacts = &relation{"credit_facts",
	[]string{"tenant_id", "kind", "entry_id"},
	[]string{"entity_id", "amount", "user_id", "operation_type", "operation_id", "occurred_at", "updated_from",
		"on_ledger", "on_sync", "has_id", "counts"}, false}

// factKey is the primary key of credit_facts.
type factKey struct{ tenant, kind, id string }

func (k factKey) row() []any { return []any{k.tenant, k.kind, k.id} }

// telling is what one event tells of a fact.
type telling struct {
	factKey
	version       version
	onLedger      bool
	hasID         bool
	entity        string
	amount        string
	userID        any // nil or string, as the next two
	operationType any
	operationID   any
	occurredAt    string
	from          string
}

// telling reads a credit event. Its identity is the allocation or operation id
// where it has one that names something.
func (r *record) telling() telling {
	of := creditsOf[r.env.Type]
	t := telling{
		factKey:       factKey{r.env.Tenant, of.kind, r.env.Identity},
		version:       versionOf(r.env),
		onLedger:      of.onLedger,
		hasID:         r.id(of.id) == r.env.Identity,
		entity:        r.required("entityId"),
		amount:        r.amount("amount").String(),
		userID:        orNull(r.id("userId")),
		operationType: orNull(r.id("operationType")),
		operationID:   orNull(r.id("operationId")),
		occurredAt:    milliseconds(r.env.Time),
	}
	t.from = t.version.String()
	return t
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// compare orders the tellings of one fact, the one to believe first: that of
// credit-events, then the earliest, then by content.
func (t *telling) compare(o *telling) int {
	if t.onLedger != o.onLedger {
		if t.onLedger {
			return -1
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(t.occurredAt, o.occurredAt),
		cmp.Compare(t.from, o.from),
		cmp.Compare(t.entity, o.entity),
		cmp.Compare(t.amount, o.amount),
		compareValues(t.userID, o.userID),
		compareValues(t.operationType, o.operationType),
		compareValues(t.operationID, o.operationID),
	)
}

// fact is a row of credit_facts: the telling to believe, and what all tellings
// together say of where the fact was seen.
type fact struct {
	telling               // its onLedger: on credit-events at least once
	onSync, hasID, counts bool
	known                 bool // false until the first telling
}

// merge is the same in any order: the flags only ever become true, and the
// telling to believe is a minimum.
func (f *fact) merge(t telling) {
	f.onSync = f.onSync || !t.onLedger
	f.hasID = f.hasID || t.hasID
	if !f.known || t.compare(&f.telling) < 0 {
		f.telling, f.known = t, true
	}
}

// isCopy: told on a sync stream alone, without an id. It may be the copy of
// any entry of its cell, and counts only where the cell has too few.
func (f *fact) isCopy() bool { return f.known && !f.onLedger && !f.hasID }

// isUnseen: an entry of credit-events whose copy was not seen by id. One copy
// of the cell is taken to be its.
func (f *fact) isUnseen() bool { return f.known && f.onLedger && !f.onSync }

func (f *fact) cell() cellKey { return cellKey{f.tenant, f.kind, f.entity, f.amount} }

func (f *fact) row() []any {
	return append(f.factKey.row(), f.entity, f.amount, f.userID, f.operationType, f.operationID, f.occurredAt, f.from,
		integer(f.onLedger), integer(f.onSync), integer(f.hasID), integer(f.counts))
}

func restoreFact(row []any) fact {
	return fact{
		telling: telling{
			factKey:       factKey{row[0].(string), row[1].(string), row[2].(string)},
			entity:        row[3].(string),
			amount:        row[4].(string),
			userID:        row[5],
			operationType: row[6],
			operationID:   row[7],
			occurredAt:    row[8].(string),
			from:          row[9].(string),
			onLedger:      row[10].(int64) == 1,
		},
		onSync: row[11].(int64) == 1,
		hasID:  row[12].(int64) == 1,
		counts: row[13].(int64) == 1,
		known:  true,
	}
}

func integer(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
