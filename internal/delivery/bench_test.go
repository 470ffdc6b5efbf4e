package delivery

import (
	"context"
	"fmt"
	"testing"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// BenchmarkHandle is the engine's own cost of an entry: the transport and the
// handler do nothing.
func BenchmarkHandle(b *testing.B) {
	nothing := func(context.Context, *Message) error { return nil }
	none := func(context.Context, []*Message) error { return nil }
	b.Run("single", func(b *testing.B) { benchmarkRoute(b, &Route{Handle: nothing}, 1000) })
	b.Run("batch", func(b *testing.B) { benchmarkRoute(b, &Route{HandleBatch: none, BatchSize: 500}, 1000) })
}

// BenchmarkLanes is the same for as many lanes: the events of one entity are
// handled one after the other.
func BenchmarkLanes(b *testing.B) {
	for _, entities := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(entities), func(b *testing.B) {
			benchmarkRoute(b, &Route{Handle: func(context.Context, *Message) error { return nil }}, entities)
		})
	}
}

// benchmarkRoute drains b.N entries, of entities in turn, through the route.
func benchmarkRoute(b *testing.B, route *Route, entities int) {
	s := newServer("s")
	s.streams["s"] = nil
	for i := range b.N {
		s.streams["s"] = append(s.streams["s"], wire.Entry{Stream: "s", ID: wire.ID{Ms: uint64(i + 1)}, Fields: events.FieldsOf(events.Field{Name: "entity", Value: entity(i % entities)}, events.Field{Name: "kind", Value: "single"})})
	}
	cfg := config(&client{server: s, name: "c"}, &recorder{})
	cfg.Route = func(*events.Envelope) (*Route, Disposition) { return route, Handle }
	cfg.MaxInFlight, cfg.Concurrency = 1000, 16
	cfg.Observer = &observer{}
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
}
