package redisstream

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/wire"
)

var (
	//go:embed lua/trim.lua
	trimText string
	//go:embed lua/count.lua
	countText string

	trimScript  = newScript(preludeText + trimText)
	countScript = newScript(countText)
)

// ErrNoStream is the error of a stream that does not exist.
var ErrNoStream = errors.New("no such stream")

// Retention is what a stream keeps, and why.
type Retention struct {
	Now     time.Time // by the server's clock
	Cutoff  wire.ID   // entries below it are old enough to go
	Length  int64     // entries, before any were removed
	Removed int64
	Oldest  wire.ID // the first entry that is left; zero: none
	Groups  []Unsettled
}

// Unsettled is what a group has not settled of a stream.
type Unsettled struct {
	Group   string
	Lowest  wire.ID // zero: it has settled everything
	Pending bool    // Lowest has been delivered and not acknowledged; else nobody of the group has read it
	Gone    bool    // the group was destroyed, and is created again where it was when its consumer comes
}

// Trim removes the entries of a stream that are at least so old, by their ids
// and the server's clock, and that every group has settled. Those of the kept
// groups, see [Client.KeptGroups], that do not exist count too. It does so in
// steps that do not hold the server up, each of which looks anew what the
// groups have settled. After an error the steps before it are done, and
// Removed counts them; it is [ErrNoStream] when there is no stream.
func (c *Client) Trim(ctx context.Context, stream string, olderThan time.Duration, kept []string) (Retention, error) {
	var total Retention
	for _, how := range []string{"~", "="} {
		for {
			step, _, err := c.trim(ctx, stream, olderThan, how, kept)
			if err != nil {
				return total, err
			}
			if total.Now.IsZero() {
				total.Length = step.Length
			}
			step.Length, step.Removed = total.Length, total.Removed+step.Removed
			done := step.Removed == total.Removed || how == "="
			total = step
			if done {
				break
			}
		}
	}
	return total, nil
}

// TrimDryRun is Trim that removes nothing: Removed counts what could go.
func (c *Client) TrimDryRun(ctx context.Context, stream string, olderThan time.Duration, kept []string) (Retention, error) {
	found, floor, err := c.trim(ctx, stream, olderThan, "", kept)
	if err != nil || floor == (wire.ID{}) { // no entry is below it, nor is it an end that the server takes
		return found, err
	}
	const page = 1000
	for from := (wire.ID{}); ; {
		n, last, err := c.count(ctx, stream, from, floor, page)
		if err != nil {
			return found, fmt.Errorf("count entries of %s: %w", stream, err)
		}
		if found.Removed += n; n < page {
			break
		}
		from = next(last)
	}
	found.Oldest, err = c.firstFrom(ctx, stream, floor)
	return found, err
}

// trim makes one step: how is an argument of the script.
func (c *Client) trim(ctx context.Context, stream string, olderThan time.Duration, how string, kept []string) (found Retention, floor wire.ID, err error) {
	if own(stream) {
		return found, floor, fmt.Errorf("trim %s: a key of Freshet's own, which is never trimmed", stream)
	}
	keys, args := []string{stream}, []string{strconv.FormatInt(olderThan.Milliseconds(), 10), how}
	if c.cluster && strings.ContainsAny(stream, "{}") {
		kept = nil // it is no consumer's, see pruneKeys
	}
	for _, group := range kept {
		keys, args = append(keys, StateKey(stream, group)), append(args, group)
	}
	reply, err := c.run(ctx, trimScript, keys, args...).ToArray()
	if err != nil {
		return found, floor, fmt.Errorf("trim %s: %w", stream, err)
	}
	if len(reply) == 0 {
		return found, floor, fmt.Errorf("trim %s: %w", stream, ErrNoStream)
	}
	if found, floor, err = parseRetention(reply); err != nil {
		return found, floor, fmt.Errorf("trim %s: unexpected reply: %w", stream, err)
	}
	return found, floor, nil
}

func parseRetention(reply []rueidis.RedisMessage) (found Retention, floor wire.ID, err error) {
	const head = 6 // before the groups
	if len(reply) < head {
		return found, floor, fmt.Errorf("%d elements", len(reply))
	}
	var errs [6]error
	now, err := reply[0].ToString()
	ms, errMs := strconv.ParseInt(now, 10, 64)
	found.Now = time.UnixMilli(ms)
	found.Cutoff, errs[0] = idOf(reply[1])
	floor, errs[1] = idOf(reply[2])
	found.Length, errs[2] = reply[3].AsInt64()
	found.Removed, errs[3] = reply[4].AsInt64()
	found.Oldest, errs[4] = idOf(reply[5])
	if err := errors.Join(append(errs[:], err, errMs)...); err != nil {
		return found, floor, err
	}
	for _, m := range reply[head:] {
		group, err := m.ToArray()
		if err == nil && len(group) != 4 {
			err = fmt.Errorf("a group with %d elements", len(group))
		}
		if err != nil {
			return found, floor, err
		}
		var u Unsettled
		var pending, gone int64
		u.Group, errs[0] = group[0].ToString()
		u.Lowest, errs[1] = idOf(group[1])
		pending, errs[2] = group[2].AsInt64()
		gone, errs[3] = group[3].AsInt64()
		if err := errors.Join(errs[:4]...); err != nil {
			return found, floor, err
		}
		u.Pending, u.Gone = pending == 1, gone == 1
		found.Groups = append(found.Groups, u)
	}
	return found, floor, nil
}

// idOf reads an id, or the zero ID of empty text.
func idOf(m rueidis.RedisMessage) (wire.ID, error) {
	text, err := m.ToString()
	if err != nil || text == "" {
		return wire.ID{}, err
	}
	return wire.ParseID(text)
}

func (c *Client) count(ctx context.Context, stream string, from, before wire.ID, most int) (n int64, last wire.ID, err error) {
	reply, err := c.run(ctx, countScript, []string{stream}, from.String(), before.String(), strconv.Itoa(most)).ToArray()
	if err == nil && len(reply) != 2 {
		err = fmt.Errorf("unexpected reply of %d elements", len(reply))
	}
	if err != nil {
		return 0, last, err
	}
	n, err1 := reply[0].AsInt64()
	last, err2 := idOf(reply[1])
	return n, last, errors.Join(err1, err2)
}

// firstFrom returns the first id that is not below one, or the zero ID.
func (c *Client) firstFrom(ctx context.Context, stream string, from wire.ID) (wire.ID, error) {
	entries, err := c.Range(ctx, stream, from.Prev(), 1)
	if err != nil || len(entries) == 0 {
		return wire.ID{}, err
	}
	return entries[0].ID, nil
}

// LastSeen returns how long ago any consumer of a group last asked the server
// for something, and how many consumers there are.
func (c *Client) LastSeen(ctx context.Context, stream, group string) (idle time.Duration, consumers int, err error) {
	list, err := c.do(ctx, c.rc.B().XinfoConsumers().Key(stream).Group(group).Build()).ToArray()
	if err != nil {
		return 0, 0, fmt.Errorf("consumers of group %s on %s: %w", group, stream, err)
	}
	least := int64(math.MaxInt64 / int64(time.Millisecond))
	for _, m := range list {
		consumer, err := m.AsMap()
		if err != nil {
			return 0, 0, fmt.Errorf("consumers of group %s on %s: %w", group, stream, err)
		}
		field := consumer["idle"]
		ms, err := field.AsInt64()
		if err != nil {
			return 0, 0, fmt.Errorf("consumers of group %s on %s: idle: %w", group, stream, err)
		}
		least = min(least, ms)
	}
	if len(list) == 0 {
		return 0, 0, nil
	}
	return time.Duration(least) * time.Millisecond, len(list), nil
}
