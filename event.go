package freshet

import (
	"context"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/delivery"
)

// Delivery is one event as it reaches a handler, whatever its type. It is the
// handler's: no other call gets the same. What [events.Envelope] says of memory
// holds, with twice as many neighbours.
type Delivery struct {
	*events.Envelope

	Attempt  int    // 1 at first; counts attempts lost in a crash too
	Group    string // consumer group
	Consumer string // name of the consumer that handles it
	Fence    int64  // of an exclusive consumer: grows with every takeover, 0 otherwise
}

// Event is a delivery with its payload decoded. The raw data, unknown fields
// included, is in Envelope.Data.
type Event[T events.Payload] struct {
	Delivery
	Data T
}

// Handler handles one delivery. It returns nil when the effect has happened;
// any error is retried with backoff, but for the kinds that [Permanent],
// [RetryAfter] and [Unavailable] make. Panics count as errors.
//
// ctx ends at the handler timeout. It does not end when the consumer is told
// to stop: what is in hand is finished.
type Handler func(ctx context.Context, d *Delivery) error

// Middleware wraps a handler; see [Consumer.Use].
type Middleware func(Handler) Handler

// Permanent marks an error that no retry can mend: the event is dead-lettered
// at once. Permanent(nil) is nil.
func Permanent(err error) error { return delivery.Permanent(err) }

// RetryAfter marks an error whose next attempt should wait d instead of the
// backoff. RetryAfter(nil, d) is nil.
func RetryAfter(err error, d time.Duration) error { return delivery.RetryAfter(err, d) }

// Unavailable marks the failure of a dependency that all events share, such
// as the handler's database. The consumer pauses, without counting an attempt
// against the event, and resumes by itself. Unavailable(nil) is nil.
func Unavailable(err error) error { return delivery.Unavailable(err) }

// Outcome is how an entry's way ended.
type Outcome = delivery.Outcome

// The outcomes.
const (
	Handled      = delivery.Handled
	Ignored      = delivery.Ignored
	Filtered     = delivery.Filtered
	DeadLettered = delivery.DeadLettered
)

// Settlement tells of an entry whose way has ended.
type Settlement struct {
	Delivery
	Outcome  Outcome
	Reason   string        // of a dead letter: one word of a closed set
	Err      error         // of a dead letter
	Duration time.Duration // of the last call of the handler
}

// Stats counts the entries of a consumer by outcome since it started, and the
// losses that it found. The first five are of entries that it settled itself;
// what is lost is found by one consumer of the group.
type Stats = delivery.Stats
