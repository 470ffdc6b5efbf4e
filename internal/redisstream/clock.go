package redisstream

import (
	"math"
	"time"

	"github.com/redis/rueidis"
)

// clock watches the wall clock of the server that has a stream against this
// process's monotonic one: how long entries have been idle is measured by it,
// and when it is set forward all of them look dead at once.
type clock struct {
	server int64     // its time in ms when it was last seen; 0: never
	asked  time.Time // when that was asked for
	hold   time.Time // nothing is taken over before
}

// What a clock may gain between two looks without being taken for set: a part
// of a lease, small enough that an entry which is renewed every third of it
// still looks alive.
func tolerance(lease time.Duration) time.Duration { return lease / 8 }

// latest returns the latest time, in ms, at which the server may take over
// entries in a call that begins now.
func (k *clock) latest(now time.Time, lease time.Duration) int64 {
	switch {
	case now.Before(k.hold):
		return 0
	case k.server == 0:
		return math.MaxInt64
	}
	return k.server + (now.Sub(k.asked) + tolerance(lease)).Milliseconds()
}

// seen notes the server's time, in ms, from a call that began at asked and was
// answered now. It reports whether the clock was set forward. Then nothing is
// taken over for a lease, in which the consumers that live renew what they
// have.
func (k *clock) seen(server int64, asked, now time.Time, lease time.Duration) (setForward bool) {
	setForward = k.server != 0 && server > k.server+(now.Sub(k.asked)+tolerance(lease)).Milliseconds()
	if setForward {
		k.hold = now.Add(lease)
	}
	k.server, k.asked = server, asked
	return setForward
}

// latest returns the latest time of a stream's server at which a call that
// begins now may take over entries.
func (g *Group) latest(stream string, now time.Time, minIdle time.Duration) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.streams[stream]
	if s == nil || minIdle == 0 {
		return math.MaxInt64
	}
	return s.clock.latest(now, minIdle)
}

// seen notes the time that reclaim.lua has returned last.
func (g *Group) seen(stream string, reply rueidis.RedisResult, asked time.Time, minIdle time.Duration) {
	parts, err := reply.ToArray()
	if err != nil || len(parts) < 4 || minIdle == 0 {
		return
	}
	server, err := parts[3].AsInt64()
	if err != nil {
		return
	}
	g.mu.Lock()
	s := g.streams[stream]
	setForward := s != nil && s.clock.seen(server, asked, time.Now(), minIdle)
	g.mu.Unlock()
	if setForward {
		g.log.Warn("the server's clock was set forward; nothing is taken over for a lease",
			"stream", stream, "group", g.cfg.Group, "lease", minIdle)
	}
}
