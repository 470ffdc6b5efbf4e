package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

const pipeline = 500 // events of one batch

// publish appends so many events to the user stream.
type publish func(ctx context.Context, s *server, events int) error

// publisher makes a contender: each run begins with an empty stream and must
// leave as many entries as it published.
func (s *server) publisher(name string, events int, p publish) contender {
	return contender{name: name, messages: events, run: func(ctx context.Context) error {
		if err := p(ctx, s, events); err != nil {
			return err
		}
		if n := s.Do("XLEN", userStream); n != int64(events) {
			return fmt.Errorf("%v of %d events are on the stream", n, events)
		}
		s.Do("DEL", userStream)
		return nil
	}}
}

// shared calls one for every number below n, from so many goroutines, and
// returns the first error.
func shared(ctx context.Context, goroutines, n int, one func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if err := one(ctx, i); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// batches calls one for every batch of a pipeline's size.
func batches(n int, one func(from, to int) error) error {
	for from := 0; from < n; from += pipeline {
		if err := one(from, min(from+pipeline, n)); err != nil {
			return err
		}
	}
	return nil
}

// measurePublish compares ways to publish.
func measurePublish(ctx context.Context, s scale) (*section, error) {
	server, err := startServer()
	if err != nil {
		return nil, err
	}
	defer server.Close()
	one, many, batch := s.small, s.backlog/4, s.backlog
	contenders := []contender{
		server.publisher("prebuilt bytes, pipelines of 500", batch, publishPrebuilt),
		server.publisher("freshet PublishBatch of 500", batch, publishFreshetBatch),
		server.publisher("rueidis, pipelines of 500", batch, publishRueidisPipeline),
		server.publisher("go-redis, pipelines of 500", batch, publishGoRedisPipeline),
	}
	for _, g := range []int{1, 64, 256} {
		n := many
		if g == 1 {
			n = one
		}
		callers := fmt.Sprintf(", %d goroutines", g)
		if g == 1 {
			callers = ", one goroutine"
		}
		contenders = append(contenders,
			server.publisher("freshet Publish"+callers, n, publishFreshet(g)),
			server.publisher("rueidis"+callers, n, publishRueidis(g, 0)),
			server.publisher("go-redis"+callers, n, publishGoRedis(g)),
			server.publisher("watermill"+callers, n, publishWatermill(g)))
	}
	contenders = append(contenders, server.publisher("rueidis, 256 goroutines, flush delay 20 µs", many, publishRueidis(256, flushDelay)))
	c, err := server.compare(ctx, s, contenders, []pair{
		{ours: "freshet PublishBatch of 500", peer: "prebuilt bytes, pipelines of 500", goal: 0.95},
		{ours: "freshet PublishBatch of 500", peer: "rueidis, pipelines of 500"},
		{ours: "freshet PublishBatch of 500", peer: "go-redis, pipelines of 500"},
		{ours: "freshet Publish, 256 goroutines", peer: "prebuilt bytes, pipelines of 500", goal: 0.9},
		{ours: "freshet Publish, 256 goroutines", peer: "rueidis, 256 goroutines, flush delay 20 µs"},
		{ours: "freshet Publish, 256 goroutines", peer: "rueidis, 256 goroutines"},
		{ours: "freshet Publish, 256 goroutines", peer: "go-redis, 256 goroutines"},
		{ours: "freshet Publish, 256 goroutines", peer: "watermill, 256 goroutines"},
		{ours: "freshet Publish, 64 goroutines", peer: "rueidis, 64 goroutines"},
		{ours: "freshet Publish, 64 goroutines", peer: "go-redis, 64 goroutines"},
		{ours: "freshet Publish, 64 goroutines", peer: "watermill, 64 goroutines"},
		{ours: "freshet Publish, one goroutine", peer: "rueidis, one goroutine", goal: 1},
		{ours: "freshet Publish, one goroutine", peer: "go-redis, one goroutine"},
		{ours: "freshet Publish, one goroutine", peer: "watermill, one goroutine"},
	})
	if err != nil {
		return nil, err
	}
	return &section{
		title: "Publish",
		parts: []part{{
			note: fmt.Sprintf("Events of %d bytes. Freshet validates and encodes the typed payload; the others append the same fields, which are ready; prebuilt bytes are the whole command. "+
				"Each call waits for its acknowledgment.", size(readyFields)),
			table: c.table(),
			plot:  &plot{name: "publish", title: "Publish", unit: "messages/s", log: true, bars: c.bars()},
		}},
		verdicts: c.verdicts("publish"),
	}, nil
}
