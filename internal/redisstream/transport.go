package redisstream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/wire"
)

const (
	// Ids of one command: the server does nothing else meanwhile.
	maxAck    = 1000
	maxOwned  = 500
	maxSweep  = 100
	maxFields = 3500 // of a dead letter: Lua passes 8000 arguments at most
	maxError  = 1024 // bytes of a dead letter's error text
)

// Read reads new entries. See [delivery.Transport]. Keys that turn out to
// hold no stream are set aside, and the others read.
func (g *Group) Read(ctx context.Context, streams []string, count int, block time.Duration) ([]wire.Entry, bool, error) {
	if err := g.resolveIfDue(ctx); err != nil {
		return nil, false, err
	}
	for {
		names := slices.DeleteFunc(slices.Clone(streams), func(s string) bool { return !g.subscribed(s) })
		entries, atOnce, err := g.c.readStreams(ctx, names, block, func(streams []string, block time.Duration) rueidis.Completed {
			read := g.c.rc.B().Xreadgroup().Group(g.cfg.Group, g.cfg.Consumer).Count(int64(count))
			ids := slices.Repeat([]string{">"}, len(streams))
			if block > 0 {
				return read.Block(milliseconds(block)).Streams().Key(streams...).Id(ids...).Build()
			}
			return read.Streams().Key(streams...).Id(ids...).Build()
		})
		if err == nil {
			g.lookForLossesIfDue(ctx) // with what was handed out before
			g.countLostAcks(ctx, entries)
			g.handedOut(entries)
			if err := g.resolveRetriesOf(ctx, entries); err != nil || !g.movedElsewhere() {
				return entries, atOnce, err
			}
			// A failover may go by without a call that fails. What this
			// consumer has settled may be pending there.
			return entries, atOnce, fmt.Errorf("read group %s: another server answers: %w", g.cfg.Group, delivery.ErrLost)
		}
		err = g.failure(ctx, "read group "+g.cfg.Group, err, names...)
		if ClassOf(err) != WrongType || !slices.ContainsFunc(names, func(s string) bool { return !g.subscribed(s) }) {
			return nil, false, err
		}
	}
}

// Own lists own pending entries. See [delivery.Transport].
func (g *Group) Own(ctx context.Context, stream string, after wire.ID, count int) (delivery.Pending, error) {
	defer g.listPending()()
	patience, again := g.patience(stream)
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errNoAnswer)
	defer cancel()
	reply := insist(again, func() rueidis.RedisResult {
		return g.c.run(ctx, ownScript, []string{stream}, g.cfg.Group, g.cfg.Consumer, next(after).String(), strconv.Itoa(count))
	})
	page, err := g.parsePending(stream, reply)
	if err != nil {
		return delivery.Pending{}, g.failure(ctx, "own pending entries of "+stream, err, stream)
	}
	g.answered(stream)
	g.countLostAcks(ctx, page.Entries)
	g.handedOut(page.Entries)
	if len(page.Entries)+len(page.Trimmed) < count || page.Next == lastID {
		page.Next = wire.ID{}
		g.setUnsure(stream, false)
	}
	return page, nil
}

// Reclaim takes over idle entries. See [delivery.Transport]. With a least idle
// time it is not misled by a server whose clock is set while the consumer runs:
// after one that was set forward nothing is taken over for that time.
func (g *Group) Reclaim(ctx context.Context, stream string, minIdle time.Duration, cursor wire.ID, count int) (delivery.Pending, error) {
	defer g.listPending()()
	asked := time.Now()
	reply := g.c.run(ctx, reclaimScript, []string{stream}, g.cfg.Group, g.cfg.Consumer, millis(minIdle), cursor.String(),
		strconv.Itoa(min(count, maxSweep)), strconv.FormatInt(g.latest(stream, asked, minIdle), 10))
	page, err := g.parsePending(stream, reply)
	if err != nil {
		g.setUnsure(stream, true)
		return delivery.Pending{}, g.failure(ctx, "reclaim entries of "+stream, err, stream)
	}
	g.seen(stream, reply, asked, minIdle)
	g.handedOut(page.Entries)
	return page, nil
}

// parsePending reads what own.lua and reclaim.lua return.
func (g *Group) parsePending(stream string, reply rueidis.RedisResult) (delivery.Pending, error) {
	parts, err := reply.ToArray()
	if err != nil {
		return delivery.Pending{}, err
	}
	if len(parts) < 3 {
		return delivery.Pending{}, fmt.Errorf("script returned %d parts, want at least 3", len(parts))
	}
	var p delivery.Pending
	items, err := parts[0].ToArray()
	if err != nil {
		return delivery.Pending{}, err
	}
	for _, item := range items {
		e, deliveries, err := parsePendingEntry(stream, item)
		if err != nil {
			return delivery.Pending{}, err
		}
		p.Entries = append(p.Entries, e)
		p.Deliveries = append(p.Deliveries, deliveries)
	}
	trimmed, err := parts[1].AsStrSlice()
	if err != nil {
		return delivery.Pending{}, err
	}
	for _, text := range trimmed {
		id, err := wire.ParseID(text)
		if err != nil {
			return delivery.Pending{}, err
		}
		p.Trimmed = append(p.Trimmed, wire.Ref{Stream: stream, ID: id})
	}
	if text, _ := parts[2].ToString(); text != "" {
		if p.Next, err = wire.ParseID(text); err != nil {
			return delivery.Pending{}, err
		}
	}
	g.notOurs(p.Trimmed...)
	return p, nil
}

// parsePendingEntry reads {id, deliveries, {field, value, ...}}.
func parsePendingEntry(stream string, m rueidis.RedisMessage) (wire.Entry, int, error) {
	parts, err := m.ToArray()
	if err != nil {
		return wire.Entry{}, 0, err
	}
	if len(parts) != 3 {
		return wire.Entry{}, 0, fmt.Errorf("script returned %d parts of an entry, want 3", len(parts))
	}
	idText, err := parts[0].ToString()
	if err != nil {
		return wire.Entry{}, 0, err
	}
	id, err := wire.ParseID(idText)
	if err != nil {
		return wire.Entry{}, 0, err
	}
	deliveries, err := parts[1].AsInt64()
	if err != nil {
		return wire.Entry{}, 0, err
	}
	flat, err := parts[2].AsStrSlice()
	if err != nil {
		return wire.Entry{}, 0, err
	}
	return wire.Entry{Stream: stream, ID: id, Fields: pairUp(flat)}, int(deliveries), nil
}

// Begin records that attempts start. See [delivery.Transport].
func (g *Group) Begin(ctx context.Context, refs []wire.Ref, attempts []int) ([]bool, error) {
	return g.ifOwned(ctx, "begin", beginScript, refs, func(i int) []string {
		return []string{refs[i].ID.String(), strconv.Itoa(attempts[i])}
	})
}

// Renew restarts leases. See [delivery.Transport].
func (g *Group) Renew(ctx context.Context, refs []wire.Ref) ([]bool, error) {
	return g.ifOwned(ctx, "renew", renewScript, refs, func(i int) []string {
		return []string{refs[i].ID.String()}
	})
}

// ifOwned runs a script over refs that answers for each whether it is owned.
func (g *Group) ifOwned(ctx context.Context, what string, s script, refs []wire.Ref, args func(i int) []string) ([]bool, error) {
	chunks := chunk(refs, maxOwned)
	calls := make([]scriptCall, len(chunks))
	for i, c := range chunks {
		lowest := refs[c.index[0]].ID
		for _, j := range c.index {
			if refs[j].ID.Compare(lowest) < 0 {
				lowest = refs[j].ID
			}
		}
		calls[i] = scriptCall{[]string{c.stream}, []string{g.cfg.Group, g.cfg.Consumer, lowest.String()}}
		for _, j := range c.index {
			calls[i].args = append(calls[i].args, args(j)...)
		}
	}
	owned := make([]bool, len(refs))
	var errs []error
	for i, reply := range g.c.runAll(ctx, s, calls) {
		answers, err := reply.AsIntSlice()
		if err == nil && len(answers) != len(chunks[i].index) {
			err = fmt.Errorf("script answered for %d entries of %d", len(answers), len(chunks[i].index))
		}
		if err != nil {
			err = g.failure(ctx, what+" entries of "+chunks[i].stream, err, chunks[i].stream)
			if !g.replaced(chunks[i].stream, err) {
				errs = append(errs, err)
				continue
			}
			answers = make([]int64, len(chunks[i].index))
		}
		for k, j := range chunks[i].index {
			if owned[j] = answers[k] == 1; !owned[j] {
				g.notOurs(refs[j])
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return owned, nil
}

// Ack settles entries. See [delivery.Transport].
func (g *Group) Ack(ctx context.Context, refs []wire.Ref) error {
	chunks := chunk(refs, maxAck)
	done := make([]wire.Ref, 0, min(len(refs), maxAck))
	var errs []error
	for i, err := range g.ackChunks(ctx, chunks, refs) {
		if err != nil {
			err = g.failure(ctx, "acknowledge entries of "+chunks[i].stream, err, chunks[i].stream)
			if !g.replaced(chunks[i].stream, err) {
				errs = append(errs, err)
				continue
			}
		}
		done = done[:0]
		for _, j := range chunks[i].index {
			done = append(done, refs[j])
		}
		g.settled(done...)
	}
	return errors.Join(errs...)
}

// ackChunks acknowledges in one pipeline and returns one error for each chunk.
// What was redriven is deleted then, for nobody else reads it.
func (g *Group) ackChunks(ctx context.Context, chunks []refChunk, refs []wire.Ref) []error {
	var cmds []rueidis.Completed
	var of []int // chunk of each command
	texts := idTexts(refs, chunks)
	for i, c := range chunks {
		ids := texts[:len(c.index)]
		texts = texts[len(ids):]
		cmds = append(cmds, g.c.rc.B().Xack().Key(c.stream).Group(g.cfg.Group).Id(ids...).Build())
		of = append(of, i)
		if _, redriven := g.retried(c.stream); redriven {
			cmds = append(cmds, g.c.rc.B().Xdel().Key(c.stream).Id(ids...).Build())
			of = append(of, i)
		}
	}
	errs := make([]error, len(chunks))
	for k, reply := range g.c.doMulti(ctx, cmds...) {
		errs[of[k]] = errors.Join(errs[of[k]], reply.Error())
	}
	return errs
}

// Bury stores a dead letter and acknowledges its entry. See
// [delivery.Transport]. The letter has all fields of the original, byte for
// byte and in order, and then nine of ours, which therefore come last even
// where the original has fields of the same names. Of an original with more
// than maxFields fields, the first of them are kept. What was redriven and
// failed again is a dead letter of the original's stream as before.
func (g *Group) Bury(ctx context.Context, l delivery.DeadLetter) (owned bool, err error) {
	stream, id, fields := g.original(l.Entry)
	note := LetterNote{
		Stream:      stream,
		ID:          id,
		Group:       g.cfg.Group,
		Consumer:    g.cfg.Consumer,
		Attempts:    strconv.Itoa(l.Attempts),
		Reason:      l.Reason,
		Error:       shorten(l.Detail, maxError),
		FirstFailed: isoTime(l.FirstFailed),
		LastFailed:  isoTime(l.LastFailed),
	}
	from := l.Entry.Stream
	args := []string{g.cfg.Group, g.cfg.Consumer, l.Entry.ID.String(), "keep"}
	if from != stream {
		args[3] = "delete"
	}
	for _, f := range slices.Concat(fields[:min(len(fields), maxFields)], note.fields()) {
		args = append(args, f.Name, f.Value)
	}
	n, err := g.c.run(ctx, buryScript, []string{from, DeadLetterKey(stream, g.cfg.Group)}, args...).AsInt64()
	if err != nil {
		if err = g.failure(ctx, "dead-letter "+l.Entry.Ref().String(), err, from); !g.replaced(from, err) {
			return false, err
		}
		n = 0
	}
	if n == 0 {
		g.notOurs(l.Entry.Ref())
		return false, nil
	}
	g.settled(l.Entry.Ref())
	return true, nil
}

// Unsettled counts pending entries and looks for undelivered ones. See
// [delivery.Transport]. It does not trust the group's lag, which is wrong
// after trims and unknown after failovers.
func (g *Group) Unsettled(ctx context.Context) (pending int64, unread bool, err error) {
	streams := g.Streams()
	cmds := make([]rueidis.Completed, 0, 2*len(streams))
	for _, s := range streams {
		cmds = append(cmds,
			g.c.rc.B().Xpending().Key(s).Group(g.cfg.Group).Build(),
			g.c.rc.B().XinfoGroups().Key(s).Build())
	}
	unreadCmds := make([]rueidis.Completed, len(streams))
	replies := g.c.doMulti(ctx, cmds...)
	for i, s := range streams {
		n, err := pendingCount(replies[2*i])
		if err != nil {
			return 0, false, g.failure(ctx, "pending entries of "+s, err, s)
		}
		pending += n
		at, _, err := g.parseLastDelivered(replies[2*i+1])
		if err != nil {
			return 0, false, g.failure(ctx, "groups of "+s, err, s)
		}
		unreadCmds[i] = g.c.xrangeAfter(s, at, 1)
	}
	for i, reply := range g.c.doMulti(ctx, unreadCmds...) {
		entries, err := parseRange(streams[i], reply)
		if err != nil {
			return 0, false, g.failure(ctx, "unread entries of "+streams[i], err, streams[i])
		}
		unread = unread || len(entries) > 0
	}
	return pending, unread, nil
}

func pendingCount(summary rueidis.RedisResult) (int64, error) {
	parts, err := summary.ToArray()
	if err == nil && len(parts) == 0 {
		err = errors.New("no elements")
	}
	if err != nil {
		return 0, err
	}
	return parts[0].AsInt64()
}

// Prune removes other consumers of the group, on all streams, that hold nothing
// and have been idle for longer than idle. It returns how many.
func (g *Group) Prune(ctx context.Context, idle time.Duration) (removed int, err error) {
	return g.prune(ctx, idle.Milliseconds(), "", g.cfg.Consumer)
}

// lastLook is how long one that leaves looks for losses.
const lastLook = time.Second

// Leave removes this consumer from the streams where it holds nothing. It
// comes back by itself when it reads.
func (g *Group) Leave(ctx context.Context) error {
	// Some servers take what was deleted for read once the group is past it:
	// the next loss is told by counts that begin behind that.
	look, cancel := context.WithTimeout(ctx, lastLook)
	if err := g.lookForLosses(look); err != nil {
		g.log.Debug("losses could not be looked for", "group", g.cfg.Group, "error", err)
	}
	cancel()
	for {
		_, err := g.prune(ctx, -1, g.cfg.Consumer, "")
		// The calls that were given up before may have been making the connection.
		if !errors.Is(err, errOthers) || ctx.Err() != nil {
			return err
		}
	}
}

func (g *Group) prune(ctx context.Context, idleMs int64, only, spared string) (removed int, err error) {
	streams := g.Streams()
	calls := make([]scriptCall, len(streams))
	for i, s := range streams {
		calls[i] = scriptCall{g.c.pruneKeys(s, g.cfg.Group), []string{g.cfg.Group, strconv.FormatInt(idleMs, 10), only, spared}}
	}
	var errs []error
	for i, reply := range g.c.runAll(ctx, pruneScript, calls) {
		n, err := reply.AsInt64()
		if err != nil && ClassOf(err) != NoGroup {
			errs = append(errs, fmt.Errorf("remove idle consumers of %s: %w", streams[i], err))
		}
		removed += int(n)
	}
	return removed, errors.Join(errs...)
}

// pruneKeys are the keys of prune.lua. Names with braces, such as those of
// streams of retries, have nothing kept of them in a cluster, where it would be
// in another slot.
func (c *Client) pruneKeys(stream, group string) []string {
	if c.cluster && strings.ContainsAny(stream, "{}") {
		return []string{stream}
	}
	return []string{stream, StateKey(stream, group)}
}

// idTexts returns the ids of all chunks as text, cut from one string.
func idTexts(refs []wire.Ref, chunks []refChunk) []string {
	var all strings.Builder
	all.Grow(len(refs) * len("1735987200000-00"))
	texts := make([]string, 0, len(refs))
	var id [41]byte
	for _, c := range chunks {
		for _, i := range c.index {
			from := all.Len()
			all.Write(refs[i].ID.Append(id[:0]))
			texts = append(texts, all.String()[from:])
		}
	}
	return texts
}

// refChunk is a part of a list of refs that is one stream's.
type refChunk struct {
	stream string
	index  []int // into the list
}

// chunk splits refs by stream, and each stream's into parts of at most size.
func chunk(refs []wire.Ref, size int) []refChunk {
	var chunks []refChunk
	var sizes []int
	of := make([]int, len(refs))
	filling := map[string]int{} // stream: its chunk that has room
	for i, r := range refs {
		c, ok := filling[r.Stream]
		if !ok || sizes[c] == size {
			c = len(chunks)
			filling[r.Stream] = c
			chunks, sizes = append(chunks, refChunk{stream: r.Stream}), append(sizes, 0)
		}
		sizes[c]++
		of[i] = c
	}
	index := make([]int, len(refs)) // of all chunks
	for c, n := range sizes {
		chunks[c].index, index = index[:0:n], index[n:]
	}
	for i, c := range of {
		chunks[c].index = append(chunks[c].index, i)
	}
	return chunks
}

// shorten makes s valid UTF-8 of at most n bytes.
func shorten(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// isoTime formats a failure's time, "" when there was none.
func isoTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
