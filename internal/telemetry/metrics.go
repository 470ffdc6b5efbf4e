package telemetry

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

// Metrics are the metrics of one process that runs one consumer. All names
// begin with freshet_, but for those of the Go runtime and of the process.
type Metrics struct {
	registry *prometheus.Registry
	labels   *bounded

	settled     *prometheus.CounterVec
	deadLetters *prometheus.CounterVec
	handling    *prometheus.HistogramVec
	endToEnd    *prometheus.HistogramVec
	batches     *prometheus.HistogramVec
}

// NewMetrics returns metrics with a registry of their own. version is the
// binary's.
func NewMetrics(version string) *Metrics {
	byStream := []string{"stream", "group"}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		labels:   newBounded(),
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_settled_total", Help: "Entries that this process settled, by outcome.",
		}, []string{"stream", "group", "outcome"}),
		deadLetters: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "freshet_dead_letters_total", Help: "Entries that this process dead-lettered, by reason.",
		}, []string{"stream", "group", "reason"}),
		handling: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "freshet_handling_seconds", Help: "Duration of the handler call that settled an event; of a batch, for each of its events.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, byStream),
		endToEnd: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "freshet_end_to_end_seconds", Help: "Time from an entry's id, which is the server's clock, to the end of its handling.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21600, 86400},
		}, byStream),
		batches: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "freshet_replica_batch_seconds", Help: "Duration of the transactions that write events to the copy, by result.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20},
		}, []string{"result"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "freshet_build_info", Help: "Always 1; the labels tell what runs.",
		ConstLabels: prometheus.Labels{"version": label(version), "go": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(build, m.settled, m.deadLetters, m.handling, m.endToEnd, m.batches,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Settled counts an entry whose way has ended. It is meant for
// [freshet.ConsumerConfig].OnSettled.
func (m *Metrics) Settled(s freshet.Settlement) {
	base := events.BaseStream(s.Stream)
	stream, group := m.labels.pair(base, s.Group)
	m.settled.WithLabelValues(stream, group, string(s.Outcome)).Inc()
	switch s.Outcome {
	case freshet.DeadLettered:
		m.deadLetters.WithLabelValues(stream, group, label(s.Reason)).Inc()
	case freshet.Handled:
		m.handling.WithLabelValues(stream, group).Observe(s.Duration.Seconds())
		if at, ok := published(s.ID); ok && base == s.Stream { // the id of a redrive tells when that was
			m.endToEnd.WithLabelValues(stream, group).Observe(max(time.Since(at), 0).Seconds())
		}
	}
}

// Applied records a transaction on the copy.
func (m *Metrics) Applied(took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.batches.WithLabelValues(result).Observe(took.Seconds())
}

// published is the time that an entry's id tells.
func published(id string) (time.Time, bool) {
	ms, _, _ := strings.Cut(id, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	return time.UnixMilli(n), err == nil
}

// Consumer adds what only the consumer itself knows: what it retried and lost,
// and whether it makes progress. ready is what /readyz asks.
func (m *Metrics) Consumer(group string, stats func() freshet.Stats, ready func() error) {
	group = label(group)
	counter := func(name, help string, labels prometheus.Labels, value func(freshet.Stats) int64) {
		if labels == nil {
			labels = prometheus.Labels{}
		}
		labels["group"] = group
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(value(stats())) }))
	}
	counter("freshet_retries_total", "Attempts that failed and were not the last.", nil,
		func(s freshet.Stats) int64 { return s.Retried })
	const lost = "freshet_lost_total"
	const lostHelp = "What this process found to be lost: entries trimmed while pending or before the group read them, acknowledgments that the server forgot."
	counter(lost, lostHelp, prometheus.Labels{"what": "pending"}, func(s freshet.Stats) int64 { return s.LostTrimmed })
	counter(lost, lostHelp, prometheus.Labels{"what": "unread"}, func(s freshet.Stats) int64 { return s.LostUnread })
	counter(lost, lostHelp, prometheus.Labels{"what": "acknowledgments"}, func(s freshet.Stats) int64 { return s.LostAcks })
	counter("freshet_groups_recreated_total", "Groups or streams that were gone and were created again.", nil,
		func(s freshet.Stats) int64 { return s.GroupsRecreated })
	counter("freshet_streams_set_back_total", "Streams whose newest entries the server has lost.", nil,
		func(s freshet.Stats) int64 { return s.StreamsSetBack })
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "freshet_ready", Help: "1 while the consumer makes progress or stands by, as /readyz says.",
		ConstLabels: prometheus.Labels{"group": group},
	}, func() float64 {
		if ready() != nil {
			return 0
		}
		return 1
	}))
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, EnableOpenMetrics: true, Timeout: 10 * time.Second})
}
