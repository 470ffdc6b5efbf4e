package redisstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/wire"
)

// clusterPoll is how long one shard is waited for while others may have
// entries already. A blocked read cannot be ended without the risk that its
// reply is lost, so it is kept short.
const clusterPoll = 100 * time.Millisecond

var errNoRead = errors.New("the server's reply is none to a read of streams")

// readCommand builds a read of streams that share a cluster slot. A block of
// 0 reads what is there.
type readCommand func(streams []string, block time.Duration) rueidis.Completed

// readStreams reads several streams, waiting up to block for the first entry.
// Outside a cluster that is one command, which looks at all of them at once.
func (c *Client) readStreams(ctx context.Context, streams []string, block time.Duration, build readCommand) (entries []wire.Entry, atOnce bool, err error) {
	if len(streams) == 0 {
		return nil, true, sleep(ctx, block)
	}
	groups := c.bySlot(streams)
	if len(groups) == 1 {
		entries, err = c.readSlot(ctx, streams, block, build)
		return entries, true, err
	}
	deadline := time.Now().Add(block)
	for wait := time.Duration(0); ; {
		entries, err = c.readSlots(ctx, groups, wait, build)
		if wait = min(time.Until(deadline), clusterPoll); err != nil || len(entries) > 0 || wait <= 0 {
			return entries, false, err
		}
	}
}

// readSlots reads all slots, each by a command of its own. When one fails, the
// entries of the others are as good as not received: the caller finds them
// pending.
func (c *Client) readSlots(ctx context.Context, groups [][]string, block time.Duration, build readCommand) ([]wire.Entry, error) {
	type result struct {
		entries []wire.Entry
		err     error
	}
	results := make(chan result, len(groups))
	for _, streams := range groups {
		go func() {
			entries, err := c.readSlot(ctx, streams, block, build)
			results <- result{entries, err}
		}()
	}
	var entries []wire.Entry
	var errs []error
	for range groups {
		r := <-results
		entries = append(entries, r.entries...)
		errs = append(errs, r.err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return entries, nil
}

func (c *Client) readSlot(ctx context.Context, streams []string, block time.Duration, build readCommand) ([]wire.Entry, error) {
	call := c.aside.begin()
	defer c.aside.end(call)
	reply, err := c.doBlocking(ctx, build(streams, block), block).ToMessage()
	switch {
	case rueidis.IsRedisNil(err):
		return nil, nil
	case err != nil:
		return nil, err
	case !reply.IsString():
		return parseStreams(streams, reply)
	}
	token, err := reply.ToString()
	if err != nil {
		return nil, err
	}
	found, ok := c.aside.take(token)
	if !ok {
		return nil, errNoRead
	}
	return found.of(streams)
}

// of returns what was found of the streams that were asked for, which come in
// that order.
func (f found) of(streams []string) ([]wire.Entry, error) {
	if f.err != nil {
		return nil, f.err
	}
	key, asked := "", -1
	for i := range f.entries {
		e := &f.entries[i]
		if i == 0 || e.Stream != key {
			key = e.Stream
			n := slices.Index(streams[asked+1:], key)
			if n < 0 {
				return nil, fmt.Errorf("entries of %q, which were not asked for", key)
			}
			asked += 1 + n
		}
		e.Stream = streams[asked] // not the key of the reply, which is another string each time
	}
	return f.entries, nil
}

// parseStreams reads a reply as the server sent it.
func parseStreams(streams []string, reply rueidis.RedisMessage) ([]wire.Entry, error) {
	byStream, err := reply.AsXReadSlices()
	if err != nil {
		return nil, err
	}
	var entries []wire.Entry
	for _, stream := range streams {
		for _, s := range byStream[stream] {
			e, err := parseEntry(stream, s)
			if err != nil {
				return nil, err
			}
			entries = append(entries, e)
		}
	}
	return entries, nil
}

// bySlot splits streams by cluster slot; outside a cluster they are one.
func (c *Client) bySlot(streams []string) [][]string {
	if !c.cluster {
		return [][]string{streams}
	}
	index := map[uint16]int{}
	var groups [][]string
	for _, s := range streams {
		cmd := c.rc.B().Exists().Key(s).Build()
		slot := cmd.Slot()
		i, ok := index[slot]
		if !ok {
			i = len(groups)
			index[slot] = i
			groups = append(groups, nil)
		}
		groups[i] = append(groups[i], s)
	}
	return groups
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
