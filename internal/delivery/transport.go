package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// Transport is what the engine needs of a consumer group over a set of
// streams. The engine calls Read, Own and Reclaim by turns, Own and Reclaim for
// several streams at once, and everything else concurrently.
//
// An error means that nothing is known about the effect. An error that wraps
// ErrLost means that the stream or the group is gone; the transport has
// already re-created what it could before returning it.
type Transport interface {
	// Streams returns the subscribed streams as resolved now. The engine
	// asks again before every round of reads, so a new stream is picked up
	// while running.
	Streams() []string

	// Read returns entries never delivered to the group, at most count a
	// stream, from the named streams only, each stream's in id order. It
	// waits up to block (0: not at all) when there are none. Their delivery
	// count is 1. Entries that come with an error are handed out all the same.
	// atOnce reports whether all streams were looked at at one moment: else one
	// may by now have older entries than the read found in another.
	Read(ctx context.Context, streams []string, count int, block time.Duration) (entries []wire.Entry, atOnce bool, err error)

	// Own returns this consumer's own pending entries of a stream with ids
	// above after, at most count, without counting a delivery. It is used
	// after a read whose reply may have been lost.
	Own(ctx context.Context, stream string, after wire.ID, count int) (Pending, error)

	// Reclaim takes over entries of a stream that have been idle for at
	// least minIdle, at most count, scanning on from cursor, without
	// counting a delivery. A zero Next ends the sweep.
	Reclaim(ctx context.Context, stream string, minIdle time.Duration, cursor wire.ID, count int) (Pending, error)

	// Begin records that attempt attempts[i] of refs[i] starts and restarts
	// its lease, where this consumer still owns the entry; owned[i] tells.
	Begin(ctx context.Context, refs []wire.Ref, attempts []int) (owned []bool, err error)

	// Renew restarts the lease of the entries that this consumer still owns.
	Renew(ctx context.Context, refs []wire.Ref) (owned []bool, err error)

	// Ack settles entries whose effect has happened. It is idempotent and
	// needs no ownership.
	Ack(ctx context.Context, refs []wire.Ref) error

	// Bury stores the dead letter and acknowledges the original, in one
	// atomic step, where this consumer still owns the entry.
	Bury(ctx context.Context, letter DeadLetter) (owned bool, err error)

	// Unsettled reports how many entries of the group are pending with any
	// consumer, and whether undelivered entries remain.
	Unsettled(ctx context.Context) (pending int64, unread bool, err error)
}

// ErrLost is wrapped by transport errors that say the group or the stream
// no longer existed, or that another server has it by now, which may not know
// of the newest acknowledgments.
var ErrLost = errors.New("group or stream was gone")

// Pending is a page of entries that had been delivered before.
type Pending struct {
	Entries    []wire.Entry
	Deliveries []int      // of each entry, as the group counts them
	Trimmed    []wire.Ref // were pending, but the stream no longer has them; removed from the pending list
	Next       wire.ID    // where the sweep goes on; zero at its end
}

// DeadLetter is an entry that will not be handled, and why.
type DeadLetter struct {
	Entry       wire.Entry
	Attempts    int
	Reason      string // closed set: a wire.Reason, or one of the Reason constants
	Detail      string // error text, no payload
	FirstFailed time.Time
	LastFailed  time.Time
}

// Reasons for dead letters beyond those of wire.
const (
	ReasonPermanent = "permanent"    // the handler said so; where its error wraps a *wire.Refusal, the refusal's reason stands instead
	ReasonExhausted = "max_attempts" // it failed on every attempt
	ReasonCrashed   = "crashed"      // the process died in the last attempt
)
