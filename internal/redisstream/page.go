package redisstream

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/wire"
)

// RangeBefore returns entries of a stream with ids below before, the greatest
// first, at most count. The zero ID begins at the stream's last entry.
func (c *Client) RangeBefore(ctx context.Context, stream string, before wire.ID, count int) ([]wire.Entry, error) {
	from := "+"
	if before != (wire.ID{}) {
		from = before.Prev().String()
	}
	reply := c.do(ctx, c.rc.B().Xrevrange().Key(stream).End(from).Start("-").Count(int64(count)).Build())
	entries, err := parseRange(stream, reply)
	if err != nil {
		return nil, fmt.Errorf("range of %s before %s: %w", stream, from, err)
	}
	return entries, nil
}

// Lengths returns the number of entries of each stream, in one pipeline; 0 for
// a key that is not there or is no stream.
func (c *Client) Lengths(ctx context.Context, streams []string) ([]int64, error) {
	cmds := make([]rueidis.Completed, len(streams))
	for i, s := range streams {
		cmds[i] = c.rc.B().Xlen().Key(s).Build()
	}
	lengths := make([]int64, len(streams))
	for i, reply := range c.doMulti(ctx, cmds...) {
		n, err := reply.AsInt64()
		if err != nil && ClassOf(err) != WrongType {
			return nil, fmt.Errorf("length of %s: %w", streams[i], err)
		}
		lengths[i] = n
	}
	return lengths, nil
}
