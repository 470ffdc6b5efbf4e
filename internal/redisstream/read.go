package redisstream

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/wire"
)

// clusterPoll is how long one shard is waited for while others may have
// entries already. A blocked read cannot be ended without the risk that its
// reply is lost, so it is kept short.
const clusterPoll = 100 * time.Millisecond

// readCommand builds a read of streams that share a cluster slot. A block of
// 0 reads what is there.
type readCommand func(streams []string, block time.Duration) rueidis.Completed

// readStreams reads several streams, waiting up to block for the first entry.
// Outside a cluster that is one command.
func (c *Client) readStreams(ctx context.Context, streams []string, block time.Duration, build readCommand) ([]wire.Entry, error) {
	if len(streams) == 0 {
		return nil, sleep(ctx, block)
	}
	groups := c.bySlot(streams)
	if len(groups) == 1 {
		return c.readSlot(ctx, streams, block, build)
	}
	deadline := time.Now().Add(block)
	for wait := time.Duration(0); ; {
		entries, err := c.readSlots(ctx, groups, wait, build)
		if wait = min(time.Until(deadline), clusterPoll); err != nil || len(entries) > 0 || wait <= 0 {
			return entries, err
		}
	}
}

// readSlots reads all slots at once. When one fails, the entries of the
// others are as good as not received: the caller finds them pending.
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
	reply := c.doBlocking(ctx, build(streams, block), block)
	byStream, err := reply.AsXReadSlices()
	switch {
	case rueidis.IsRedisNil(err):
		return nil, nil
	case err != nil:
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
