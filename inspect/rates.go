package inspect

import (
	"cmp"
	"time"
)

// Rate is a number of entries per second.
type Rate struct {
	PerSecond float64
	Unknown   string // why it is not known; "" when it is
}

// GroupRef names a group on a stream.
type GroupRef struct{ Stream, Group string }

// Rates is how fast entries come, and are settled.
type Rates struct {
	Over    time.Duration     // the time between the snapshots
	In      map[string]Rate   // by stream: entries published
	Settled map[GroupRef]Rate // by group: entries acknowledged, or dead-lettered; those that were trimmed unread count too
}

// RatesBetween compares two snapshots. It has the streams and groups of the
// later one; those that the earlier does not have are unknown.
func RatesBetween(before, after *Snapshot) Rates {
	r := Rates{Over: after.At.Sub(before.At), In: map[string]Rate{}, Settled: map[GroupRef]Rate{}}
	streams, groups := map[string]*Stream{}, map[GroupRef]*Group{}
	for n := range before.Streams {
		s := &before.Streams[n]
		streams[s.Key] = s
		for k := range s.Groups {
			groups[GroupRef{s.Key, s.Groups[k].Name}] = &s.Groups[k]
		}
	}
	for n := range after.Streams {
		s := &after.Streams[n]
		was := streams[s.Key]
		in, unknown := added(was, s)
		r.In[s.Key] = r.rate(in, unknown)
		for k := range s.Groups {
			g := &s.Groups[k]
			ref := GroupRef{s.Key, g.Name}
			r.Settled[ref] = r.rate(settled(groups[ref], g, in, unknown))
		}
	}
	return r
}

func (r *Rates) rate(n int64, unknown string) Rate {
	switch {
	case unknown != "":
		return Rate{Unknown: unknown}
	case r.Over <= 0:
		return Rate{Unknown: "no time has passed"}
	}
	return Rate{PerSecond: float64(n) / r.Over.Seconds()}
}

// added is how many entries a stream got.
func added(before, after *Stream) (n int64, unknown string) {
	switch {
	case before == nil:
		return 0, "the stream is new"
	case before.Added < 0 || after.Added < 0:
		return 0, "the server does not count what is published"
	case after.Added < before.Added:
		return 0, "the stream began anew"
	}
	return after.Added - before.Added, ""
}

// settled is how many entries a group settled of a stream that got in: what
// came, less by what more is waiting.
func settled(before, after *Group, in int64, unknown string) (int64, string) {
	if before == nil {
		return 0, cmp.Or(unknown, "the group is new")
	}
	was, is := before.unsettled(), after.unsettled()
	if unknown = cmp.Or(unknown, was.Unknown, is.Unknown); unknown != "" {
		return 0, unknown
	}
	return max(in-(is.N-was.N), 0), ""
}
