// Package replica keeps a copy of the suite's state in SQL: users, roles,
// organizations, assignments and credits, told by events, read by plain
// queries.
//
// # Convergence
//
// Applying a set of events in any order, any number of times, in batches of
// any size, gives the same rows. State tables converge field by field: each
// field is what the newest event that carried it said, by event time, then by
// event identity. A field that an event does not carry stays; an explicit null
// is a value. Deletion is a field too, so rows stay as tombstones
// (deleted_at): a created event that comes late does not bring a row back, one
// that is newer does. An updated one never does. Queries for what exists ask
// for deleted_at IS NULL, and a deleted user, role or assignment is not
// active. is_active is NULL where no event has said it.
//
// Order is the publishers' clocks: an event dated in the future keeps its
// fields until then.
//
// A role has a row for each application that it was told to, and one for the
// whole suite, whose app is empty. Deletion is told to applications alone, so the
// row of the suite never gets a deleted_at: the role is gone when its other
// rows all have one.
//
// # The ledger of credits
//
// An entry of credit_entries is one allocation or consumption, keyed by its
// allocation or operation id where one is given and by the event's identity
// otherwise. However often, and on whatever stream, one id is told, it is one
// entry; of differing tellings that of credit-events wins, then the earliest.
//
// The suite publishes each allocation twice, on credit-events and on a sync
// stream, and the copy on the sync stream often has no id. Nothing but entity,
// kind and amount says which entry it is a copy of. So such copies are counted
// against the entries of credit-events with the same entity, kind and amount
// that were not seen on a sync stream by their id: as many copies as there are
// such entries are theirs, and only the copies beyond that number, the latest
// ones, are entries of their own. With both streams subscribed, each
// allocation counts once, whichever stream comes first; with the sync streams
// alone, each copy counts. What this cannot tell apart: an allocation told
// only on the sync stream without an id, of the same entity and amount as one
// told only on credit-events.
//
// credit_balances holds the sums of credit_entries, exactly, written in the
// same transaction. It is also where entities stand whose entries all turned
// out to be copies: with zeros.
package replica
