package freshet

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/delivery"
)

// observer is a Consumer as its engine sees it.
type observer Consumer

// Settled publishes the acknowledgment, where asked for, before the entry is
// acknowledged to Redis: a crash in between repeats it under the same id.
func (o *observer) Settled(ctx context.Context, s delivery.Settlement) error {
	c := (*Consumer)(o)
	if c.cfg.Acknowledge {
		if err := c.acknowledge(ctx, s); err != nil {
			return err
		}
	}
	if c.cfg.OnSettled != nil {
		c.onSettled(Settlement{
			Delivery: c.deliver(s.Message),
			Outcome:  s.Outcome,
			Reason:   s.Reason,
			Err:      s.Err,
			Duration: s.Duration,
		})
	}
	return nil
}

// onSettled tells who wants to know. A panic there must not keep the entry from
// being settled: it would come again, and panic again.
func (c *Consumer) onSettled(s Settlement) {
	defer func() {
		if v := recover(); v != nil {
			c.log.Error("OnSettled panicked", "stream", s.Stream, "id", s.ID, "value", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
		}
	}()
	c.cfg.OnSettled(s)
}

func (o *observer) Retried(m *delivery.Message, err error, after time.Duration) {
	o.log.Warn("handler failed, will retry", "stream", m.Envelope.Stream, "id", m.Envelope.ID, "event_id", m.Envelope.Identity,
		"type", m.Envelope.TypeName(), "tenant", m.Envelope.Tenant, "attempt", m.Attempt, "after", after, "error", err)
}

func (o *observer) Paused(err error, wait time.Duration) {
	o.log.Warn("paused: a dependency is unavailable", "retry_in", wait, "error", err)
}

func (o *observer) Resumed() { o.log.Info("resumed") }

// acknowledge publishes "processed" or "failed" for an event (guide:
// Publishing Acknowledgments). Acknowledgments are not acknowledged, and what
// a lost one is about is handled all the same: [Memory] is enough.
func (c *Consumer) acknowledge(ctx context.Context, s delivery.Settlement) error {
	env := s.Message.Envelope
	ack := events.Acknowledgment{OriginalEventID: eventID(env)}
	data := map[string]any{"processedBy": c.bus.cfg.App, "eventType": env.TypeName(), "tenantId": env.Tenant}
	switch {
	case events.BaseStream(env.Stream) == ack.Type().Stream:
		return nil
	case s.Outcome == Handled:
		ack.Status = events.AckProcessed
	case s.Outcome == DeadLettered:
		ack.Status = events.AckFailed
		data["error"] = s.Reason
	default:
		return nil
	}
	if err := ack.SetData(data); err != nil {
		return err
	}
	_, err := c.bus.publish(ctx, Message{
		Payload: ack,
		Key:     c.cfg.Group + "/" + env.Stream + "/" + env.ID + "/" + ack.Status,
	}, c.bus.client)
	return err
}

// eventID is the id that the publisher gave the event, which its consumers of
// acknowledgments know; the identity may be a business id instead.
func eventID(env *events.Envelope) string {
	for _, name := range []string{"eventId", "messageId"} {
		for f := range env.Fields.All() {
			if f.Name == name && f.Value != "" {
				return f.Value
			}
		}
	}
	return env.Identity
}
