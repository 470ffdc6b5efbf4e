package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// consumeGuide is the Go consumer that the suite's guide shows: ten entries a
// read, data decoded to a map, one acknowledgment an entry.
func consumeGuide(ctx context.Context, b backlog, handle func(string)) error {
	rdb, err := goRedis(ctx, b)
	if err != nil {
		return err
	}
	defer rdb.Close()
	for done := 0; done < b.entries; {
		read, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: b.group, Consumer: "guide", Streams: []string{b.stream(), ">"}, Count: 10, Block: 2 * time.Second,
		}).Result()
		if errors.Is(err, redis.Nil) {
			continue
		} else if err != nil {
			return err
		}
		for _, stream := range read {
			for _, entry := range stream.Messages {
				text, _ := entry.Values["data"].(string)
				var data map[string]any
				if err := json.Unmarshal([]byte(text), &data); err != nil {
					return err
				}
				user, _ := data["userId"].(string)
				handle(user)
				if err := rdb.XAck(ctx, b.stream(), b.group, entry.ID).Err(); err != nil {
					return err
				}
				done++
			}
		}
	}
	return nil
}
