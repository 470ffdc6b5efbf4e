package redisstream

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/redis/rueidis"
)

// DeadLetterKey is the stream of a group's dead letters from a stream. The
// hash tag keeps it in the stream's cluster slot.
func DeadLetterKey(stream, group string) string { return "{" + stream + "}:dlq:" + group }

// RetryKey is the stream of entries that are redriven to one group alone.
func RetryKey(stream, group string) string { return "{" + stream + "}:retry:" + group }

// StateKey holds what is known of a group of a stream apart from the group: how
// far it was, should it be destroyed, and what it was found to have lost.
func StateKey(stream, group string) string { return "{" + stream + "}:state:" + group }

// groupKey is a key of the project's own that belongs to a group.
func groupKey(group, what string) string { return "freshet:{" + group + "}:" + what }

// own tells keys that the project derives or keeps for itself.
func own(key string) bool {
	return strings.HasPrefix(key, "{") || strings.HasPrefix(key, "freshet:")
}

// IsGlob tells a pattern from a plain key.
func IsGlob(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

// Keys returns the streams that the patterns name, sorted: Redis globs are
// resolved against the streams that exist now, plain keys stand for
// themselves whether they exist or not. Keys that the project derives never
// match a glob.
func (c *Client) Keys(ctx context.Context, patterns []string) ([]string, error) {
	found := map[string]bool{}
	var globs []string
	for _, p := range patterns {
		if IsGlob(p) {
			globs = append(globs, p)
		} else {
			found[p] = true
		}
	}
	if len(globs) > 0 {
		err := c.eachStream(ctx, func(key string) {
			if !own(key) && slices.ContainsFunc(globs, func(g string) bool { return matches(g, key) }) {
				found[key] = true
			}
		})
		if err != nil {
			return nil, fmt.Errorf("scan for streams: %w", err)
		}
	}
	keys := make([]string, 0, len(found))
	for k := range found {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys, nil
}

// matches is Redis' glob matching, which unlike path.Match does not treat /
// as special.
func matches(glob, key string) bool {
	hide := func(s string) string { return strings.ReplaceAll(s, "/", "\x00") }
	ok, err := path.Match(hide(glob), hide(key))
	return ok && err == nil
}

// eachStream calls fn for every key that holds a stream, at least once.
func (c *Client) eachStream(ctx context.Context, fn func(key string)) error {
	return c.eachKey(ctx, "*", "stream", fn)
}

// eachKey calls fn for every key of a type that matches a glob, at least once.
// In a cluster all nodes are asked: replicas repeat what their masters say, and
// a node that is down has no keys that could be read.
func (c *Client) eachKey(ctx context.Context, glob, kind string, fn func(key string)) error {
	if !c.cluster {
		return c.scan(ctx, c.rc, glob, kind, fn)
	}
	var errs []error
	nodes := c.rc.Nodes()
	for _, node := range nodes {
		if err := c.scan(ctx, node, glob, kind, fn); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) < len(nodes) {
		return ctx.Err()
	}
	return errors.Join(errs...)
}

func (c *Client) scan(ctx context.Context, node rueidis.Client, glob, kind string, fn func(key string)) error {
	n := &Client{rc: node}
	for cursor := uint64(0); ; {
		page, err := n.do(ctx, node.B().Scan().Cursor(cursor).Match(glob).Count(1000).Type(kind).Build()).AsScanEntry()
		if err != nil {
			return err
		}
		for _, key := range page.Elements {
			fn(key)
		}
		if cursor = page.Cursor; cursor == 0 {
			return nil
		}
	}
}
