package redisstream

import (
	"context"
	"fmt"

	"github.com/redis/rueidis"
)

// DestroyGroup removes a group from the streams that the patterns name, and
// what is kept for it. What was pending is forgotten; dead letters stay.
func (c *Client) DestroyGroup(ctx context.Context, group string, patterns []string) error {
	streams, err := c.Keys(ctx, patterns)
	if err != nil {
		return fmt.Errorf("destroy group %s: %w", group, err)
	}
	b := c.rc.B()
	cmds := []rueidis.Completed{
		b.Del().Key(groupKey(group, "settings"), groupKey(group, "active"), groupKey(group, "fence")).Build(),
	}
	for _, s := range streams {
		cmds = append(cmds, b.XgroupDestroy().Key(s).Group(group).Build())
	}
	for i, reply := range c.doMulti(ctx, cmds...) {
		switch err := reply.Error(); {
		case err == nil, ClassOf(err) == NoGroup, ClassOf(err) == WrongType:
		case i == 0:
			return fmt.Errorf("destroy group %s: %w", group, err)
		default:
			return fmt.Errorf("destroy group %s on %s: %w", group, streams[i-1], err)
		}
	}
	return nil
}
