package delivery

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

// TestShelf: whatever is put on it and taken off, it holds what a map would.
func TestShelf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s shelf
		want := map[uint64]*item{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			id := rapid.Uint64Range(1, 40).Draw(t, "id")
			if rapid.Bool().Draw(t, "take") {
				if it := want[id]; it != nil {
					s.take(it)
					delete(want, id)
				}
			} else {
				it := &item{entry: wire.Entry{ID: wire.ID{Ms: id}}}
				if s.put(it) != (want[id] == nil) {
					t.Fatalf("put %d: there was %v", id, want[id])
				}
				if want[id] == nil {
					want[id] = it
				}
			}
			if it := s.get(wire.ID{Ms: id}); it != want[id] {
				t.Fatalf("get %d: %v, want %v", id, it, want[id])
			}
			all := s.all()
			if len(all) != len(want) || len(s.items) > 2*len(want) {
				t.Fatalf("%d items in a list of %d, want %d", len(all), len(s.items), len(want))
			}
			for i, it := range all {
				if want[it.entry.ID.Ms] != it || i > 0 && all[i-1].entry.ID.Compare(it.entry.ID) >= 0 {
					t.Fatalf("item %d is %v", i, it)
				}
			}
		}
	})
}

// TestLanesOfOneHash: entities whose hashes are equal have lanes of their own.
func TestLanesOfOneHash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ls := newLanes()
		ls.hash = func(key laneKey) uint64 { return uint64(len(key.id)) }
		of := func(id string) *lane {
			return ls.of(&item{message: Message{Envelope: &events.Envelope{Tenant: "t", Entity: events.Entity{Type: "user", ID: id}}}})
		}
		want := map[string]*lane{}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			id := rapid.SampledFrom([]string{"a", "b", "c", "aa", "bb", "cc", "dd"}).Draw(t, "id")
			if want[id] != nil && rapid.Bool().Draw(t, "drop") {
				ls.drop(want[id])
				delete(want, id)
			} else {
				l := of(id)
				if want[id] != nil && l != want[id] || l.key.id != id || l.state != idle || len(l.queue) > 0 {
					t.Fatalf("lane %v of %s, want %v", l, id, want[id])
				}
				want[id] = l
			}
			for id, l := range want {
				if of(id) != l {
					t.Fatalf("%s has another lane", id)
				}
			}
		}
	})
}
