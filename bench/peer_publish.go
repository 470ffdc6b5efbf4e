package main

import (
	"context"
	"time"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// flushDelay is how long rueidis gathers commands of many goroutines into one
// write, where it is told to.
const flushDelay = 20 * time.Microsecond

// publishPrebuilt writes commands that are ready, a pipeline at a time: what
// the server and a pipelining client can do at most.
func publishPrebuilt(ctx context.Context, s *server, n int) error {
	c, err := dial(s.Addr(), 0)
	if err != nil {
		return err
	}
	defer c.close()
	defer context.AfterFunc(ctx, c.close)()
	t := templateOf(userStream, readyFields)
	var ready []byte
	for i := range pipeline {
		ready = t.append(ready, i)
	}
	one := len(t.command)
	return batches(n, func(from, to int) error {
		if _, err := c.Write(ready[:one*(to-from)]); err != nil {
			return err
		}
		for range to - from {
			if _, err := c.skip(); err != nil {
				return err
			}
		}
		return nil
	})
}

// readyFields are what Freshet writes of the event that it publishes.
var readyFields = func() []events.Field {
	_, fields, _, err := wire.Encode(wire.Outgoing{Tenant: tenant, Payload: user(1), Source: "wrapper-api"})
	if err != nil {
		panic(err)
	}
	return fields
}()

func publishRueidis(goroutines int, delay time.Duration) publish {
	return func(ctx context.Context, s *server, n int) error {
		rc, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}, DisableCache: true, MaxFlushDelay: delay})
		if err != nil {
			return err
		}
		defer rc.Close()
		return shared(ctx, goroutines, n, func(ctx context.Context, _ int) error {
			return rc.Do(ctx, rueidisAdd(rc)).Error()
		})
	}
}

func publishRueidisPipeline(ctx context.Context, s *server, n int) error {
	rc, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}, DisableCache: true})
	if err != nil {
		return err
	}
	defer rc.Close()
	commands := make([]rueidis.Completed, 0, pipeline)
	return batches(n, func(from, to int) error {
		commands = commands[:0]
		for range to - from {
			commands = append(commands, rueidisAdd(rc))
		}
		for _, reply := range rc.DoMulti(ctx, commands...) {
			if err := reply.Error(); err != nil {
				return err
			}
		}
		return nil
	})
}

func rueidisAdd(rc rueidis.Client) rueidis.Completed {
	add := rc.B().Xadd().Key(userStream).Id("*").FieldValue()
	for _, f := range readyFields {
		add = add.FieldValue(f.Name, f.Value)
	}
	return add.Build()
}

func publishGoRedis(goroutines int) publish {
	return func(ctx context.Context, s *server, n int) error {
		rdb := redis.NewClient(&redis.Options{Addr: s.Addr()})
		defer rdb.Close()
		values := fieldValues(readyFields)
		return shared(ctx, goroutines, n, func(ctx context.Context, _ int) error {
			return rdb.XAdd(ctx, &redis.XAddArgs{Stream: userStream, Values: values}).Err()
		})
	}
}

func publishGoRedisPipeline(ctx context.Context, s *server, n int) error {
	rdb := redis.NewClient(&redis.Options{Addr: s.Addr()})
	defer rdb.Close()
	values := fieldValues(readyFields)
	return batches(n, func(from, to int) error {
		_, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for range to - from {
				p.XAdd(ctx, &redis.XAddArgs{Stream: userStream, Values: values})
			}
			return nil
		})
		return err
	})
}

func publishWatermill(goroutines int) publish {
	return func(ctx context.Context, s *server, n int) error {
		p, err := redisstream.NewPublisher(redisstream.PublisherConfig{
			Client:     redis.NewClient(&redis.Options{Addr: s.Addr()}),
			Marshaller: suiteFormat{},
		}, nil)
		if err != nil {
			return err
		}
		defer p.Close()
		values := map[string]any{}
		for _, f := range readyFields {
			values[f.Name] = f.Value
		}
		ready, err := suiteFormat{}.Unmarshal(values)
		if err != nil {
			return err
		}
		return shared(ctx, goroutines, n, func(ctx context.Context, _ int) error {
			m := message.NewMessage(ready.UUID, ready.Payload)
			m.Metadata = ready.Metadata
			m.SetContext(ctx)
			return p.Publish(userStream, m)
		})
	}
}
