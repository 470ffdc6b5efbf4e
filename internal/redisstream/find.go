package redisstream

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/wire"
)

var (
	//go:embed lua/grep.lua
	grepText string
	//go:embed lua/replay.lua
	replayText string

	grepScript   = newScript(grepText)
	replayScript = newScript(replayText)
)

// Search is a part of a stream to search for entries in which some value has a
// text. Both ids are inclusive; From above To searches from the newest on.
type Search struct {
	Stream   string
	From, To wire.ID
	Text     string
}

// SearchPage is what one step of a search has found.
type SearchPage struct {
	Looked int64
	Last   wire.ID // the last entry looked at; zero: there was none
	Found  []wire.ID
}

// SearchPages makes one step of each search, which looks at no more than count
// entries. Entries that have not the text stay on the server.
func (c *Client) SearchPages(ctx context.Context, searches []Search, count int) []Result[SearchPage] {
	calls := make([]scriptCall, len(searches))
	for i, s := range searches {
		way := "up"
		if s.From.Compare(s.To) > 0 {
			way = "down"
		}
		calls[i] = scriptCall{[]string{s.Stream}, []string{way, s.From.String(), s.To.String(), strconv.Itoa(count), s.Text}}
	}
	results := make([]Result[SearchPage], len(searches))
	if len(searches) == 0 {
		return results
	}
	for i, reply := range c.runAll(ctx, grepScript, calls) {
		results[i].Value, results[i].Err = parseSearchPage(reply)
	}
	return results
}

func parseSearchPage(reply rueidis.RedisResult) (SearchPage, error) {
	parts, err := reply.ToArray()
	if err == nil && len(parts) != 3 {
		err = fmt.Errorf("script returned %d parts, want 3", len(parts))
	}
	if err != nil {
		return SearchPage{}, err
	}
	var p SearchPage
	var err1, err2 error
	p.Looked, err1 = parts[0].AsInt64()
	p.Last, err2 = idOf(parts[1])
	ids, err3 := parts[2].AsStrSlice()
	for _, text := range ids {
		id, err := wire.ParseID(text)
		if err != nil {
			return SearchPage{}, err
		}
		p.Found = append(p.Found, id)
	}
	return p, errors.Join(err1, err2, err3)
}

// Matches tells whether one of the patterns, keys or Redis globs, means a key.
func Matches(patterns []string, key string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return p == key || IsGlob(p) && matches(p, key) })
}

// Entries asks for entries by name, in one pipeline; nil for one that is not
// there.
func (c *Client) Entries(ctx context.Context, refs []wire.Ref) []Result[*wire.Entry] {
	cmds := make([]rueidis.Completed, len(refs))
	results := make([]Result[*wire.Entry], len(refs))
	if len(refs) == 0 {
		return results
	}
	for i, r := range refs {
		cmds[i] = c.rc.B().Xrange().Key(r.Stream).Start(r.ID.String()).End(r.ID.String()).Build()
	}
	for i, reply := range c.doMulti(ctx, cmds...) {
		entries, err := parseRange(refs[i].Stream, reply)
		if results[i].Err = err; err == nil && len(entries) > 0 {
			results[i].Value = &entries[0]
		}
	}
	return results
}

// PendingOf asks for entries as pending ones of groups; nil where one is not.
func (c *Client) PendingOf(ctx context.Context, groups []GroupRef, ids []wire.ID) []Result[*PendingInfo] {
	cmds := make([]rueidis.Completed, len(groups))
	for i, g := range groups {
		cmds[i] = c.rc.B().Xpending().Key(g.Stream).Group(g.Group).Start(ids[i].String()).End(ids[i].String()).Count(1).Build()
	}
	return askAll(ctx, c, cmds, func(reply rueidis.RedisResult) (*PendingInfo, error) {
		list, err := reply.ToArray()
		if err != nil || len(list) == 0 {
			return nil, err
		}
		info, err := readPending(list[0])
		return &info, err
	})
}

// Replay copies entries of a stream to the stream that a group alone reads
// beside it, in the order given, at most a hundred at a time, in one atomic
// step. Each is [Moved], [Gone], or [Foreign] where it has more fields than can
// be copied.
func (c *Client) Replay(ctx context.Context, stream, group string, ids []wire.ID) ([]Redriven, error) {
	answers, err := c.run(ctx, replayScript, []string{stream, RetryKey(stream, group)}, texts(ids)...).AsIntSlice()
	if err == nil && len(answers) != len(ids) {
		err = fmt.Errorf("script answered for %d entries of %d", len(answers), len(ids))
	}
	if err != nil {
		return nil, fmt.Errorf("replay entries of %s to group %s: %w", stream, group, err)
	}
	results := make([]Redriven, len(ids))
	for i, n := range answers {
		results[i] = Redriven(n)
	}
	return results, nil
}
