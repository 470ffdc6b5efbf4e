package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/freshet/freshet/inspect"
)

const (
	lookEvery   = 15 * time.Second
	lookTimeout = 10 * time.Second
)

// Watch looks at the server every 15 seconds until ctx ends, and exposes what
// it has seen of all groups of the streams, whoever they belong to. A scrape
// never waits for the server. What is not known has no sample, and neither has
// anything while the server cannot be looked at.
func (m *Metrics) Watch(ctx context.Context, look func(context.Context) (*inspect.Snapshot, error), log *slog.Logger) {
	w := &watch{}
	m.registry.MustRegister(w)
	timer := time.NewTimer(0)
	defer timer.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		limited, cancel := context.WithTimeout(ctx, lookTimeout)
		s, err := look(limited)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.seen.Store(&seen{down: true})
			if !failing {
				log.Warn("metrics have no lag and no pending entries, for the server cannot be looked at", "error", err)
			}
		default:
			w.seen.Store(see(s))
			if failing {
				log.Info("metrics have lag and pending entries again")
			}
		}
		failing = err != nil
		timer.Reset(lookEvery)
	}
}

// watch is the collector of what was last seen; nothing before the first look.
type watch struct{ seen atomic.Pointer[seen] }

// seen is a snapshot as samples.
type seen struct {
	down    bool
	samples []*sample
}

type sample struct {
	fact   *fact
	labels []string
	value  float64
}

// fact is a metric of a snapshot.
type fact struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	join func(a, b float64) float64 // of what is under one label, "other"
}

func plus(a, b float64) float64 { return a + b }
func most(a, b float64) float64 { return max(a, b) }

func newFact(kind prometheus.ValueType, join func(a, b float64) float64, name, help string, labels ...string) *fact {
	return &fact{prometheus.NewDesc(name, help, labels, nil), kind, join}
}

// The facts of a snapshot.
var (
	redisUp  = newFact(prometheus.GaugeValue, most, "freshet_redis_up", "1 when the server could be looked at the last time it was tried.")
	lookedAt = newFact(prometheus.GaugeValue, most, "freshet_snapshot_timestamp_seconds", "Server's time of the look that the samples of streams and groups are from.")
	problems = newFact(prometheus.GaugeValue, plus, "freshet_snapshot_problems", "Parts that could not be looked at, as for want of permission.")
	folded   = newFact(prometheus.GaugeValue, plus, "freshet_folded_labels", "Streams, and groups of streams, that are counted under the label other; 1000 stands for more.")

	streamPublished = newFact(prometheus.CounterValue, plus, "freshet_published_total", "Entries ever added to the stream by any publisher; Redis 7 and later.", "stream")
	streamEntries   = newFact(prometheus.GaugeValue, plus, "freshet_stream_entries", "Entries of the stream.", "stream")
	streamBytes     = newFact(prometheus.GaugeValue, plus, "freshet_stream_bytes", "Memory of the stream, as the server estimates.", "stream")

	groupLag         = newFact(prometheus.GaugeValue, plus, "freshet_group_lag_events", "Entries that were not delivered to the group; none where that is unknown.", "stream", "group")
	groupLagAge      = newFact(prometheus.GaugeValue, most, "freshet_group_lag_seconds", "Age of the oldest entry that the group has not settled, since it was published or redriven; 0 when it has settled all, none where that is unknown.", "stream", "group")
	groupLagUnknown  = newFact(prometheus.GaugeValue, most, "freshet_group_lag_unknown", "1 where the lag in events or in seconds is unknown.", "stream", "group")
	groupPending     = newFact(prometheus.GaugeValue, plus, "freshet_group_pending", "Entries delivered to the group and not acknowledged.", "stream", "group")
	groupPendingAge  = newFact(prometheus.GaugeValue, most, "freshet_group_oldest_pending_seconds", "Age of the oldest entry that is pending; 0 when none is.", "stream", "group")
	groupSettled     = newFact(prometheus.GaugeValue, plus, "freshet_group_settled", "Entries that the group has read and acknowledged, as the server counts; it may be set back.", "stream", "group")
	groupConsumers   = newFact(prometheus.GaugeValue, plus, "freshet_group_consumers", "Consumers of the group by state: live asked for something within the last minute, dead did not.", "stream", "group", "state")
	groupDeadLetters = newFact(prometheus.GaugeValue, plus, "freshet_group_dead_letters", "Dead letters of the group from this stream that are stored.", "stream", "group")
	groupRedriven    = newFact(prometheus.GaugeValue, plus, "freshet_group_redriven", "Entries given to the group alone once more, by a redrive or a replay, and not settled.", "stream", "group")
	groupLost        = newFact(prometheus.GaugeValue, plus, "freshet_group_trimmed_unread", "Entries known to have been removed before the group read them.", "stream", "group")

	facts = []*fact{
		redisUp, lookedAt, problems, folded, streamPublished, streamEntries, streamBytes,
		groupLag, groupLagAge, groupLagUnknown, groupPending, groupPendingAge, groupSettled, groupConsumers, groupDeadLetters, groupRedriven, groupLost,
	}
)

// Describe implements [prometheus.Collector].
func (w *watch) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range facts {
		ch <- f.desc
	}
}

// Collect implements [prometheus.Collector].
func (w *watch) Collect(ch chan<- prometheus.Metric) {
	seen := w.seen.Load()
	if seen == nil {
		return
	}
	if seen.down {
		ch <- prometheus.MustNewConstMetric(redisUp.desc, redisUp.kind, 0)
		return
	}
	for _, s := range seen.samples {
		ch <- prometheus.MustNewConstMetric(s.fact.desc, s.fact.kind, s.value, s.labels...)
	}
}

// see makes samples of a snapshot.
func see(s *inspect.Snapshot) *seen {
	view := view{at: map[place]*sample{}}
	labels := newBounded()
	view.add(redisUp, 1)
	view.add(lookedAt, float64(s.At.UnixMilli())/1000)
	times := 0
	for _, p := range s.Problems {
		times += p.Times
	}
	view.add(problems, float64(times))
	for i := range s.Streams {
		stream := &s.Streams[i]
		name, _ := labels.pair(stream.Key, "")
		for fact, n := range map[*fact]int64{streamPublished: stream.Added, streamEntries: stream.Length, streamBytes: stream.Bytes} {
			view.addKnown(fact, n, name)
		}
		for j := range stream.Groups {
			g := &stream.Groups[j]
			name, group := labels.pair(g.Stream, g.Name)
			view.group(s, g, name, group)
		}
	}
	view.add(folded, float64(len(labels.folded)))
	return &seen{samples: view.samples}
}

// view collects samples.
type view struct {
	samples []*sample
	at      map[place]*sample
}

// place is a metric and up to three labels.
type place struct {
	fact   *fact
	labels [3]string
}

func (v *view) group(s *inspect.Snapshot, g *inspect.Group, stream, group string) {
	unknown := 0.0
	if g.Lag.Known() {
		v.add(groupLag, float64(g.Lag.N), stream, group)
	} else {
		unknown = 1
	}
	if age, known := s.OldestAge(g); known {
		v.add(groupLagAge, max(age, 0).Seconds(), stream, group)
	} else {
		unknown = 1
	}
	v.add(groupLagUnknown, unknown, stream, group)
	v.addKnown(groupPending, g.Pending, stream, group)
	switch oldest := g.OldestPending; {
	case oldest != nil:
		v.add(groupPendingAge, max(s.At.Sub(oldest.At), 0).Seconds(), stream, group)
	case g.Pending == 0:
		v.add(groupPendingAge, 0, stream, group)
	}
	if g.Read >= g.Pending {
		v.add(groupSettled, float64(g.Read-g.Pending), stream, group)
	}
	v.addKnown(groupConsumers, int64(g.Live), stream, group, "live")
	v.addKnown(groupConsumers, int64(g.Dead), stream, group, "dead")
	v.addKnown(groupDeadLetters, g.DeadLetters, stream, group)
	v.addKnown(groupRedriven, g.Redriven, stream, group)
	v.addKnown(groupLost, g.LostUnread, stream, group)
}

// addKnown adds a number that is below zero where it is unknown.
func (v *view) addKnown(f *fact, n int64, labels ...string) {
	if n >= 0 {
		v.add(f, float64(n), labels...)
	}
}

func (v *view) add(f *fact, value float64, labels ...string) {
	p := place{fact: f}
	copy(p.labels[:], labels)
	if have := v.at[p]; have != nil {
		have.value = f.join(have.value, value)
		return
	}
	s := &sample{f, labels, value}
	v.at[p] = s
	v.samples = append(v.samples, s)
}
