package inspect

import (
	"context"
	"errors"
	"strconv"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// Count is a number of entries, as far as it is known. The zero value is a
// known zero.
type Count struct {
	N       int64
	AtLeast bool   // N is a lower bound
	Unknown string // why the exact number is not known; "" when it is N
}

// Known tells whether N is exact.
func (c Count) Known() bool { return c.Unknown == "" }

// Within tells whether the number is known not to exceed most. What is not
// known is never within anything.
func (c Count) Within(most int64) bool { return c.Known() && c.N <= most }

// String returns "12", ">= 1000" or "unknown".
func (c Count) String() string {
	switch {
	case c.Known():
		return strconv.FormatInt(c.N, 10)
	case c.AtLeast:
		return ">= " + strconv.FormatInt(c.N, 10)
	}
	return "unknown"
}

const (
	firstPage = 100     // entries that are counted before the server's number is asked for
	nextPages = 300     // entries of a page behind it
	entryRead = 8 << 10 // bytes that an entry may have on average, for all to be counted
)

// Why a lag is not known.
const (
	lagNotTold  = "the server does not know it, as after a restart or a failover, or since the group was set to an id"
	lagDeleted  = "the server does not know it, for entries that the group has not read were deleted"
	lagWrong    = "the server's number is wrong, as when entries were trimmed before the group read them"
	lagNoStream = "what the server says cannot be checked without XINFO STREAM"
	lagTooLarge = "the entries are too large for more to be counted"
)

// unread finds the first entry that each group has not read, and the lag. The
// server's own number is not relied on: it is missing after a restart, after a
// failover and where a group began at an id, and wrong for ever once entries
// were trimmed that the group had not read. Where a group stands at the end of
// the stream, or before its first entry, it is known without; else it is
// counted, and only where there is much is the server's number taken, if it
// can be right.
func (l *look) unread(ctx context.Context) error {
	var open []*lagLook
	for _, g := range l.groups {
		if !g.lagByPlace() {
			open = append(open, &lagLook{groupLook: g, at: g.info.LastDelivered})
		}
	}
	for page := firstPage; len(open) > 0; page = nextPages {
		positions := make([]redisstream.Position, len(open))
		for n, g := range open {
			positions[n] = redisstream.Position{Stream: g.Stream, After: g.at}
		}
		var more []*lagLook
		for n, reply := range l.client.IDsAfter(ctx, positions, page) {
			g := open[n]
			if l.failed("unread entries", g.groupLook, reply.Err) {
				g.failed(reply.Err)
				continue
			}
			if !g.counted(reply.Value, page, l.countTo) {
				more = append(more, g)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		open = more
	}
	return nil
}

// lagByPlace tells whether the lag is known by where the group stands.
func (g *groupLook) lagByPlace() bool {
	s := g.of.info
	switch {
	case !g.of.known || s.Length > 0 && s.First == (wire.ID{}):
		return false
	case s.Length == 0, s.Last.Compare(g.info.LastDelivered) <= 0:
		return true
	case g.info.LastDelivered.Compare(s.First) < 0:
		g.Lag.N, g.unread = s.Length, s.First
		return true
	}
	return false
}

// lagLook is a group whose lag is being counted.
type lagLook struct {
	*groupLook
	at    wire.ID // counted up to here
	bytes int64
}

// counted takes a page of entries, and tells whether that is all there is to
// do.
func (g *lagLook) counted(page redisstream.IDs, size int, most int64) bool {
	if len(page.IDs) > 0 {
		if g.unread == (wire.ID{}) {
			g.unread = page.IDs[0]
		}
		g.at = page.IDs[len(page.IDs)-1]
	}
	g.Lag.N += int64(len(page.IDs))
	g.bytes += page.Bytes
	if len(page.IDs) < size {
		return true
	}
	distrust := g.distrust()
	switch {
	case distrust == "":
		g.Lag.N = g.info.Lag
		return true
	case g.bytes > most*entryRead:
		distrust = lagTooLarge + "; " + distrust
	case g.Lag.N < most:
		return false
	}
	g.Lag.AtLeast, g.Lag.Unknown = true, distrust
	return true
}

// distrust says why the server's own lag cannot be right, "" when it can.
func (g *lagLook) distrust() string {
	switch s := g.of.info; {
	case !g.of.known:
		return lagNoStream
	case s.MaxDeleted.Compare(g.info.LastDelivered) > 0:
		return lagDeleted
	case g.info.Lag < 0:
		return lagNotTold
	case g.info.Lag < g.Lag.N || g.info.Lag >= s.Length:
		return lagWrong
	}
	return ""
}

// failed is for a group whose entries cannot be read.
func (g *lagLook) failed(err error) {
	g.unreadError = err
	g.Lag = Count{N: g.Lag.N, AtLeast: g.Lag.N > 0, Unknown: reason(err)}
}

// reason is an error in a few words.
func reason(err error) string {
	switch redisstream.ClassOf(err) {
	case redisstream.NoPerm:
		return "no permission to read the stream"
	case redisstream.Unreachable:
		return "the server does not answer"
	}
	if errors.Is(err, redisstream.ErrNoStream) {
		return "no such stream"
	}
	return err.Error()
}
