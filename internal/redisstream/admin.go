package redisstream

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/wire"
)

var (
	//go:embed lua/place.lua
	placeText string
	//go:embed lua/destroy.lua
	destroyText string
	//go:embed lua/move.lua
	moveText string

	placeScript   = newScript(preludeText + placeText)
	destroyScript = newScript(preludeText + destroyText)
	moveScript    = newScript(preludeText + moveText)
)

// Why a group is not changed. [ErrNoStream] is another one.
var (
	ErrNoGroup  = errors.New("no such group")
	ErrNotBack  = errors.New("the group is not beyond that place")
	ErrConsumer = errors.New("the consumers are not as they were: one has gone, come back or fallen silent")
)

// Behind is how many entries of a stream stand behind a place.
type Behind struct {
	N       int64
	AtLeast bool // the count has ended at its bound

	last    wire.ID // the last one counted, or the place
	removed int64   // entries that the stream had lost when the count began; -1: unknown
}

// Before is what stands behind an earlier place, when n entries more do.
func (b Behind) Before(n int64, atLeast bool) Behind {
	b.N += n
	b.AtLeast = b.AtLeast || atLeast
	return b
}

// CountBehind counts the entries behind a place, up to about most of them. The
// entries stay on the server, which is asked for a page at a time.
func (c *Client) CountBehind(ctx context.Context, stream string, place wire.ID, most int64) (b Behind, err error) {
	b = Behind{last: place, removed: -1}
	info := c.StreamInfos(ctx, []string{stream})[0]
	if info.Err != nil {
		return b, fmt.Errorf("count entries of %s: %w", stream, info.Err)
	}
	if info.Value.Added >= 0 {
		b.removed = info.Value.Added - info.Value.Length
	}
	b.N, b.AtLeast, b.last, err = c.countFrom(ctx, stream, place, lastID, most)
	return b, err
}

// CountBetween counts the entries behind a place up to another one, that one
// included; atLeast tells that the count has ended at most.
func (c *Client) CountBetween(ctx context.Context, stream string, place, to wire.ID, most int64) (n int64, atLeast bool, err error) {
	if to != lastID {
		to = next(to)
	}
	n, atLeast, _, err = c.countFrom(ctx, stream, place, to, most)
	return n, atLeast, err
}

// countFrom counts the entries behind a place and before another one. last is
// that of those counted, or the place.
func (c *Client) countFrom(ctx context.Context, stream string, place, before wire.ID, most int64) (n int64, atLeast bool, last wire.ID, err error) {
	const page = 1000
	for last = place; last.Compare(before) < 0 && last != lastID; {
		some, at, err := c.count(ctx, stream, next(last), before, page)
		if err != nil {
			return n, false, last, fmt.Errorf("count entries of %s: %w", stream, err)
		}
		n += some
		if some > 0 {
			last = at
		}
		if some < page {
			break
		}
		if n >= most {
			return n, true, last, nil
		}
	}
	return n, false, last, nil
}

// Placed is a group before it was created or moved.
type Placed struct {
	At      wire.ID // last entry that was delivered to it; zero where it was created
	Pending int64
}

// CreateGroup creates a group that begins behind a place, or at the stream's
// end where it is nil; behind is what stands behind the place, nil where
// nobody counted. A group that is there stays as it is, and created is false.
// Without make, a stream that does not exist is [ErrNoStream].
func (c *Client) CreateGroup(ctx context.Context, stream, group string, place *wire.ID, behind *Behind, make bool) (created bool, err error) {
	what, at := "create", "$"
	if make {
		what = "make"
	}
	if place != nil {
		at = place.String()
	}
	found, _, err := c.place(ctx, stream, group, what, at, behind)
	if err != nil {
		return false, fmt.Errorf("create group %s on %s: %w", group, stream, err)
	}
	return found == "done", nil
}

// Rewind moves a group back to a place: what stands behind it is delivered
// again. Entries that are pending stay pending; those of them that stand behind
// the place go to whoever reads them now. The group's consumers may run. It is
// [ErrNotBack] where the group has not got beyond the place.
func (c *Client) Rewind(ctx context.Context, stream, group string, place wire.ID, behind Behind) (Placed, error) {
	found, was, err := c.place(ctx, stream, group, "back", place.String(), &behind)
	switch {
	case err != nil:
	case found == "no group":
		err = ErrNoGroup
	case found == "not back":
		err = ErrNotBack
	}
	if err != nil {
		return was, fmt.Errorf("rewind group %s on %s: %w", group, stream, err)
	}
	return was, nil
}

func (c *Client) place(ctx context.Context, stream, group, what, at string, behind *Behind) (found string, was Placed, err error) {
	if own(stream) {
		return "", was, errors.New("a key of Freshet's own, whose groups follow those of the stream")
	}
	counted, last, removed := "", "", ""
	if behind != nil && !behind.AtLeast && behind.removed >= 0 {
		counted, last, removed = strconv.FormatInt(behind.N, 10), behind.last.String(), strconv.FormatInt(behind.removed, 10)
	}
	reply, err := c.run(ctx, placeScript, []string{stream, StateKey(stream, group)}, group, what, at, counted, last, removed).ToArray()
	if err == nil && len(reply) != 3 {
		err = fmt.Errorf("script returned %d parts, want 3", len(reply))
	}
	if err != nil {
		return "", was, err
	}
	found, err1 := reply[0].ToString()
	if found == "no stream" {
		return "", was, ErrNoStream
	}
	var err2, err3 error
	was.At, err2 = idOf(reply[1])
	was.Pending, err3 = reply[2].AsInt64()
	return found, was, errors.Join(err1, err2, err3)
}

// Held is what goes with a group that is removed from a stream.
type Held struct {
	Pending  int64 // delivered and not acknowledged
	Unread   bool  // some entries of the stream were never delivered to it
	Redriven int64 // dead letters given back to it and not settled; they stay
	Live     int64 // consumers that asked for something lately
	At       wire.ID
}

// RemoveConfig says what the caller knows of a group that is to be removed.
type RemoveConfig struct {
	Unread  bool          // that entries are unread or redriven
	Pending int64         // how many are pending
	Live    time.Duration // how lately a live consumer has been seen
	DryRun  bool          // remove nothing
}

// RemoveGroup removes a group from a stream in one atomic step, if no consumer
// is live and exactly what the caller knows goes with it; done tells whether it
// did. Its dead letters stay.
func (c *Client) RemoveGroup(ctx context.Context, stream, group string, cfg RemoveConfig) (held Held, done bool, err error) {
	unread, look := "no", ""
	if cfg.Unread {
		unread = "yes"
	}
	if cfg.DryRun {
		look = "look"
	}
	keys := []string{stream, StateKey(stream, group), RetryKey(stream, group)}
	held, done, err = parseHeld(c.run(ctx, destroyScript, keys, group, unread, strconv.FormatInt(cfg.Pending, 10), millis(cfg.Live), look).ToArray())
	if err != nil {
		return held, false, fmt.Errorf("delete group %s of %s: %w", group, stream, err)
	}
	return held, done, nil
}

// Move gives pending entries of a consumer that has been silent for longer
// than idle to another one that was seen within live, at most count of them,
// and returns how many had gone from the stream: these are no longer pending.
// It is [ErrConsumer] where the consumers are not so.
func (c *Client) Move(ctx context.Context, stream, group, from, to string, idle, live time.Duration, count int) (moved, gone int64, err error) {
	answer, err := c.run(ctx, moveScript, []string{stream}, group, from, millis(idle), to, millis(live), strconv.Itoa(count)).AsIntSlice()
	switch {
	case err == nil && len(answer) != 3:
		err = fmt.Errorf("script returned %d parts, want 3", len(answer))
	case err == nil && answer[2] == 0:
		err = ErrConsumer
	}
	if err != nil {
		return 0, 0, fmt.Errorf("move pending entries of group %s on %s: %w", group, stream, err)
	}
	return answer[0], answer[1], nil
}

// RemoveConsumer removes a consumer that holds nothing and has been silent for
// longer than idle; removed is false where it is not so.
func (c *Client) RemoveConsumer(ctx context.Context, stream, group, consumer string, idle time.Duration) (removed bool, err error) {
	if consumer == "" {
		return false, nil // the script would take it for all
	}
	n, err := c.run(ctx, pruneScript, c.pruneKeys(stream, group), group, millis(idle), consumer, "").AsInt64()
	if err != nil {
		return false, fmt.Errorf("remove a consumer of group %s on %s: %w", group, stream, err)
	}
	return n > 0, nil
}

func parseHeld(reply []rueidis.RedisMessage, err error) (held Held, done bool, _ error) {
	if err == nil && len(reply) != 6 {
		err = fmt.Errorf("script returned %d parts, want 6", len(reply))
	}
	if err != nil {
		return held, false, err
	}
	var errs [6]error
	found, err := reply[0].ToString()
	errs[0] = err
	held.Pending, errs[1] = reply[1].AsInt64()
	unread, err := reply[2].AsInt64()
	held.Unread, errs[2] = unread > 0, err
	held.Redriven, errs[3] = reply[3].AsInt64()
	held.Live, errs[4] = reply[4].AsInt64()
	held.At, errs[5] = idOf(reply[5])
	switch found {
	case "no stream":
		return held, false, ErrNoStream
	case "no group":
		return held, false, ErrNoGroup
	}
	return held, found == "done", errors.Join(errs[:]...)
}
