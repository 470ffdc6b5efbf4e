package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// Why a group is not changed. ErrNoStream is another reason.
var (
	ErrNoGroup = redisstream.ErrNoGroup
	ErrNotBack = redisstream.ErrNotBack // the group has not got beyond the place to go back to
)

// Places where a group may begin, besides entry ids.
const (
	Beginning = "beginning" // with the first entry that the stream has
	New       = "new"       // with what is published from now on
)

const (
	defaultCount = 100_000 // entries that are counted, where nobody says
	sampled      = 1000    // entries that are looked into
)

// CreateGroupConfig says which group is created.
type CreateGroupConfig struct {
	Stream, Group string

	// Start is [Beginning] (the default), [New], or an entry id: the group
	// begins with that entry, or with the next one where it does not exist.
	Start string

	// MakeStream creates the stream too. One of the catalogue is created in any
	// case.
	MakeStream bool
}

// CreateGroup creates a group. One that is there stays as it is, and created
// is false.
func (r *Repairer) CreateGroup(ctx context.Context, cfg CreateGroupConfig) (created bool, err error) {
	if cfg.Group == "" {
		return false, errors.New("create group: a name is required")
	}
	var place *wire.ID
	var behind *redisstream.Behind
	if cfg.Start != New {
		at, err := placeOf(cfg.Start)
		if err != nil {
			return false, fmt.Errorf("create group %s on %s: %w", cfg.Group, cfg.Stream, err)
		}
		place = &at
		if at != (wire.ID{}) { // how much is behind the beginning, the server knows
			counted, err := r.client.CountBehind(ctx, cfg.Stream, at, defaultCount)
			if err != nil && !errors.Is(err, ErrNoStream) {
				return false, err
			}
			behind = &counted
		}
	}
	catalogue := slices.Contains(events.ExplicitStreams(), cfg.Stream)
	return r.client.CreateGroup(ctx, cfg.Stream, cfg.Group, place, behind, cfg.MakeStream || catalogue)
}

// placeOf returns the id behind which a group begins.
func placeOf(start string) (wire.ID, error) {
	if start == "" || start == Beginning {
		return wire.ID{}, nil
	}
	id, err := wire.ParseID(start)
	if err != nil {
		return id, fmt.Errorf("start: must be %q, %q or an entry id", Beginning, New)
	}
	return id.Prev(), nil
}

// RewindConfig says which group is moved back, and where to.
type RewindConfig struct {
	Stream, Group string

	// To is [Beginning] or the id of the first entry to deliver again; it need
	// not exist.
	To string

	CountTo int64 // up to how many entries are counted; default 100,000
	DryRun  bool  // change nothing
}

// Rewind is what moving a group back does, or would do.
type Rewind struct {
	Stream, Group string
	LastDelivered string        // where the group was before
	Again         inspect.Count // entries that are delivered again
	Unread        inspect.Count // entries that it had not been given yet, behind these
	First         string        // the first entry that is delivered; "" when there is none

	// Trimmed tells that the stream begins behind the place: older entries have
	// been removed.
	Trimmed bool

	// Pending is how many entries are pending, and stay so: those before the
	// place with the consumers that hold them, the others until they are
	// delivered again.
	Pending int64

	// What the first Sampled entries are: how many of each type and tenant.
	Sampled        int
	Types, Tenants map[string]int
}

// RewindGroup moves a group back, so that entries are delivered to it again,
// or tells what that would do. Its consumers may run meanwhile: those of this
// project take it for what it is, and handle again what comes, in order. What
// has effects once by its identity, as the copy has, stays as it is.
//
// A group is never moved ahead: that would skip entries. Then the error is
// [ErrNotBack], and the result says where the group is.
func (r *Repairer) RewindGroup(ctx context.Context, cfg RewindConfig) (*Rewind, error) {
	fail := func(err error) (*Rewind, error) {
		return nil, fmt.Errorf("rewind group %s on %s: %w", cfg.Group, cfg.Stream, err)
	}
	if cfg.To == "" {
		return fail(errors.New("where to is required"))
	}
	place, err := placeOf(cfg.To)
	if err != nil {
		return fail(err)
	}
	most := cfg.CountTo
	if most <= 0 {
		most = defaultCount
	}
	group, err := r.group(ctx, cfg.Stream, cfg.Group)
	if err != nil {
		return fail(err)
	}
	result := &Rewind{Stream: cfg.Stream, Group: cfg.Group, LastDelivered: group.LastDelivered.String(), Pending: group.Pending}
	if place.Compare(group.LastDelivered) >= 0 {
		_, err := fail(ErrNotBack)
		return result, err
	}
	if err := r.describe(ctx, result, place); err != nil {
		return nil, err
	}
	unread, err := r.client.CountBehind(ctx, cfg.Stream, group.LastDelivered, most)
	if err != nil {
		return nil, err
	}
	again, atLeast, err := r.client.CountBetween(ctx, cfg.Stream, place, group.LastDelivered, most)
	if err != nil {
		return nil, err
	}
	result.Unread, result.Again = countOf(unread.N, unread.AtLeast), countOf(again, atLeast)
	if cfg.DryRun {
		return result, nil
	}
	was, err := r.client.Rewind(ctx, cfg.Stream, cfg.Group, place, unread.Before(again, atLeast))
	if err != nil {
		return nil, err
	}
	result.LastDelivered, result.Pending = was.At.String(), was.Pending
	return result, nil
}

func countOf(n int64, atLeast bool) inspect.Count {
	if !atLeast {
		return inspect.Count{N: n}
	}
	return inspect.Count{N: n, AtLeast: true, Unknown: "counted no further"}
}

// describe says what stands behind the place, of its first entries.
func (r *Repairer) describe(ctx context.Context, result *Rewind, place wire.ID) error {
	entries, err := r.client.Range(ctx, result.Stream, place, sampled)
	if err != nil {
		return err
	}
	info := r.client.StreamInfos(ctx, []string{result.Stream})[0]
	if info.Err != nil {
		return fmt.Errorf("look at %s: %w", result.Stream, info.Err)
	}
	removed := info.Value.Added < 0 || info.Value.Added > info.Value.Length
	result.Trimmed = removed && place.Compare(info.Value.First.Prev()) < 0 && place != (wire.ID{})
	last, err := wire.ParseID(result.LastDelivered)
	if err != nil {
		return err
	}
	result.Types, result.Tenants = map[string]int{}, map[string]int{}
	var d wire.Decoder
	for i := range entries {
		if i == 0 {
			result.First = entries[i].ID.String()
		}
		if entries[i].ID.Compare(last) > 0 {
			break // these come in any case
		}
		envelope, _ := d.Decode(&entries[i])
		result.Sampled++
		result.Types[envelope.TypeName()]++
		result.Tenants[envelope.Tenant]++
	}
	return nil
}

// group asks for a group as it is now.
func (r *Repairer) group(ctx context.Context, stream, group string) (redisstream.GroupInfo, error) {
	answer := r.client.GroupInfos(ctx, []string{stream})[0]
	if redisstream.ClassOf(answer.Err) == redisstream.NoGroup {
		return redisstream.GroupInfo{}, ErrNoStream
	}
	if answer.Err != nil {
		return redisstream.GroupInfo{}, answer.Err
	}
	for _, g := range answer.Value {
		if g.Name == group {
			return g, nil
		}
	}
	return redisstream.GroupInfo{}, ErrNoGroup
}

// DeleteGroupConfig says which group is removed from a stream, and what the
// caller knows of what is lost by it.
type DeleteGroupConfig struct {
	Stream, Group string

	// Unread says that entries which the group has never been given may stay
	// unread, and what was redriven to it unsettled.
	Unread bool

	// DiscardPending is the number of pending entries that are given up. It
	// must be the exact one, so that nobody gives up what he has not seen.
	DiscardPending int64

	DryRun bool // remove nothing
}

// DeletedGroup is what goes with a group that is removed.
type DeletedGroup struct {
	Stream, Group string
	Deleted       bool
	Pending       int64         // delivered and not acknowledged
	Unread        inspect.Count // never delivered to the group
	Redriven      int64         // dead letters given back to the group and not settled: they stay, for a group of that name
	DeadLetters   int64         // of the group: they stay
	Live          int64         // consumers that asked for something in the last minute
}

// HeldError says what speaks against the removal of a group.
type HeldError struct{ What DeletedGroup }

func (e *HeldError) Error() string {
	w := e.What
	reason := "unread entries or redriven dead letters would be left"
	switch {
	case w.Live > 0:
		reason = fmt.Sprintf("%d consumers are at work and would create it again; stop them first", w.Live)
	case w.Pending > 0:
		reason = fmt.Sprintf("%d entries are pending", w.Pending)
	case w.Unread.N == 0 && w.Redriven == 0:
		reason = "no entry is pending, but some were expected to be"
	}
	return fmt.Sprintf("delete group %s of %s: %s", w.Group, w.Stream, reason)
}

// DeleteGroup removes a group from a stream, and what is kept of how far it
// was. It is a *[HeldError], and nothing is changed, while consumers of it are
// at work or when more goes with it than the caller says. The entries of the
// stream stay, and the dead letters of the group.
func (r *Repairer) DeleteGroup(ctx context.Context, cfg DeleteGroupConfig) (*DeletedGroup, error) {
	remove := redisstream.RemoveConfig{Unread: cfg.Unread, Pending: cfg.DiscardPending, Live: inspect.DefaultLiveWithin, DryRun: cfg.DryRun}
	letters := r.client.EntryCounts(ctx, []string{redisstream.DeadLetterKey(cfg.Stream, cfg.Group)})[0]
	if letters.Err != nil {
		return nil, fmt.Errorf("dead letters of group %s of %s: %w", cfg.Group, cfg.Stream, letters.Err)
	}
	held, done, err := r.client.RemoveGroup(ctx, cfg.Stream, cfg.Group, remove)
	if err != nil {
		return nil, err
	}
	result := &DeletedGroup{
		Stream: cfg.Stream, Group: cfg.Group, Deleted: done, Pending: held.Pending,
		Redriven: held.Redriven, DeadLetters: letters.Value, Live: held.Live,
	}
	if held.Unread {
		behind, err := r.client.CountBehind(ctx, cfg.Stream, held.At, defaultCount)
		if err != nil {
			behind = redisstream.Behind{N: 1, AtLeast: true} // it has been found that there are some
		}
		result.Unread = countOf(behind.N, behind.AtLeast)
	}
	if !done && !cfg.DryRun {
		return result, &HeldError{*result}
	}
	return result, nil
}

// served tells whether a consumer of the group has been seen lately.
func (r *Repairer) served(ctx context.Context, stream, group string, within time.Duration) (bool, error) {
	idle, consumers, err := r.client.LastSeen(ctx, stream, group)
	return consumers > 0 && idle < within, err
}
