package redisstream

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/wire"
)

// GroupRef names a group of a stream.
type GroupRef struct{ Stream, Group string }

// Kept is what is known of a group of a stream apart from the group.
type Kept struct {
	Known   bool    // a consumer of the project was in the group
	Gone    bool    // but the stream is another one by now, or there is none; only Group looks
	Settled wire.ID // up to here all was settled at the last look
	Entered int64   // how often consumers have entered the group
	Pruned  int64   // how many were removed from it for having been silent
	Lost    int64   // entries that were found trimmed before the group read them
	Noted   int64   // of those that were lost, an operator has taken note of so many
}

// Kept reads what is kept of groups, whether they exist or not.
func (c *Client) Kept(ctx context.Context, groups []GroupRef) ([]Kept, error) {
	cmds := make([]rueidis.Completed, len(groups))
	for i, g := range groups {
		cmds[i] = c.rc.B().Hmget().Key(StateKey(g.Stream, g.Group)).Field("at", "pending", "total", "noted", "entered", "pruned").Build()
	}
	all := make([]Kept, len(groups))
	if len(groups) == 0 {
		return all, nil
	}
	for i, reply := range c.doMulti(ctx, cmds...) {
		values, err := reply.AsStrSlice()
		if err == nil && len(values) != 6 {
			err = fmt.Errorf("%d elements", len(values))
		}
		if err != nil {
			return nil, fmt.Errorf("what is kept of group %s on %s: %w", groups[i].Group, groups[i].Stream, err)
		}
		at, pending := values[0], values[1]
		if at != "" {
			settled, err := wire.ParseID(cmp.Or(pending, at))
			if err != nil {
				return nil, fmt.Errorf("what is kept of group %s on %s: %w", groups[i].Group, groups[i].Stream, err)
			}
			if pending != "" {
				settled = settled.Prev()
			}
			all[i].Known, all[i].Settled = true, settled
		}
		all[i].Lost, _ = strconv.ParseInt(values[2], 10, 64)
		all[i].Noted, _ = strconv.ParseInt(values[3], 10, 64)
		all[i].Entered, _ = strconv.ParseInt(values[4], 10, 64)
		all[i].Pruned, _ = strconv.ParseInt(values[5], 10, 64)
	}
	return all, nil
}

// KeptGroups returns the groups of which something is kept, whether they exist
// or not, sorted.
func (c *Client) KeptGroups(ctx context.Context) ([]GroupRef, error) {
	found := map[GroupRef]bool{}
	err := c.eachKey(ctx, "{*}:state:*", "hash", func(key string) {
		stream, group, ok := strings.Cut(strings.TrimPrefix(key, "{"), "}:state:")
		if ok && stream != "" && group != "" {
			found[GroupRef{stream, group}] = true
		}
	})
	if err != nil {
		return nil, fmt.Errorf("scan for what is kept of groups: %w", err)
	}
	refs := slices.Collect(maps.Keys(found))
	slices.SortFunc(refs, func(a, b GroupRef) int {
		return cmp.Or(strings.Compare(a.Stream, b.Stream), strings.Compare(a.Group, b.Group))
	})
	return refs, nil
}

// Claims is what the consumers of a group have agreed on.
type Claims struct {
	Tenants string // the filter: ids with commas, "*" for all; "" when none was claimed
	Owner   string // consumer that has the exclusive lease; "" when there is none
}

// Claims reads what the consumers of groups have agreed on.
func (c *Client) Claims(ctx context.Context, groups []string) ([]Claims, error) {
	var cmds []rueidis.Completed
	for _, g := range groups {
		cmds = append(cmds,
			c.rc.B().Hget().Key(groupKey(g, "settings")).Field("tenants").Build(),
			c.rc.B().Hget().Key(groupKey(g, "active")).Field("owner").Build())
	}
	all := make([]Claims, len(groups))
	if len(groups) == 0 {
		return all, nil
	}
	for i, reply := range c.doMulti(ctx, cmds...) {
		value, err := reply.ToString()
		if err != nil && !rueidis.IsRedisNil(err) {
			return nil, fmt.Errorf("claims of group %s: %w", groups[i/2], err)
		}
		if i%2 == 0 {
			all[i/2].Tenants = value
		} else {
			all[i/2].Owner = value
		}
	}
	return all, nil
}
