package delivery

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// backlog is a transport that costs next to nothing: its entries were made and
// decoded before.
type backlog struct {
	streams   []string
	entries   map[string][]wire.Entry // unread
	envelopes []events.Envelope       // by id
}

func newBacklog(streams, entries, entities int) *backlog {
	b := &backlog{entries: map[string][]wire.Entry{}, envelopes: make([]events.Envelope, entries)}
	for i := range streams {
		b.streams = append(b.streams, fmt.Sprintf("app:stream:%d", i))
	}
	fields := events.FieldsOf(events.Field{})
	for i := range entries {
		stream := b.streams[i%streams]
		b.envelopes[i] = events.Envelope{Stream: stream, Tenant: "00000000-0000-0000-0000-000000000001",
			Entity: events.Entity{Type: "user", ID: fmt.Sprintf("c8e9f140-be15-4656-9046-%012x", i%entities)}}
		b.entries[stream] = append(b.entries[stream], wire.Entry{Stream: stream, ID: wire.ID{Ms: uint64(i + 1)}, Fields: fields})
	}
	return b
}

func (b *backlog) decode(e *wire.Entry) (*events.Envelope, *wire.Refusal) {
	return &b.envelopes[e.ID.Ms-1], nil
}

func (b *backlog) Streams() []string { return b.streams }

func (b *backlog) Read(ctx context.Context, streams []string, count int, block time.Duration) ([]wire.Entry, bool, error) {
	var all []wire.Entry
	for _, stream := range streams {
		n := min(count, len(b.entries[stream]))
		if len(streams) == 1 {
			all = b.entries[stream][:n]
		} else {
			all = append(all, b.entries[stream][:n]...)
		}
		b.entries[stream] = b.entries[stream][n:]
	}
	if len(all) == 0 && block > 0 {
		select {
		case <-time.After(block):
		case <-ctx.Done():
		}
	}
	return all, true, nil
}

func (b *backlog) Own(context.Context, string, wire.ID, int) (Pending, error) {
	return Pending{}, nil
}

func (b *backlog) Reclaim(context.Context, string, time.Duration, wire.ID, int) (Pending, error) {
	return Pending{}, nil
}

func (b *backlog) Begin(ctx context.Context, refs []wire.Ref, _ []int) ([]bool, error) {
	return b.Renew(ctx, refs)
}

func (b *backlog) Renew(_ context.Context, refs []wire.Ref) ([]bool, error) {
	owned := make([]bool, len(refs))
	for i := range owned {
		owned[i] = true
	}
	return owned, nil
}

func (b *backlog) Ack(context.Context, []wire.Ref) error          { return nil }
func (b *backlog) Bury(context.Context, DeadLetter) (bool, error) { return true, nil }
func (b *backlog) Unsettled(context.Context) (int64, bool, error) { return 0, false, nil }

// quiet is an observer that does nothing.
type quiet struct{}

func (quiet) Settled(context.Context, Settlement) error { return nil }
func (quiet) Retried(*Message, error, time.Duration)    {}
func (quiet) Paused(error, time.Duration)               {}
func (quiet) Resumed()                                  {}

// BenchmarkPath is the engine alone: reading, decoding, handling and
// acknowledging cost next to nothing.
func BenchmarkPath(b *testing.B) {
	for _, bb := range []struct {
		name              string
		streams, entities int
		pause             time.Duration // in each handler
	}{
		{"one stream", 1, 1 << 30, 0},
		{"20 streams", 20, 1 << 30, 0},
		{"100 entities", 1, 100, 0},
		{"one entity", 1, 1, 0},
		{"slow handlers", 1, 1 << 30, 100 * time.Microsecond},
	} {
		b.Run(bb.name, func(b *testing.B) {
			log := newBacklog(bb.streams, b.N, bb.entities)
			route := &Route{Handle: func(context.Context, *Message) error {
				if bb.pause > 0 {
					time.Sleep(bb.pause)
				}
				return nil
			}}
			cfg := config(nil, &recorder{})
			cfg.Transport, cfg.Decode = log, log.decode
			cfg.Route = func(*events.Envelope) (*Route, Disposition) { return route, Handle }
			cfg.MaxInFlight, cfg.Concurrency = 1000, 16
			cfg.Observer = quiet{}
			cfg.StopWhenDrained = true
			e, err := New(cfg)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			b.ResetTimer()
			if err := e.Run(b.Context()); err != nil {
				b.Fatal(err)
			}
			if n := e.Stats().Handled; n != int64(b.N) {
				b.Fatalf("%d of %d handled", n, b.N)
			}
		})
	}
}
