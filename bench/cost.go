package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// measureCost measures what a consumer takes that has nothing to do.
func measureCost(ctx context.Context, s scale) (*section, error) {
	out := &section{title: "Idle"}
	t := table{head: []string{"streams", "client, % of a core", "server, % of a core", "memory of the client"}}
	for _, n := range []int{1, 100, 1000} {
		got, err := measureIdle(ctx, s, n)
		if err != nil {
			return nil, fmt.Errorf("%d streams: %w", n, err)
		}
		client, server := percentOf(got.clientCPU, got.elapsed), percentOf(got.serverCPU, got.elapsed)
		t.add(thousands(float64(n)), short(client), short(server), short(float64(got.peak)/1e6)+" MB")
		if n == 100 {
			out.verdicts = append(out.verdicts, verdict{what: "idle consumer of 100 streams", value: spread{client, client, client}, goal: 1, atMost: true, unit: " % of a core"})
		}
	}
	out.parts = []part{{note: "The harness is in the client's numbers.", table: t}}
	return out, nil
}

func percentOf(d, of time.Duration) float64 { return 100 * d.Seconds() / of.Seconds() }

type idle struct {
	sample
	peak uint64 // memory in bytes
}

// measureIdle watches a consumer that has handled the one entry of each of
// its streams.
func measureIdle(ctx context.Context, s scale, streams int) (idle, error) {
	server, err := startServer()
	if err != nil {
		return idle{}, err
	}
	defer server.Close()
	b := backlog{server: server, entries: streams + 1}.fresh() // one more than there are: it goes on waiting
	for i := range streams {
		b.streams = append(b.streams, fmt.Sprintf("%s:%d", userStream, i))
	}
	if err := server.fill(fill{streams: b.streams, entries: streams}); err != nil {
		return idle{}, err
	}
	running, cancel := context.WithCancel(ctx)
	defer cancel()
	var handled atomic.Int64
	ended := make(chan error, 1)
	go func() {
		ended <- consumeFreshet(running, b, func(string) { handled.Add(1) })
	}()
	pause := func(d time.Duration) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return fmt.Errorf("ended: %w", err)
		case <-time.After(d):
			return nil
		}
	}
	for handled.Load() < int64(streams) {
		if err := pause(10 * time.Millisecond); err != nil {
			return idle{}, err
		}
	}
	// One after the other: sampling the memory takes more than an idle consumer.
	var out idle
	out.sample, err = server.measure(1, func() error { return pause(s.idle) })
	if err == nil {
		out.peak, err = peakMemory(func() error { return pause(time.Second) })
	}
	cancel()
	<-ended // tells that one entry never came
	return out, err
}
