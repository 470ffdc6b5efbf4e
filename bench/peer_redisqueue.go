package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/robinjoseph08/redisqueue/v2"
)

// consumeRedisqueue is redisqueue, with its defaults (100 entries a read, ten
// workers) or with a thousand and 64. It acknowledges each entry by itself.
func consumeRedisqueue(buffer, workers int) consume {
	return func(ctx context.Context, b backlog, handle func(string)) error {
		consumer, err := redisqueue.NewConsumerWithOptions(&redisqueue.ConsumerOptions{
			GroupName:         b.group,
			VisibilityTimeout: 60 * time.Second,
			BlockingTimeout:   100 * time.Millisecond, // how long Shutdown takes
			ReclaimInterval:   time.Second,
			BufferSize:        buffer,
			Concurrency:       workers,
			RedisOptions:      &redisqueue.RedisOptions{Addr: b.server.Addr(), DB: b.db, PoolSize: workers + 2},
		})
		if err != nil {
			return err
		}
		var done atomic.Int64
		finished := make(chan struct{})
		consumer.Register(b.stream(), func(m *redisqueue.Message) error {
			data, _ := m.Values["data"].(string)
			user, err := decodeUser(data)
			if err != nil {
				return err
			}
			handle(user.UserID)
			if done.Add(1) == int64(b.entries) {
				close(finished)
			}
			return nil
		})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			consumer.Run()
		}()
		select {
		case <-ctx.Done():
			err = ctx.Err()
		case failure := <-consumer.Errors:
			err = failure
		case <-finished:
			err = b.acknowledged(ctx)
		}
		consumer.Shutdown()
		for {
			select {
			case <-ended:
				return err
			case failure := <-consumer.Errors:
				err = errors.Join(err, failure)
			}
		}
	}
}
