// Package inbox makes the effect of an event happen once: a handler that
// writes its own tables records the event in the same transaction.
//
// An event is known by tenant, fact and identity, so a redelivered entry, a
// redriven dead letter, one event published again, and an allocation of
// credits that is told on two streams are each one event. Create the table
// with [Migrate], and remove old rows with [Prune].
//
// Allocations and consumptions are known over their two streams by their
// allocation or operation id. Some publishers give none on the sync stream:
// where effects must not happen twice, take events.CreditAllocated and
// events.CreditConsumed, and leave the Sync types to others.
//
// It needs database/sql with SQLite (modernc.org/sqlite or another driver) or
// PostgreSQL.
package inbox
