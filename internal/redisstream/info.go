package redisstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/wire"
)

// Result is the answer to one of several questions that were asked at once.
type Result[T any] struct {
	Value T
	Err   error
}

// askAll sends commands in one pipeline, and reads each reply on its own: one
// that fails does not hide the others.
func askAll[T any](ctx context.Context, c *Client, cmds []rueidis.Completed, read func(rueidis.RedisResult) (T, error)) []Result[T] {
	results := make([]Result[T], len(cmds))
	if len(cmds) == 0 {
		return results
	}
	for i, reply := range c.doMulti(ctx, cmds...) {
		results[i].Value, results[i].Err = read(reply)
	}
	return results
}

// StreamInfo is what a server says of a stream.
type StreamInfo struct {
	Length        int64
	Added         int64   // entries that ever were; -1 where it does not tell, before Redis 7
	First, Last   wire.ID // entries that there are; zero: none
	LastGenerated wire.ID
	MaxDeleted    wire.ID // greatest id of those that were deleted; trims do not count
}

// StreamInfos asks about streams. The error of one that does not exist is
// [ErrNoStream].
func (c *Client) StreamInfos(ctx context.Context, streams []string) []Result[StreamInfo] {
	cmds := make([]rueidis.Completed, len(streams))
	for i, s := range streams {
		cmds[i] = c.rc.B().XinfoStream().Key(s).Build()
	}
	return askAll(ctx, c, cmds, func(reply rueidis.RedisResult) (StreamInfo, error) {
		m, err := reply.AsMap()
		if ClassOf(err) == NoGroup { // "no such key"
			return StreamInfo{}, ErrNoStream
		}
		if err != nil {
			return StreamInfo{}, err
		}
		f := infoFields{m: m}
		return StreamInfo{
			Length:        f.number("length"),
			Added:         f.numberOr("entries-added", -1),
			First:         f.entry("first-entry"),
			Last:          f.entry("last-entry"),
			LastGenerated: f.idOr("last-generated-id", wire.ID{}),
			MaxDeleted:    f.idOr("max-deleted-entry-id", wire.ID{}),
		}, errors.Join(f.errs...)
	})
}

// GroupInfo is what a server says of a group of a stream.
type GroupInfo struct {
	Name          string
	Consumers     int64
	Pending       int64
	LastDelivered wire.ID
	Read          int64 // entries; -1 where it does not know
	Lag           int64 // as the server takes it to be, which can be wrong; -1 where it does not know
}

// GroupInfos asks about the groups of streams.
func (c *Client) GroupInfos(ctx context.Context, streams []string) []Result[[]GroupInfo] {
	cmds := make([]rueidis.Completed, len(streams))
	for i, s := range streams {
		cmds[i] = c.rc.B().XinfoGroups().Key(s).Build()
	}
	return askAll(ctx, c, cmds, func(reply rueidis.RedisResult) ([]GroupInfo, error) {
		return readInfos(reply, func(f *infoFields) GroupInfo {
			return GroupInfo{
				Name:          f.text("name"),
				Consumers:     f.number("consumers"),
				Pending:       f.number("pending"),
				LastDelivered: f.id("last-delivered-id"),
				Read:          f.numberOr("entries-read", -1),
				Lag:           f.numberOr("lag", -1),
			}
		})
	})
}

// ConsumerInfo is what a server says of a consumer.
type ConsumerInfo struct {
	Name    string
	Pending int64
	Idle    time.Duration // since it asked for something
}

// Consumers asks for the consumers of groups. It is the only question here
// whose work grows with what there is: with the number of consumers.
func (c *Client) Consumers(ctx context.Context, groups []GroupRef) []Result[[]ConsumerInfo] {
	cmds := make([]rueidis.Completed, len(groups))
	for i, g := range groups {
		cmds[i] = c.rc.B().XinfoConsumers().Key(g.Stream).Group(g.Group).Build()
	}
	return askAll(ctx, c, cmds, func(reply rueidis.RedisResult) ([]ConsumerInfo, error) {
		return readInfos(reply, func(f *infoFields) ConsumerInfo {
			return ConsumerInfo{
				Name:    f.text("name"),
				Pending: f.number("pending"),
				Idle:    time.Duration(f.number("idle")) * time.Millisecond,
			}
		})
	})
}

// PendingPage names a page of a group's pending entries.
type PendingPage struct {
	GroupRef
	Consumer string  // "" for all
	After    wire.ID // exclusive; zero: from the first
	Count    int64
}

// PendingInfo is an entry that was delivered and not acknowledged.
type PendingInfo struct {
	ID         wire.ID
	Consumer   string
	Idle       time.Duration // since its last delivery
	Deliveries int64
}

// PendingPages asks for pages of pending entries. The work is that of the
// page, however many are pending: none is looked for by its idle time.
func (c *Client) PendingPages(ctx context.Context, pages []PendingPage) []Result[[]PendingInfo] {
	cmds := make([]rueidis.Completed, len(pages))
	for i, p := range pages {
		from, to := "-", "+"
		switch {
		case p.After == lastID: // nothing can be after it
			from, to = "+", "-"
		case p.After != wire.ID{}:
			from = next(p.After).String()
		}
		cmd := c.rc.B().Xpending().Key(p.Stream).Group(p.Group).Start(from).End(to).Count(p.Count)
		if p.Consumer != "" {
			cmds[i] = cmd.Consumer(p.Consumer).Build()
		} else {
			cmds[i] = cmd.Build()
		}
	}
	return askAll(ctx, c, cmds, func(reply rueidis.RedisResult) ([]PendingInfo, error) {
		list, err := reply.ToArray()
		if err != nil {
			return nil, err
		}
		page := make([]PendingInfo, len(list))
		for i, m := range list {
			if page[i], err = readPending(m); err != nil {
				return nil, fmt.Errorf("pending entry: %w", err)
			}
		}
		return page, nil
	})
}

func readPending(m rueidis.RedisMessage) (PendingInfo, error) {
	parts, err := m.ToArray()
	if err == nil && len(parts) < 4 {
		err = fmt.Errorf("%d elements", len(parts))
	}
	if err != nil {
		return PendingInfo{}, err
	}
	id, err1 := idOf(parts[0])
	consumer, err2 := parts[1].ToString()
	idle, err3 := parts[2].AsInt64()
	deliveries, err4 := parts[3].AsInt64()
	return PendingInfo{id, consumer, time.Duration(idle) * time.Millisecond, deliveries}, errors.Join(err1, err2, err3, err4)
}

// IDs are those of a page of entries.
type IDs struct {
	IDs   []wire.ID
	Bytes int64 // of the entries' fields, which came with them
}

// IDsAfter asks for the ids behind positions, at most count each.
func (c *Client) IDsAfter(ctx context.Context, positions []Position, count int) []Result[IDs] {
	cmds := make([]rueidis.Completed, len(positions))
	for i, p := range positions {
		cmds[i] = c.xrangeAfter(p.Stream, p.After, count)
	}
	return askAll(ctx, c, cmds, readIDs)
}

// NewestIDs asks for the id of the last entry of each stream; none where there
// is no entry.
func (c *Client) NewestIDs(ctx context.Context, streams []string) []Result[IDs] {
	cmds := make([]rueidis.Completed, len(streams))
	for i, s := range streams {
		cmds[i] = c.rc.B().Xrevrange().Key(s).End("+").Start("-").Count(1).Build()
	}
	return askAll(ctx, c, cmds, readIDs)
}

func readIDs(reply rueidis.RedisResult) (IDs, error) {
	list, err := reply.AsXRangeSlices()
	if err != nil {
		return IDs{}, err
	}
	page := IDs{IDs: make([]wire.ID, len(list))}
	for i, e := range list {
		if page.IDs[i], err = wire.ParseID(e.ID); err != nil {
			return IDs{}, err
		}
		for _, f := range e.FieldValues {
			page.Bytes += int64(len(f.Field) + len(f.Value))
		}
	}
	return page, nil
}

// EntryCounts asks for the number of entries of streams; 0 where there is no
// stream.
func (c *Client) EntryCounts(ctx context.Context, streams []string) []Result[int64] {
	cmds := make([]rueidis.Completed, len(streams))
	for i, s := range streams {
		cmds[i] = c.rc.B().Xlen().Key(s).Build()
	}
	return askAll(ctx, c, cmds, func(reply rueidis.RedisResult) (int64, error) { return reply.AsInt64() })
}

// MemoryUsage asks for the bytes that streams take on their server, which it
// estimates by a few entries; 0 where there is no stream.
func (c *Client) MemoryUsage(ctx context.Context, streams []string) []Result[int64] {
	cmds := make([]rueidis.Completed, len(streams))
	for i, s := range streams {
		cmds[i] = c.rc.B().MemoryUsage().Key(s).Samples(5).Build()
	}
	return askAll(ctx, c, cmds, func(reply rueidis.RedisResult) (int64, error) {
		n, err := reply.AsInt64()
		if rueidis.IsRedisNil(err) {
			return 0, nil
		}
		return n, err
	})
}

// readInfos reads a list of maps.
func readInfos[T any](reply rueidis.RedisResult, read func(*infoFields) T) ([]T, error) {
	list, err := reply.ToArray()
	if err != nil {
		return nil, err
	}
	infos := make([]T, len(list))
	for i := range list {
		m, err := list[i].AsMap()
		if err != nil {
			return nil, err
		}
		f := infoFields{m: m}
		infos[i] = read(&f)
		if err := errors.Join(f.errs...); err != nil {
			return nil, err
		}
	}
	return infos, nil
}

// infoFields reads a map of the server's, and collects what is wrong with it.
type infoFields struct {
	m    map[string]rueidis.RedisMessage
	errs []error
}

func (f *infoFields) note(name string, err error) {
	if err != nil {
		f.errs = append(f.errs, fmt.Errorf("%s: %w", name, err))
	}
}

func (f *infoFields) text(name string) string {
	m := f.m[name]
	s, err := m.ToString()
	f.note(name, err)
	return s
}

func (f *infoFields) number(name string) int64 {
	m := f.m[name]
	n, err := m.AsInt64()
	f.note(name, err)
	return n
}

// numberOr is number for what some servers do not have, or do not know.
func (f *infoFields) numberOr(name string, unknown int64) int64 {
	if m, ok := f.m[name]; !ok || m.IsNil() {
		return unknown
	}
	return f.number(name)
}

func (f *infoFields) id(name string) wire.ID {
	id, err := wire.ParseID(f.text(name))
	f.note(name, err)
	return id
}

func (f *infoFields) idOr(name string, unknown wire.ID) wire.ID {
	if _, ok := f.m[name]; !ok {
		return unknown
	}
	return f.id(name)
}

// entry is the id of an entry, zero where there is none.
func (f *infoFields) entry(name string) wire.ID {
	m := f.m[name]
	if m.IsNil() {
		return wire.ID{}
	}
	parts, err := m.ToArray()
	if err == nil && len(parts) == 0 {
		err = errors.New("no elements")
	}
	if err != nil {
		f.note(name, err)
		return wire.ID{}
	}
	id, err := idOf(parts[0])
	f.note(name, err)
	return id
}
