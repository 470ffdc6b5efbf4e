package redisstream

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"
)

// DestroyGroup removes a group from the streams that the patterns name, and
// all that is kept for it: what was pending, its dead letters and what was
// redriven to it. The streams themselves stay as they are.
func (c *Client) DestroyGroup(ctx context.Context, group string, patterns []string) error {
	streams, err := c.Keys(ctx, patterns)
	if err != nil {
		return fmt.Errorf("destroy group %s: %w", group, err)
	}
	b := c.rc.B()
	var cmds []rueidis.Completed
	for _, what := range []string{"settings", "active", "fence"} {
		cmds = append(cmds, b.Del().Key(groupKey(group, what)).Build())
	}
	for _, s := range streams {
		cmds = append(cmds,
			b.XgroupDestroy().Key(s).Group(group).Build(),
			b.Del().Key(DeadLetterKey(s, group), RetryKey(s, group), StateKey(s, group)).Build())
	}
	for _, reply := range c.doMulti(ctx, cmds...) {
		switch err := reply.Error(); ClassOf(err) {
		case NoGroup, WrongType: // there is nothing to remove
		default:
			if err != nil {
				return fmt.Errorf("destroy group %s: %w", group, err)
			}
		}
	}
	return nil
}
