package main

import "context"

// measureDrain compares ways to consume a backlog.
func measureDrain(ctx context.Context, s scale) (*section, error) {
	server, err := startServer()
	if err != nil {
		return nil, err
	}
	defer server.Close()
	large := backlog{server: server, db: 0, streams: []string{userStream}, entries: s.backlog}
	small := backlog{server: server, db: 1, streams: []string{userStream}, entries: s.small}
	for _, b := range []backlog{large, small} {
		if err := server.fill(fill{db: b.db, streams: b.streams, entries: b.entries}); err != nil {
			return nil, err
		}
	}
	contenders := []contender{
		large.drained("raw RESP, two reads in flight", consumeRaw(true)),
		large.drained("raw RESP, no overlap", consumeRaw(false)),
		large.drained("freshet, raw data", consumeFreshetRaw),
		large.drained("freshet, typed handler", consumeFreshet),
		large.drained("go-redis tuned, raw data", consumeGoRedis(false)),
		large.drained("go-redis tuned, encoding/json", consumeGoRedis(true)),
		small.drained("guide's Go loop", consumeGuide),
		small.drained("watermill, one subscription", consumeWatermill(1)),
		small.drained("watermill, 64 subscriptions", consumeWatermill(64)),
		small.drained("redisqueue, defaults", consumeRedisqueue(100, 10)),
		small.drained("redisqueue, 1000 a read, 64 workers", consumeRedisqueue(1000, 64)),
	}
	c, err := server.compare(ctx, s, contenders, []pair{
		{ours: "freshet, raw data", peer: "raw RESP, two reads in flight", goal: 0.95},
		{ours: "freshet, typed handler", peer: "raw RESP, two reads in flight", goal: 0.75},
		{ours: "freshet, raw data", peer: "raw RESP, no overlap"},
		{ours: "freshet, raw data", peer: "go-redis tuned, raw data", goal: 3},
		{ours: "freshet, typed handler", peer: "go-redis tuned, encoding/json", goal: 3},
		{ours: "freshet, typed handler", peer: "guide's Go loop", goal: 25},
		{ours: "freshet, typed handler", peer: "watermill, one subscription", goal: 25},
		{ours: "freshet, typed handler", peer: "watermill, 64 subscriptions"},
		{ours: "freshet, typed handler", peer: "redisqueue, defaults"},
		{ours: "freshet, typed handler", peer: "redisqueue, 1000 a read, 64 workers"},
	})
	if err != nil {
		return nil, err
	}
	verdicts := c.verdicts("drain")
	for _, bound := range []struct {
		name           string
		allocs, micros float64
	}{{"freshet, raw data", 1, 2}, {"freshet, typed handler", 12, 6}} {
		if len(c.samples[bound.name]) == 0 {
			continue
		}
		verdicts = append(verdicts,
			verdict{what: bound.name + ": allocations a message", value: of(c.samples[bound.name], sample.allocsPer), goal: bound.allocs, atMost: true},
			verdict{what: bound.name + ": client CPU a message", value: of(c.samples[bound.name], sample.clientMicros), goal: bound.micros, atMost: true, unit: " µs"})
	}
	return &section{
		title: "Drain",
		parts: []part{{
			note:  "A new group handles and acknowledges a backlog of " + thousands(float64(s.backlog)) + " events; the peers that acknowledge one by one get " + thousands(float64(s.small)) + ".",
			table: c.table(),
			plot:  &plot{name: "drain", title: "Drain of a backlog", unit: "messages/s", log: true, bars: c.bars()},
		}},
		verdicts: verdicts,
	}, nil
}
