package events

import (
	"encoding/json"
	"time"

	"github.com/shopspring/decimal"
)

const creditStream = "credit-events"

// CreditAllocated tells that credits were added to an entity. Give the
// AllocationID: it is the identity of the allocation over all its copies.
//
// On the wire only EntityID and Amount are fields; the rest is metadata.
type CreditAllocated struct {
	AllocationID    string           `json:"allocationId" event:"id"`
	EntityID        string           `json:"entityId" event:"id,required" doc:"organization that has the credits; the tenant for credits of the whole tenant"`
	Amount          decimal.Decimal  `json:"amount" event:"required,positive,also=allocatedCredits,also=availableCredits"`
	Reason          string           `json:"reason"`
	EntityType      string           `json:"entityType"`
	PreviousBalance *decimal.Decimal `json:"previousBalance"`
	NewBalance      *decimal.Decimal `json:"newBalance"`
	SourceID        string           `json:"sourceId" event:"id"`
	Description     string           `json:"description"`
	AllocatedBy     string           `json:"allocatedBy" event:"id"`
	AllocatedAt     time.Time        `json:"allocatedAt"`
}

var creditAllocated = define[CreditAllocated](Type{
	Name:    "credit.allocated",
	Fact:    "credit.allocated",
	Stream:  creditStream,
	Shape:   ShapeCredit,
	Entity:  "credit",
	Action:  "allocated",
	Key:     []string{"entityId"},
	Reasons: []string{"credit_allocation", "application_allocation", "purchase"},
})

// Type implements Payload.
func (CreditAllocated) Type() *Type { return creditAllocated }

// CreditConsumed tells that an operation used an entity's credits. Give the
// OperationID: it is the identity of the consumption over all its copies.
//
// On the wire the resource is metadata; the rest are fields.
type CreditConsumed struct {
	EntityID      string          `json:"entityId" event:"id,required"`
	UserID        string          `json:"userId" event:"id"`
	Amount        decimal.Decimal `json:"amount" event:"required,positive"`
	OperationType string          `json:"operationType" doc:"what used them, \"api_call\""`
	OperationID   string          `json:"operationId" event:"id"`
	ResourceType  string          `json:"resourceType"`
	ResourceID    string          `json:"resourceId" event:"id"`
}

var creditConsumed = define[CreditConsumed](Type{
	Name:   "credit.consumed",
	Fact:   "credit.consumed",
	Stream: creditStream,
	Shape:  ShapeConsumption,
	Entity: "credit",
	Action: "consumed",
	Key:    []string{"entityId"},
})

// Type implements Payload.
func (CreditConsumed) Type() *Type { return creditConsumed }

// CreditAllocatedSync is the copy of a CreditAllocated on the sync streams:
// one fact with it. On the wire the amount is called allocatedCredits.
type CreditAllocatedSync struct {
	AllocationID    string           `json:"allocationId" event:"id"`
	EntityID        string           `json:"entityId" event:"id,required" doc:"organization that has the credits"`
	EntityType      string           `json:"entityType"`
	Amount          decimal.Decimal  `json:"amount" event:"required,positive,also=allocatedCredits,also=availableCredits"`
	PreviousBalance *decimal.Decimal `json:"previousBalance"`
	NewBalance      *decimal.Decimal `json:"newBalance"`
	Source          string           `json:"source" doc:"where they come from, \"purchase\""`
	Description     string           `json:"description" event:"null"`
	AllocatedBy     string           `json:"allocatedBy" event:"id"`
	AllocatedAt     time.Time        `json:"allocatedAt"`
}

var creditAllocatedSync = define[CreditAllocatedSync](Type{
	Name:   "credit_allocated",
	Fact:   "credit.allocated",
	Stream: "crm:sync:credits:credit_allocated",
	Drift:  []string{"crm:sync:credit:credit_allocated*"},
	Shape:  ShapeSync,
	Entity: "credit",
	Action: "allocated",
	Key:    []string{"entityId"},
})

// Type implements Payload.
func (CreditAllocatedSync) Type() *Type { return creditAllocatedSync }

// CreditConsumedSync is the copy of a CreditConsumed on the sync streams: one
// fact with it.
type CreditConsumedSync struct {
	EntityID      string          `json:"entityId" event:"id,required"`
	Amount        decimal.Decimal `json:"amount" event:"required,positive"`
	UserID        string          `json:"userId" event:"id"`
	OperationType string          `json:"operationType"`
	OperationID   string          `json:"operationId" event:"id"`
}

var creditConsumedSync = define[CreditConsumedSync](Type{
	Name:   "credit_consumed",
	Fact:   "credit.consumed",
	Stream: "crm:sync:credits:credit_consumed",
	Drift:  []string{"crm:sync:credit:credit_consumed*"},
	Shape:  ShapeSync,
	Entity: "credit",
	Action: "consumed",
	Key:    []string{"entityId"},
})

// Type implements Payload.
func (CreditConsumedSync) Type() *Type { return creditConsumedSync }

// CreditConfigUpdated tells what an operation costs.
type CreditConfigUpdated struct {
	ConfigID            string           `json:"configId" event:"id,required"`
	OperationCode       string           `json:"operationCode"`
	CreditCost          *decimal.Decimal `json:"creditCost"`
	Unit                string           `json:"unit"`
	UnitMultiplier      *decimal.Decimal `json:"unitMultiplier"`
	FreeAllowance       *decimal.Decimal `json:"freeAllowance" event:"null"`
	FreeAllowancePeriod string           `json:"freeAllowancePeriod"`
	VolumeTiers         json.RawMessage  `json:"volumeTiers"`
	AllowOverage        *bool            `json:"allowOverage"`
	OverageLimit        *decimal.Decimal `json:"overageLimit" event:"null"`
	OveragePeriod       string           `json:"overagePeriod"`
	OverageCost         *decimal.Decimal `json:"overageCost" event:"null"`
	IsActive            *bool            `json:"isActive" doc:"absent means true"`
	UpdatedBy           string           `json:"updatedBy" event:"id"`
	UpdatedAt           time.Time        `json:"updatedAt"`
	ChangeType          string           `json:"changeType"`
	PreviousConfig      json.RawMessage  `json:"previousConfig"`
}

var creditConfigUpdated = define[CreditConfigUpdated](Type{
	Name:    "credit_config_updated",
	Stream:  "crm:sync:credits:credit_config_updated",
	Drift:   []string{"crm:sync:credit:credit_config_updated*"},
	Shape:   ShapeSync,
	Entity:  "credit",
	Action:  "config_updated",
	Key:     []string{"configId"},
	Aliases: []string{"credit.config_updated", "credit.config.updated", "credit_config.updated"},
})

// Type implements Payload.
func (CreditConfigUpdated) Type() *Type { return creditConfigUpdated }
