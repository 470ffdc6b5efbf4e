package freshet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
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
	// it where the repetition may come after newer events of the entity, or
	// where several keyed events of one may fall into one millisecond, as in a
	// batch: a copy takes what has the later time for the newer state.
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
	Stream  string // "" when validation failed, or the context ended, before it was known
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
// share pipelines.
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
	room := rooms.Get().(*wire.Room)
	addition, receipt, err := b.encode(m, wire.Moment{}, traceparent(ctx), room)
	if err != nil {
		return Receipt{}, err
	}
	id, err := to.Add(ctx, addition.Stream, addition.Fields)
	if err != nil { // what was given up may still be sent: the room stays its own
		return Receipt{}, b.publishError(receipt, err)
	}
	room.Reset()
	rooms.Put(room)
	receipt.ID = id.String()
	return receipt, nil
}

// rooms are for one event each.
var rooms = sync.Pool{New: func() any { return new(wire.Room) }}

// PublishResult is one message's answer within a batch.
type PublishResult struct {
	Receipt Receipt // valid when Err is nil
	Err     error   // nil, or a *PublishError
}

// PublishBatch publishes many messages in pipelines. Messages are
// independent: results has one answer for each, in order, and an invalid one
// holds no other back. Messages of one stream keep their order. Two may be
// encoded at the same time, and so may the marshalers in their Metadata run.
func (b *Bus) PublishBatch(ctx context.Context, messages []Message) []PublishResult {
	ctx, span := b.startSend(ctx, len(messages))
	results := b.sendBatch(ctx, messages)
	endSend(span, results)
	return results
}

// Bounds of what goes together of a batch. The turns of two goroutines may take
// it beyond the bytes, which is still one pipeline where events are not large.
const (
	pipelineMessages = 1000
	pipelineBytes    = 1 << 20
)

// sendBatch encodes one pipeline of a long batch while the one before is on
// its way. Shorter pipelines would have more to do meanwhile, and cost more
// round trips than that gains. With more than [Memory] a round trip may take a
// second, and there is but one.
func (b *Bus) sendBatch(ctx context.Context, messages []Message) []PublishResult {
	results := make([]PublishResult, len(messages))
	sending, cancel := b.publishContext(ctx)
	defer cancel()
	trace := traceparent(ctx)
	var before sync.WaitGroup // the part before
	for from := 0; from < len(messages); {
		if err := sending.Err(); err != nil { // what is left could not be sent
			for i := from; i < len(results); i++ {
				results[i].Err = &PublishError{Outcome: ErrFailed, Err: err}
			}
			break
		}
		p := b.encodePart(messages[from:], results[from:], trace)
		from += len(p.results)
		before.Wait()
		if from == len(messages) {
			b.sendPart(sending, p)
			break
		}
		before.Go(func() { b.sendPart(sending, p) })
	}
	before.Wait()
	return results
}

// part is a part of a batch.
type part struct {
	results   []PublishResult
	additions []redisstream.Addition
	index     []int        // of each addition's result
	rooms     [2]wire.Room // of the additions
}

var parts = sync.Pool{New: func() any { return new(part) }}

// release lets the part be used again.
func (p *part) release() {
	clear(p.additions)
	p.results, p.additions, p.index = nil, p.additions[:0], p.index[:0]
	for i := range p.rooms {
		p.rooms[i].Reset()
	}
	parts.Put(p)
}

// encodePart encodes as many of the messages as go together. Many are shared
// with a second goroutine, in turns, because the server has nothing to do
// meanwhile; times and ids are in the messages' order all the same.
func (b *Bus) encodePart(messages []Message, results []PublishResult, trace string) *part {
	const turn = 16
	most := math.MaxInt // bytes
	if b.cfg.Durability == Memory {
		messages, most = messages[:min(len(messages), pipelineMessages)], pipelineBytes
	}
	p := parts.Get().(*part)
	p.additions = slices.Grow(p.additions, len(messages))[:len(messages)]
	var mu sync.Mutex
	next, bytes, enough := 0, 0, false
	take := func(size int) (from, to int, moment wire.Moment) {
		mu.Lock()
		defer mu.Unlock()
		bytes += size
		if enough = enough || bytes >= most; enough {
			return 0, 0, wire.Moment{}
		}
		from = next
		next = min(next+turn, len(messages))
		return from, next, wire.Moments(next - from)
	}
	encode := func(room *wire.Room) {
		from, to, moment := take(0)
		for from < to {
			size := 0
			for i := from; i < to; i++ {
				addition, receipt, err := b.encode(messages[i], moment.Plus(i-from), trace, room)
				p.additions[i], results[i] = addition, PublishResult{Receipt: receipt, Err: err}
				size += addition.Size()
			}
			from, to, moment = take(size)
		}
	}
	var second sync.WaitGroup
	var panicked any // a marshaler of the caller's, who may recover
	ended := true    // and did not end its goroutine
	if len(messages) >= 4*turn {
		ended = false
		second.Go(func() {
			defer func() { panicked = recover() }()
			encode(&p.rooms[1])
			ended = true
		})
	}
	defer func() { // the second does not go on when the first has panicked
		mu.Lock()
		enough = true
		mu.Unlock()
		second.Wait()
	}()
	encode(&p.rooms[0])
	second.Wait()
	switch {
	case panicked != nil:
		panic(panicked)
	case !ended:
		runtime.Goexit()
	}
	p.results = results[:next]
	n := 0
	for i := range p.results {
		if p.results[i].Err == nil {
			p.additions[n] = p.additions[i]
			p.index = append(p.index, i)
			n++
		}
	}
	clear(p.additions[n:])
	p.additions = p.additions[:n]
	return p
}

func (b *Bus) sendPart(ctx context.Context, p *part) {
	answered := true
	for i, added := range b.adder.AddBatch(ctx, p.additions) {
		r := &p.results[p.index[i]]
		if added.Err != nil {
			answered = false
			r.Err = b.publishError(r.Receipt, added.Err)
			r.Receipt = Receipt{}
			continue
		}
		r.Receipt.ID = added.Text
	}
	if answered && b.cfg.Durability == Memory { // what was given up may still be sent; others' parts have any size
		p.release()
	}
}

// encode validates m and lays it out for the wire; the receipt still lacks
// the entry id.
func (b *Bus) encode(m Message, moment wire.Moment, trace string, room *wire.Room) (redisstream.Addition, Receipt, error) {
	if m.Source == "" {
		m.Source = b.cfg.App
	}
	stream, fields, eventID, err := wire.Encode(wire.Outgoing{
		Tenant:        m.Tenant,
		Payload:       m.Payload,
		Key:           m.Key,
		CorrelationID: m.CorrelationID,
		Traceparent:   trace,
		Room:          room,
		Source:        m.Source,
		Time:          m.Time,
		Moment:        moment,
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
