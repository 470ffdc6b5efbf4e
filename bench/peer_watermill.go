package main

import (
	"context"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill-redisstream/pkg/redisstream"
	"github.com/ThreeDotsLabs/watermill/message"
)

// consumeWatermill is watermill-redisstream. It reads one entry at a time and
// waits for its acknowledgment; all there is to tune is the number of
// subscriptions, which are consumers of one group.
func consumeWatermill(subscriptions int) consume {
	return func(ctx context.Context, b backlog, handle func(string)) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		var done atomic.Int64
		failed := make(chan error, subscriptions)
		finished := make(chan struct{})
		var subscribers []*redisstream.Subscriber
		defer func() {
			for _, s := range subscribers {
				_ = s.Close()
			}
		}()
		for range subscriptions {
			rdb, err := goRedis(ctx, b)
			if err != nil {
				return err
			}
			s, err := redisstream.NewSubscriber(redisstream.SubscriberConfig{
				Client:                        rdb,
				ConsumerGroup:                 b.group,
				Unmarshaller:                  suiteFormat{},
				DisableIndefiniteInitialBlock: true, // else it cannot be closed
			}, nil)
			if err != nil {
				return err
			}
			subscribers = append(subscribers, s)
			messages, err := s.Subscribe(ctx, b.stream())
			if err != nil {
				return err
			}
			go func() {
				for m := range messages {
					user, err := decodeUser(string(m.Payload))
					if err != nil {
						failed <- err
						return
					}
					handle(user.UserID)
					m.Ack()
					if done.Add(1) == int64(b.entries) {
						close(finished)
					}
				}
			}()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-failed:
			return err
		case <-finished:
		}
		return b.acknowledged(ctx) // they are sent after Ack has returned
	}
}

// suiteFormat reads the suite's fields instead of Watermill's own.
type suiteFormat struct{}

func (suiteFormat) Unmarshal(values map[string]any) (*message.Message, error) {
	id, _ := values["messageId"].(string)
	data, _ := values["data"].(string)
	m := message.NewMessage(id, []byte(data))
	for name, value := range values {
		if text, ok := value.(string); ok && name != "data" {
			m.Metadata.Set(name, text)
		}
	}
	return m, nil
}

// Marshal writes the suite's fields, of a message that Unmarshal would make.
func (suiteFormat) Marshal(_ string, m *message.Message) (map[string]any, error) {
	values := make(map[string]any, len(m.Metadata)+1)
	for name, value := range m.Metadata {
		values[name] = value
	}
	values["data"] = string(m.Payload)
	return values, nil
}
