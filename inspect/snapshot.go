package inspect

import (
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// SnapshotConfig says what a snapshot looks at. The zero value looks at all.
type SnapshotConfig struct {
	// Patterns are keys or Redis globs of the streams; default all of the
	// suite. The keys that the project derives never match a glob.
	Patterns []string

	// LiveWithin is how recently a consumer must have asked the server for
	// something to count as live; default [DefaultLiveWithin].
	LiveWithin time.Duration

	// CountTo is up to how many entries of a group's lag are counted where the
	// server's own number cannot be relied on; default 1000, at most 100,000.
	CountTo int64

	// Absent has groups looked for that are not on their stream and for which
	// redriven entries wait, by the names of all keys.
	Absent bool
}

// DefaultLiveWithin is how recently a live consumer has asked for something,
// where nothing else is said. Before Redis 7.2 a server does not hear of a
// consumer that waits for entries: where nothing comes for a group on any
// stream, its consumers look dead. Where something comes that nobody takes, they
// are.
const DefaultLiveWithin = time.Minute

// Snapshot is what is on the bus at one time. It is not atomic: its parts were
// read one after the other, within a fraction of a second.
type Snapshot struct {
	At       time.Time // by the server's clock
	Streams  []Stream  // those that exist, by key
	Missing  []string  // keys that were named, or are the catalogue's, and do not exist
	Absent   []Group   // groups that do not exist, and for which redriven entries wait; see [SnapshotConfig]
	Problems []Problem // what could not be looked at
}

// Problem is a part that could not be looked at. What it would have told has
// the value that says unknown.
type Problem struct {
	Stream string // "" where it is about all
	Group  string // "" where it is about the whole stream
	Part   string // that is missing: "consumers", "memory"
	Err    error
	Times  int // how many times; Stream and Group are those of the first
}

// Stream is what a stream has, and who reads it.
type Stream struct {
	Key    string
	Length int64 // entries; -1: unknown
	Bytes  int64 // of memory, as the server estimates; -1: unknown

	// First and last entry; "" and zero when there is none. The times are those
	// of the ids, which are the server's clock unless a publisher gave its own;
	// none is after the snapshot's.
	FirstID, LastID string
	FirstAt, LastAt time.Time

	Added int64 // entries ever added; -1: unknown, as before Redis 7

	Groups        []Group // by name; none: nobody reads it
	GroupsUnknown string  // why the groups are not known; "" when they are

	// HeldBack is the group that keeps most from being removed by a trim, and
	// what it has not settled; nil where every group has settled everything, as
	// far as that is known.
	HeldBack *Hold
}

// Hold is the first entry of a stream that a group has not settled: neither it
// nor what is newer may be removed.
type Hold struct {
	Group   string
	ID      string
	At      time.Time
	Pending bool // it was delivered and not acknowledged; else nobody of the group has read it
}

// Group is how far a group has got on a stream.
type Group struct {
	Stream, Name string

	Lag           Count  // entries of the stream that were not delivered to the group
	LastDelivered string // id up to which they were
	Read          int64  // entries that the server counts as read; -1: unknown

	// Oldest is the first entry that the group has not settled, pending or
	// unread; nil: there is none, or it is unknown, and OldestUnknown says why.
	Oldest        *Hold
	OldestUnknown string

	Pending       int64         // delivered and not acknowledged, also those that were trimmed since
	OldestPending *PendingEntry // the first by id; nil: none, or unknown
	Redelivered   Count         // pending entries that were delivered more than once
	MaxDeliveries int64         // of the first hundred pending entries

	Members   int64         // consumers that the server has for the group
	Live      int           // of them were seen lately, see [DefaultLiveWithin]; -1: unknown
	Dead      int           // were not; -1: unknown
	LastSeen  time.Duration // since any of them was; meaningless without consumers
	Consumers []Consumer    // by name; nil where they are unknown

	DeadLetters int64     // of the group from this stream; -1: unknown
	LastDeadAt  time.Time // when the newest of them was put there; zero: none
	Redriven    int64     // entries that were given to the group alone once more, by a redrive or a replay, and are not settled; -1: unknown
	RedrivenAt  time.Time // when the oldest of them was; zero: none, or unknown
	LostUnread  int64     // entries known to have been removed before the group read them; there may be more
}

// Unserved tells whether nobody works for the group: no consumer is live, and
// there is something to do or no consumer at all.
func (g *Group) Unserved() bool {
	return g.Live == 0 && (g.Dead == 0 || !g.Waiting().Within(0))
}

// Waiting is what the group has not settled: Lag, Pending and Redriven.
func (g *Group) Waiting() Count {
	n := g.unsettled()
	n.N += max(g.Redriven, 0)
	n.AtLeast = n.Unknown != "" && n.N > 0
	return n
}

// unsettled is what the group has not settled of the stream itself.
func (g *Group) unsettled() Count {
	n := g.Lag
	n.N += g.Pending
	n.AtLeast = n.Unknown != "" && n.N > 0
	return n
}

// WaitingSince is when the oldest of what the group has not settled was
// published or, if that is earlier, redriven; zero when it has settled
// everything, as far as that is known.
func (g *Group) WaitingSince() time.Time {
	if g.Oldest != nil && (g.RedrivenAt.IsZero() || g.Oldest.At.Before(g.RedrivenAt)) {
		return g.Oldest.At
	}
	return g.RedrivenAt
}

// OldestAge is for how long the oldest entry has waited that the group has not
// settled: since it was published, or redriven; 0 when it has settled
// everything. known is false when that cannot be told.
func (s *Snapshot) OldestAge(g *Group) (age time.Duration, known bool) {
	since := g.WaitingSince()
	switch {
	case g.OldestUnknown != "":
		return 0, false
	case since.IsZero():
		return 0, true
	}
	return s.At.Sub(since), true
}

// Consumer is a consumer of a group on a stream.
type Consumer struct {
	Stream, Group, Name string
	Pending             int64         // entries that it holds
	Idle                time.Duration // since the server last heard of it
	Live                bool
}

// timeAt is the time that an entry's id tells. A publisher can give ids of its
// own: one in the future counts as now.
func timeAt(id wire.ID, now time.Time) time.Time {
	if id.Ms >= uint64(max(now.UnixMilli(), 0)) {
		return now
	}
	return time.UnixMilli(int64(id.Ms)).UTC()
}
