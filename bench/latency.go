package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// percentiles that are reported.
var percentiles = []float64{50, 99, 99.9}

// latencies of one run, in milliseconds, as percentiles has them.
type latencies []float64

// measureLatency measures from the moment that an event was to be published
// at to the entry of its handler. Another process publishes, at fixed times
// whatever happens, so that a consumer that stalls pays for every event that
// waited meanwhile.
func measureLatency(ctx context.Context, s scale) (*section, error) {
	server, err := startServer()
	if err != nil {
		return nil, err
	}
	defer server.Close()
	consumers := []struct {
		name string
		consume
	}{
		{"freshet, typed handler", consumeFreshet},
		{"go-redis tuned, encoding/json", consumeGoRedis(true)},
		{"guide's Go loop", consumeGuide},
		{"watermill, one subscription", consumeWatermill(1)},
	}
	out := &section{title: "Latency"}
	for _, rate := range []int{1_000, 10_000} {
		runs := make([][]latencies, len(consumers))
		for round := range s.rounds {
			for i := range consumers {
				who := (i + round) % len(consumers) // none is always first
				got, err := server.latency(ctx, consumers[who].consume, rate, int(float64(rate)*s.latency.Seconds()))
				if err != nil {
					return nil, fmt.Errorf("%s at %d/s: %w", consumers[who].name, rate, err)
				}
				runs[who] = append(runs[who], got)
				fmt.Fprintf(os.Stderr, "round %d of %d: %d/s: %s: p50, p99, p99.9 %.3v ms\n", round+1, s.rounds, rate, consumers[who].name, got)
			}
		}
		p := part{
			heading: fmt.Sprintf("%s events a second", thousands(float64(rate))),
			note:    "Milliseconds from the intended time of the publish call to the entry of the handler: medians of the rounds, and the range. A consumer that does not keep up with the rate falls further behind for as long as it lasts.",
			table:   table{head: []string{"", "p50", "p99", "p99.9"}},
		}
		for i, who := range consumers {
			cells := []string{who.name}
			for at := range percentiles {
				x := percentile(runs[i], at)
				cells = append(cells, fmt.Sprintf("%s (%s–%s)", short(x.median), short(x.low), short(x.high)))
			}
			p.table.add(cells...)
		}
		p.plot = &plot{name: fmt.Sprintf("latency-%d", rate), title: fmt.Sprintf("Latency at %s events a second", thousands(float64(rate))), unit: "ms", log: true}
		for at, percent := range percentiles {
			for i, who := range consumers {
				p.plot.bars = append(p.plot.bars, bar{label: fmt.Sprintf("p%v %s", percent, who.name), spread: percentile(runs[i], at), ours: i == 0})
			}
		}
		out.parts = append(out.parts, p)
		out.verdicts = append(out.verdicts, latencyVerdicts(rate, runs)...)
	}
	return out, nil
}

// latencyVerdicts compare ours, the first, with the tuned loop, the second,
// and with the best of all others, round by round.
func latencyVerdicts(rate int, runs [][]latencies) []verdict {
	var out []verdict
	for at, percent := range percentiles {
		var tuned, best []float64
		for round, ours := range runs[0] {
			lowest := runs[1][round][at]
			tuned = append(tuned, ours[at]/lowest)
			for _, other := range runs[2:] {
				lowest = min(lowest, other[round][at])
			}
			best = append(best, ours[at]/lowest)
		}
		what := fmt.Sprintf("latency at %s/s, p%v: freshet ÷ ", thousands(float64(rate)), percent)
		out = append(out, verdict{what: what + "the lowest of the others", value: spreadOf(best), goal: 1, atMost: true})
		goal := 0.0
		switch { // beside the tuned loop more is aimed at than to be the lower
		case rate == 10_000 && percent <= 99:
			goal = 0.75
		case rate == 1_000 && percent == 99:
			goal = 0.8
		}
		out = append(out, verdict{what: what + "go-redis tuned", value: spreadOf(tuned), goal: goal, atMost: true})
	}
	return out
}

func percentile(runs []latencies, at int) spread {
	var values []float64
	for _, r := range runs {
		values = append(values, r[at])
	}
	return spreadOf(values)
}

// latency has n events published at rate and handled by the consumer. The
// first fifth is for both to warm up.
func (s *server) latency(ctx context.Context, c consume, rate, n int) (latencies, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute+10*time.Duration(n)*time.Second/time.Duration(rate))
	defer cancel()
	s.Do("DEL", userStream)
	b := backlog{server: s, streams: []string{userStream}, entries: n}.fresh()
	s.Do("XGROUP", "CREATE", userStream, b.group, "0", "MKSTREAM")
	publisher, err := startPublisher(ctx, s.Addr(), rate, n)
	if err != nil {
		return nil, err
	}
	arrived := make([]int64, n) // monotonic nanoseconds; each written once
	var strangers atomic.Int64
	err = c(ctx, b, func(user string) {
		now := monotonic()
		if i := userNumber(user); i >= 0 && i < n && arrived[i] == 0 {
			arrived[i] = now
		} else {
			strangers.Add(1)
		}
	})
	start, publishErr := publisher.wait()
	switch {
	case err != nil:
		return nil, err
	case publishErr != nil:
		return nil, publishErr
	case strangers.Load() > 0:
		return nil, fmt.Errorf("%d events were handled twice or never published", strangers.Load())
	}
	if err := b.check(n); err != nil {
		return nil, err
	}
	h := hdrhistogram.New(1_000, time.Hour.Nanoseconds(), 3)
	for i := n / 5; i < n; i++ {
		took := arrived[i] - start - intended(i, rate)
		if took < 0 {
			return nil, fmt.Errorf("event %d was handled before it was published", i)
		}
		if err := h.RecordValue(took); err != nil {
			return nil, err
		}
	}
	out := make(latencies, len(percentiles))
	for i, p := range percentiles {
		out[i] = float64(h.ValueAtPercentile(p)) / 1e6
	}
	return out, nil
}
