package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// goRedis connects and makes the backlog's group.
func goRedis(ctx context.Context, b backlog) (*redis.Client, error) {
	rdb := redis.NewClient(&redis.Options{Addr: b.server.Addr(), DB: b.db})
	for _, stream := range b.streams {
		if err := rdb.XGroupCreateMkStream(ctx, stream, b.group, "0").Err(); err != nil && !redis.HasErrorPrefix(err, "BUSYGROUP") {
			rdb.Close()
			return nil, err
		}
	}
	return rdb, nil
}

// consumeGoRedis is a loop as one tunes it with go-redis: a thousand entries
// a read, which blocks when there are none, and one acknowledgment a read.
// The data is decoded to a struct, or not at all.
func consumeGoRedis(decode bool) consume {
	return func(ctx context.Context, b backlog, handle func(string)) error {
		rdb, err := goRedis(ctx, b)
		if err != nil {
			return err
		}
		defer rdb.Close()
		ids := make([]string, 0, 1000)
		for done := 0; done < b.entries; {
			read, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
				Group: b.group, Consumer: "go-redis", Streams: []string{b.stream(), ">"}, Count: 1000, Block: 2 * time.Second,
			}).Result()
			if errors.Is(err, redis.Nil) {
				continue
			} else if err != nil {
				return err
			}
			ids = ids[:0]
			for _, stream := range read {
				for _, entry := range stream.Messages {
					text, _ := entry.Values["data"].(string)
					var user userData
					if decode {
						if user, err = decodeUser(text); err != nil {
							return err
						}
					}
					handle(user.UserID)
					ids = append(ids, entry.ID)
				}
			}
			if err := rdb.XAck(ctx, b.stream(), b.group, ids...).Err(); err != nil {
				return err
			}
			done += len(ids)
		}
		return nil
	}
}
