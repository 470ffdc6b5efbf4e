package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// reads is a client that counts its reads.
type reads struct {
	*client
	counts []int
	sizes  []int
}

func (r *reads) Read(ctx context.Context, streams []string, count int, block time.Duration) ([]wire.Entry, bool, error) {
	entries, atOnce, err := r.client.Read(ctx, streams, count, block)
	r.counts, r.sizes = append(r.counts, count), append(r.sizes, sizeOf(entries))
	return entries, atOnce, err
}

// TestReadsAreBoundedByBytes: entries of any size do not fill the memory.
func TestReadsAreBoundedByBytes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		large := strings.Repeat("x", 100<<10)
		for i := range 1000 {
			s.publish("s", "a", "single")
			e := &s.streams["s"][i]
			e.Fields = events.FieldsOf(append(e.Fields.List(), events.Field{Name: "data", Value: large})...)
		}
		c := &reads{client: &client{server: s, name: "c"}}
		rec := newRecorder(t, nil)
		cfg := config(c.client, rec)
		cfg.Transport, cfg.MaxInFlight = c, 1000
		settleAll(t, cfg)
		if len(rec.attempts()) != 1000 {
			t.Errorf("%d handled", len(rec.attempts()))
		}
		if c.counts[0] > firstRead {
			t.Errorf("the first read asked for %d, before anything was known of the size of entries", c.counts[0])
		}
		if most := slices.Max(c.sizes[1:]); most > readBytes {
			t.Errorf("a read brought %d bytes, want at most %d", most, readBytes)
		}
	})
}

// TestReadsKeepTheServerShortly: however much room there is.
func TestReadsKeepTheServerShortly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		for i := range 5000 {
			s.publish("s", entity(i), "single")
		}
		c := &reads{client: &client{server: s, name: "c"}}
		cfg := config(c.client, newRecorder(t, nil))
		cfg.Transport, cfg.MaxInFlight = c, 4000
		settleAll(t, cfg)
		if most := slices.Max(c.counts); most > readEntries {
			t.Errorf("a read asked for %d entries, want at most %d", most, readEntries)
		}
	})
}

// TestManyStreamsAreReadTogether: with more streams than there is room for
// some entries of each, the order of all still holds, and a read brings entries
// of many of them.
func TestManyStreamsAreReadTogether(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const streams, each = 300, 40
		var names []string
		for i := range streams {
			names = append(names, fmt.Sprintf("s%03d", i))
		}
		s := newServer(names...)
		var want []wire.Ref
		for i := range streams * each {
			want = append(want, s.publish(names[i%streams], "a", "single"))
		}
		c := &reads{client: &client{server: s, name: "c"}}
		rec := newRecorder(t, nil)
		cfg := config(c.client, rec)
		cfg.Transport, cfg.MaxInFlight, cfg.PerStream = c, 100, 10
		settleAll(t, cfg)
		if got := refsOf(rec.attempts()); !slices.Equal(got, want) {
			t.Errorf("%d handled, or in another order", len(got))
		}
		t.Logf("%d reads", len(c.counts))
		if most := len(want) / 40; len(c.counts) > most { // one each would be a hundred times as many
			t.Errorf("%d reads, want at most %d", len(c.counts), most)
		}
	})
}
