package delivery

import (
	"context"
	"testing"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// BenchmarkHandle is the engine's own cost of an entry: the transport and the
// handler do nothing.
func BenchmarkHandle(b *testing.B) {
	for _, kind := range []string{"single", "batch"} {
		b.Run(kind, func(b *testing.B) {
			s := newServer("s")
			s.streams["s"] = nil
			for i := range b.N {
				s.streams["s"] = append(s.streams["s"], wire.Entry{Stream: "s", ID: wire.ID{Ms: uint64(i + 1)}, Fields: []events.Field{{Name: "entity", Value: entity(i % 1000)}, {Name: "kind", Value: kind}}})
			}
			cfg := config(&client{server: s, name: "c"}, &recorder{})
			nothing := &Route{Handle: func(context.Context, *Message) error { return nil }}
			if kind == "batch" {
				nothing = &Route{HandleBatch: func(context.Context, []*Message) error { return nil }, BatchSize: 500}
			}
			cfg.Route = func(*events.Envelope) (*Route, Disposition) { return nothing, Handle }
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
		})
	}
}
