package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// Message is an event on its way through a handler. It is the engine's: what
// is kept longer than the call is the envelope.
type Message struct {
	Envelope *events.Envelope
	Entry    *wire.Entry
	Attempt  int // 1 at first
	Own      any // what Config.Own returned for it
}

// Disposition is what becomes of a decoded event.
type Disposition int

const (
	Handle            Disposition = iota // by the route
	Ignore                               // acknowledge: no handler names the type
	Filter                               // acknowledge: another tenant's, by the group's filter
	DeadLetterUnknown                    // dead-letter with wire.UnknownType
)

// Route is where events of some types are handled: one at a time by Handle,
// or many at once by HandleBatch.
type Route struct {
	Name        string
	Handle      func(ctx context.Context, m *Message) error
	HandleBatch func(ctx context.Context, ms []*Message) error
	BatchSize   int           // HandleBatch: at most this many in one call
	BatchWait   time.Duration // HandleBatch: a batch that is not full waits this long for more
}

// Config of an Engine. All durations and counts must be positive.
type Config struct {
	Transport Transport

	// Decode, Route and Own are called from one goroutine at a time. Decode may
	// return a partial envelope with a refusal, or none. Own, unless nil, makes
	// what the message of every entry that was not refused carries for its first
	// handler.
	Decode func(*wire.Entry) (*events.Envelope, *wire.Refusal)
	Route  func(*events.Envelope) (*Route, Disposition)
	Own    func(*Message) any

	Concurrency     int           // handlers running at once
	MaxInFlight     int           // entries in hand at most: read and not settled. Order over streams needs one for each stream
	PerStream       int           // as many for each stream may be in hand where that is more; 0: no more
	MaxAttempts     int           // then dead-letter
	HandlerTimeout  time.Duration // of one call
	Lease           time.Duration // entries idle for longer are taken over; must exceed HandlerTimeout
	BackoffMin      time.Duration // before the second attempt, at most; it doubles
	BackoffMax      time.Duration
	Block           time.Duration // of one read
	DrainTimeout    time.Duration // after Run's context ends
	OutageThreshold int           // different entities failing in a row that make an outage

	// TakeOver says that no other consumer of the group is alive: what they
	// left pending is taken over at the start, whatever its lease, and comes
	// before anything new.
	TakeOver bool

	StopWhenDrained bool         // Run returns when everything there is has been settled
	Observer        Observer     // may be nil
	Log             *slog.Logger // may be nil
}

// Observer is told what happens, for metrics, logs and acknowledgments. Its
// methods are called from several goroutines and must not block for long.
type Observer interface {
	// Settled is called once for every entry before its acknowledgment is
	// sent, or its dead letter stored. An error delays that and is retried.
	// A crash in between repeats the call.
	Settled(ctx context.Context, s Settlement) error

	// Retried is called for every failed attempt that counts and is not the
	// last.
	Retried(m *Message, err error, after time.Duration)

	// Paused is called when a dependency of the handlers seems to be down:
	// none is called until a probe after wait, and so on, until one succeeds.
	Paused(err error, wait time.Duration)
	Resumed()
}

// Outcome of an entry.
type Outcome string

const (
	Handled      Outcome = "handled"
	Ignored      Outcome = "ignored"
	Filtered     Outcome = "filtered"
	DeadLettered Outcome = "dead_lettered"
)

// Settlement is the end of an entry's way.
type Settlement struct {
	Message  *Message // Envelope may be partial when it was refused, but is not nil
	Outcome  Outcome
	Reason   string        // of a dead letter
	Err      error         // of a dead letter
	Duration time.Duration // of the last handler call
}

// Stats counts what came of entries, and what was lost: of a stream's entries
// by whoever trimmed them, or of the server's memory by a failure.
type Stats struct {
	Handled      int64 `json:"handled"`
	Ignored      int64 `json:"ignored"`
	Filtered     int64 `json:"filtered"`
	DeadLettered int64 `json:"dead_lettered"`
	Retried      int64 `json:"retried"`

	LostTrimmed     int64 `json:"lost_trimmed"`     // entries trimmed or deleted while they were pending
	LostUnread      int64 `json:"lost_unread"`      // entries trimmed or deleted before the group read them
	LostAcks        int64 `json:"lost_acks"`        // entries that this consumer settled and was given again
	GroupsRecreated int64 `json:"groups_recreated"` // groups or streams that were gone
	StreamsSetBack  int64 `json:"streams_set_back"` // streams whose newest entries the server lost
}

// Plus returns the sum of both.
func (s Stats) Plus(o Stats) Stats {
	return Stats{
		Handled:         s.Handled + o.Handled,
		Ignored:         s.Ignored + o.Ignored,
		Filtered:        s.Filtered + o.Filtered,
		DeadLettered:    s.DeadLettered + o.DeadLettered,
		Retried:         s.Retried + o.Retried,
		LostTrimmed:     s.LostTrimmed + o.LostTrimmed,
		LostUnread:      s.LostUnread + o.LostUnread,
		LostAcks:        s.LostAcks + o.LostAcks,
		GroupsRecreated: s.GroupsRecreated + o.GroupsRecreated,
		StreamsSetBack:  s.StreamsSetBack + o.StreamsSetBack,
	}
}

func (c *Config) validate() error {
	if c.Transport == nil || c.Decode == nil || c.Route == nil {
		return errors.New("delivery: Transport, Decode and Route are required")
	}
	for _, n := range []struct {
		name  string
		value int
	}{
		{"Concurrency", c.Concurrency},
		{"MaxInFlight", c.MaxInFlight},
		{"MaxAttempts", c.MaxAttempts},
		{"OutageThreshold", c.OutageThreshold},
	} {
		if n.value < 1 {
			return fmt.Errorf("delivery: %s is %d, must be at least 1", n.name, n.value)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"HandlerTimeout", c.HandlerTimeout},
		{"Lease", c.Lease},
		{"BackoffMin", c.BackoffMin},
		{"BackoffMax", c.BackoffMax},
		{"Block", c.Block},
		{"DrainTimeout", c.DrainTimeout},
	} {
		if d.value <= 0 {
			return fmt.Errorf("delivery: %s is %v, must be positive", d.name, d.value)
		}
	}
	if c.Lease <= c.HandlerTimeout {
		return fmt.Errorf("delivery: Lease (%v) must exceed HandlerTimeout (%v)", c.Lease, c.HandlerTimeout)
	}
	if c.BackoffMin > c.BackoffMax {
		return fmt.Errorf("delivery: BackoffMin (%v) must not exceed BackoffMax (%v)", c.BackoffMin, c.BackoffMax)
	}
	return nil
}
