package redisstream_test

import (
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

const benchmarkPage = 500 // entries that are read or acknowledged at once

// BenchmarkRead is the cost of an entry that is read; an operation is one
// entry.
func BenchmarkRead(b *testing.B) {
	g := benchmarkBacklog(b)
	b.ReportAllocs()
	b.ResetTimer()
	benchmarkReads(b, g)
}

// BenchmarkSettle is the cost of an entry that is acknowledged, in batches;
// an operation is one entry.
func BenchmarkSettle(b *testing.B) {
	g := benchmarkBacklog(b)
	pages := benchmarkReads(b, g)
	b.ReportAllocs()
	b.ResetTimer()
	for _, refs := range pages {
		if err := g.Ack(b.Context(), refs); err != nil {
			b.Fatal(err)
		}
	}
}

// benchmarkBacklog is a group that has b.N entries to read.
func benchmarkBacklog(b *testing.B) *redisstream.Group {
	c := benchmarkClient(b)
	for left := b.N; left > 0; left -= benchmarkPage {
		batch := make([]redisstream.Addition, min(left, benchmarkPage))
		for i := range batch {
			batch[i] = redisstream.Addition{Stream: s1, Fields: someFields}
		}
		for _, added := range c.AddBatch(b.Context(), batch) {
			if added.Err != nil {
				b.Fatal(added.Err)
			}
		}
	}
	g := redisstream.NewGroup(c, redisstream.GroupConfig{Group: "bench", Consumer: "c", Explicit: []string{s1}})
	if err := g.Setup(b.Context()); err != nil {
		b.Fatal(err)
	}
	return g
}

// benchmarkReads reads everything.
func benchmarkReads(b *testing.B, g *redisstream.Group) (pages [][]wire.Ref) {
	for left := b.N; left > 0; {
		entries, _, err := g.Read(b.Context(), []string{s1}, min(left, benchmarkPage), time.Second)
		if err != nil || len(entries) == 0 {
			b.Fatalf("%d entries: %v", len(entries), err)
		}
		refs := make([]wire.Ref, len(entries))
		for i := range entries {
			refs[i] = entries[i].Ref()
		}
		pages, left = append(pages, refs), left-len(entries)
	}
	return pages
}
