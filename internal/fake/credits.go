package fake

import (
	"github.com/shopspring/decimal"

	"github.com/freshet/freshet/events"
)

// operation is something that costs credits.
type operation struct {
	kind, resource string
	price          decimal.Decimal
}

var operations = []operation{
	{"api_call", "endpoint", decimal.RequireFromString("0.25")},
	{"lead_enrichment", "lead", decimal.RequireFromString("2.5")},
	{"email_campaign", "campaign", decimal.RequireFromString("40")},
	{"report_export", "report", decimal.RequireFromString("5")},
	{"document_scan", "document", decimal.RequireFromString("1")},
}

// creditAllocated adds credits to an organization. The caller tells it, or its
// copy for the sync streams, or both.
func (t *tenant) creditAllocated(o *org) events.CreditAllocated {
	before := o.balance
	amount := decimal.NewFromInt(int64(t.faker.IntRange(2, 20)) * 50)
	o.balance = o.balance.Add(amount)
	after := o.balance
	return events.CreditAllocated{
		AllocationID:    t.faker.UUID(),
		EntityID:        o.id,
		Amount:          amount,
		Reason:          pick(t.Suite, events.CreditAllocated{}.Type().Reasons),
		EntityType:      "organization",
		PreviousBalance: &before,
		NewBalance:      &after,
		AllocatedBy:     t.admin(),
		AllocatedAt:     t.now(),
	}
}

func syncCopy(e events.CreditAllocated) events.CreditAllocatedSync {
	return events.CreditAllocatedSync{
		AllocationID:    e.AllocationID,
		EntityID:        e.EntityID,
		EntityType:      e.EntityType,
		Amount:          e.Amount,
		PreviousBalance: e.PreviousBalance,
		NewBalance:      e.NewBalance,
		Source:          e.Reason,
		AllocatedBy:     e.AllocatedBy,
		AllocatedAt:     e.AllocatedAt,
	}
}

// creditConsumed uses credits of an organization, which is given some first
// when it has too few. The caller tells the use.
func (t *tenant) creditConsumed() events.CreditConsumed {
	o, u := t.anyOrg(), t.anyUser()
	op := pick(t.Suite, operations)
	if o.balance.LessThan(op.price) {
		t.tell(t.creditAllocated(o))
	}
	o.balance = o.balance.Sub(op.price)
	return events.CreditConsumed{
		EntityID:      o.id,
		UserID:        u.id,
		Amount:        op.price,
		OperationType: op.kind,
		OperationID:   t.faker.UUID(),
		ResourceType:  op.resource,
		ResourceID:    t.faker.UUID(),
	}
}

func syncUse(e events.CreditConsumed) events.CreditConsumedSync {
	return events.CreditConsumedSync{
		EntityID:      e.EntityID,
		Amount:        e.Amount,
		UserID:        e.UserID,
		OperationType: e.OperationType,
		OperationID:   e.OperationID,
	}
}

func (t *tenant) creditConfigUpdated() {
	op := operations[t.deals%len(operations)]
	t.deals++
	one := decimal.NewFromInt(1)
	free := decimal.NewFromInt(int64(t.faker.IntN(5)) * 100)
	yes, no := true, false
	t.tell(events.CreditConfigUpdated{
		ConfigID:            "config-" + op.kind,
		OperationCode:       "crm." + op.kind,
		CreditCost:          &op.price,
		Unit:                "operation",
		UnitMultiplier:      &one,
		FreeAllowance:       &free,
		FreeAllowancePeriod: "month",
		AllowOverage:        &no,
		IsActive:            &yes,
		UpdatedBy:           t.admin(),
		UpdatedAt:           t.now(),
		ChangeType:          "updated",
	})
}
