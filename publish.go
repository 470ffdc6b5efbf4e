package freshet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// Message is an event to publish, with what [Bus.Publish] leaves to defaults.
type Message struct {
	Tenant  string         // required
	Payload events.Payload // required

	// Key makes the publish idempotent: the same tenant, type and key give
	// the same event id, so a repeated publish has one effect. Use it where
	// a publish may be repeated, e.g. after [ErrUnknown], and give Time with
	// it where the repetition may come after newer events of the entity: a
	// copy takes what has the later time for the newer state.
	Key string

	CorrelationID string         // default: derived from type and entity, as the guide's publisher does
	Time          time.Time      // event time; default now
	Source        string         // publishing application; default [Config.App]
	Metadata      map[string]any // further metadata, where the shape has any
}

// Receipt tells where an acknowledged event is.
type Receipt struct {
	Stream  string `json:"stream"`
	ID      string `json:"id"`       // entry id
	EventID string `json:"event_id"` // the event's identity, for deduplication
}

// The two ways in which a publish is not acknowledged. Test with errors.Is.
var (
	// ErrFailed: the event is not on the stream and will not be.
	ErrFailed = errors.New("not published")
	// ErrUnknown: the event may be on the stream. Publish it again with the
	// same [Message.Key] (or the same error's EventID is seen once by
	// consumers that deduplicate).
	ErrUnknown = errors.New("publish outcome unknown")
)

// PublishError is the error of every publish that was not acknowledged.
type PublishError struct {
	Stream  string // "" when validation failed before the stream was known
	EventID string
	Outcome error // ErrFailed or ErrUnknown
	Err     error // the cause; *events.FieldError when validation failed
}

func (e *PublishError) Error() string { return fmt.Sprintf("%v: %v", e.Outcome, e.Err) }

func (e *PublishError) Unwrap() []error { return []error{e.Outcome, e.Err} }

// Publish validates the payload and appends it to the stream of its type.
//
// There are three answers: a receipt (acknowledged by the server, which means
// what [Config.Durability] says), an error that is ErrFailed, or an error that
// is ErrUnknown. The context's deadline is
// respected; without one, [Config.PublishTimeout] applies. Concurrent calls
// share connections and are pipelined.
func (b *Bus) Publish(ctx context.Context, tenant string, payload events.Payload) (Receipt, error) {
	return b.PublishMessage(ctx, Message{Tenant: tenant, Payload: payload})
}

// PublishMessage is Publish with all choices.
func (b *Bus) PublishMessage(ctx context.Context, m Message) (Receipt, error) {
	return b.publish(ctx, m, b.adder)
}

func (b *Bus) publish(ctx context.Context, m Message, to adder) (Receipt, error) {
	ctx, span := b.startSend(ctx, 1)
	receipt, err := b.send(ctx, m, to)
	endSend(span, []PublishResult{{receipt, err}})
	return receipt, err
}

func (b *Bus) send(ctx context.Context, m Message, to adder) (Receipt, error) {
	addition, receipt, err := b.encode(ctx, m)
	if err != nil {
		return Receipt{}, err
	}
	ctx, cancel := b.publishContext(ctx)
	defer cancel()
	id, err := to.Add(ctx, addition.Stream, addition.Fields)
	if err != nil {
		return Receipt{}, b.publishError(receipt, err)
	}
	receipt.ID = id.String()
	return receipt, nil
}

// PublishResult is one message's answer within a batch.
type PublishResult struct {
	Receipt Receipt // valid when Err is nil
	Err     error   // nil, or a *PublishError
}

// PublishBatch publishes many messages in one pipeline. Messages are
// independent: results has one answer for each, in order, and an invalid one
// holds no other back. Messages of one stream keep their order.
func (b *Bus) PublishBatch(ctx context.Context, messages []Message) []PublishResult {
	ctx, span := b.startSend(ctx, len(messages))
	results := b.sendBatch(ctx, messages)
	endSend(span, results)
	return results
}

func (b *Bus) sendBatch(ctx context.Context, messages []Message) []PublishResult {
	results := make([]PublishResult, len(messages))
	additions := make([]redisstream.Addition, 0, len(messages))
	index := make([]int, 0, len(messages)) // of each addition's message
	for i, m := range messages {
		addition, receipt, err := b.encode(ctx, m)
		results[i] = PublishResult{Receipt: receipt, Err: err}
		if err == nil {
			additions = append(additions, addition)
			index = append(index, i)
		}
	}
	ctx, cancel := b.publishContext(ctx)
	defer cancel()
	for j, added := range b.adder.AddBatch(ctx, additions) {
		r := &results[index[j]]
		if added.Err != nil {
			r.Err = b.publishError(r.Receipt, added.Err)
			r.Receipt = Receipt{}
			continue
		}
		r.Receipt.ID = added.ID.String()
	}
	return results
}

// encode validates m and lays it out for the wire; the receipt still lacks
// the entry id.
func (b *Bus) encode(ctx context.Context, m Message) (redisstream.Addition, Receipt, error) {
	if m.Time.IsZero() {
		m.Time = time.Now()
	}
	if m.Source == "" {
		m.Source = b.cfg.App
	}
	stream, fields, eventID, err := wire.Encode(wire.Outgoing{
		Tenant:        m.Tenant,
		Payload:       m.Payload,
		Key:           m.Key,
		CorrelationID: m.CorrelationID,
		Traceparent:   traceparent(ctx),
		Source:        m.Source,
		Time:          m.Time,
		Metadata:      m.Metadata,
	})
	if err != nil {
		return redisstream.Addition{}, Receipt{}, &PublishError{Stream: stream, Outcome: ErrFailed, Err: err}
	}
	return redisstream.Addition{Stream: stream, Fields: fields}, Receipt{Stream: stream, EventID: eventID}, nil
}

func (b *Bus) publishContext(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, b.cfg.PublishTimeout)
}

func (b *Bus) publishError(r Receipt, err error) *PublishError {
	outcome := ErrUnknown
	if redisstream.NotSent(err) {
		outcome = ErrFailed
	}
	return &PublishError{Stream: r.Stream, EventID: r.EventID, Outcome: outcome, Err: b.cfg.Durability.explain(r.Stream, err)}
}
