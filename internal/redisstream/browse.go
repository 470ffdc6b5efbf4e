package redisstream

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// Range returns entries of a stream with ids above after, in order, at most
// count. The zero ID begins at the stream's first entry; to begin at an id
// itself, pass its Prev.
func (c *Client) Range(ctx context.Context, stream string, after wire.ID, count int) ([]wire.Entry, error) {
	reply := c.do(ctx, c.xrangeAfter(stream, after, count))
	entries, err := parseRange(stream, reply)
	if err != nil {
		return nil, fmt.Errorf("range of %s after %s: %w", stream, after, err)
	}
	return entries, nil
}

// Last returns the id of a stream's last entry, or the zero ID when there is
// none.
func (c *Client) Last(ctx context.Context, stream string) (wire.ID, error) {
	reply := c.do(ctx, c.rc.B().Xrevrange().Key(stream).End("+").Start("-").Count(1).Build())
	entries, err := parseRange(stream, reply)
	if err != nil {
		return wire.ID{}, fmt.Errorf("last entry of %s: %w", stream, err)
	}
	if len(entries) == 0 {
		return wire.ID{}, nil
	}
	return entries[0].ID, nil
}

// end returns the greatest id that a stream has had, though the entry may be
// gone, or the zero ID when there is no stream.
func (c *Client) end(ctx context.Context, stream string) (wire.ID, error) {
	info, err := c.do(ctx, c.rc.B().XinfoStream().Key(stream).Build()).AsMap()
	if ClassOf(err) == NoGroup { // "no such key"
		return wire.ID{}, nil
	}
	if err != nil {
		return wire.ID{}, fmt.Errorf("end of %s: %w", stream, err)
	}
	last, told := info["last-generated-id"]
	if !told {
		return c.Last(ctx, stream)
	}
	return idOf(last)
}

// Position is a place in a stream.
type Position struct {
	Stream string
	After  wire.ID
}

// ReadAfter returns the entries behind the positions, at most count a
// stream, each stream's in order. It waits up to block (0: not at all) when
// there are none. No group is involved. atOnce reports whether all streams were
// looked at at one moment.
func (c *Client) ReadAfter(ctx context.Context, positions []Position, count int, block time.Duration) (entries []wire.Entry, atOnce bool, err error) {
	after := make(map[string]string, len(positions))
	streams := make([]string, len(positions))
	for i, p := range positions {
		streams[i] = p.Stream
		after[p.Stream] = p.After.String()
	}
	return c.readStreams(ctx, streams, block, func(streams []string, block time.Duration) rueidis.Completed {
		ids := make([]string, len(streams))
		for i, s := range streams {
			ids[i] = after[s]
		}
		read := c.rc.B().Xread().Count(int64(count))
		if block > 0 {
			return read.Block(milliseconds(block)).Streams().Key(streams...).Id(ids...).Build()
		}
		return read.Streams().Key(streams...).Id(ids...).Build()
	})
}

func (c *Client) xrangeAfter(stream string, after wire.ID, count int) rueidis.Completed {
	from, to := next(after).String(), "+"
	if after == lastID { // nothing can be after it
		from, to = "+", "-"
	}
	return c.rc.B().Xrange().Key(stream).Start(from).End(to).Count(int64(count)).Build()
}

// lastID is the greatest id there can be. A publisher can give it to an entry.
var lastID = wire.ID{Ms: math.MaxUint64, Seq: math.MaxUint64}

// next returns the least id above id, which is not lastID.
func next(id wire.ID) wire.ID {
	if id.Seq == math.MaxUint64 {
		return wire.ID{Ms: id.Ms + 1}
	}
	return wire.ID{Ms: id.Ms, Seq: id.Seq + 1}
}

// milliseconds is d for a BLOCK argument, where 0 would mean for ever.
func milliseconds(d time.Duration) int64 { return max(d.Milliseconds(), 1) }

func parseRange(stream string, reply rueidis.RedisResult) ([]wire.Entry, error) {
	slices, err := reply.AsXRangeSlices()
	if err != nil {
		return nil, err
	}
	entries := make([]wire.Entry, len(slices))
	for i, s := range slices {
		if entries[i], err = parseEntry(stream, s); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

func parseEntry(stream string, s rueidis.XRangeSlice) (wire.Entry, error) {
	id, err := wire.ParseID(s.ID)
	if err != nil {
		return wire.Entry{}, err
	}
	fields := make([]events.Field, len(s.FieldValues))
	for i, f := range s.FieldValues {
		fields[i] = events.Field{Name: f.Field, Value: f.Value}
	}
	return wire.Entry{Stream: stream, ID: id, Fields: events.FieldsOf(fields...)}, nil
}

// pairUp makes fields of a flat list of names and values.
func pairUp(flat []string) events.Fields {
	fields := make([]events.Field, len(flat)/2)
	for i := range fields {
		fields[i] = events.Field{Name: flat[2*i], Value: flat[2*i+1]}
	}
	return events.FieldsOf(fields...)
}
