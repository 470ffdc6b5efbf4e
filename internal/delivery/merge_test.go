package delivery

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/freshet/freshet/internal/wire"
)

// Whatever lies in the streams, and however few entries a read brings of
// each, they are released in the order of their ids.
func TestMergeOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m merge
		var unread [][]*item
		var want []*item
		for i := range rapid.IntRange(1, 6).Draw(t, "streams") {
			name := string(rune('a' + i))
			ids := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 100), 0, 30, rapid.ID[uint64]).Draw(t, name)
			slices.Sort(ids)
			var items []*item
			for _, id := range ids {
				items = append(items, &item{entry: wire.Entry{Stream: name, ID: wire.ID{Ms: id}}})
			}
			m.add(name)
			unread = append(unread, items)
			want = append(want, items...)
		}
		slices.SortFunc(want, compareItems)

		var got []*item
		for len(got) < len(want) {
			held, released := m.held, len(got)
			count := rapid.IntRange(1, 5).Draw(t, "count")
			due := m.blockers()
			brought := map[*source][]*item{}
			for i, s := range m.sources {
				if !slices.Contains(due, s) {
					continue
				}
				n := min(count, len(unread[i]))
				for _, it := range unread[i][:n] {
					m.put(s, it)
				}
				brought[s] = unread[i][:n]
				unread[i] = unread[i][n:]
			}
			for _, s := range due {
				var last wire.ID
				if n := len(brought[s]); n > 0 {
					last = brought[s][n-1].entry.ID
				}
				m.read(s, count, len(brought[s]), last)
			}
			for it := m.next(); it != nil; it = m.next() {
				got = append(got, it)
			}
			if m.held == held && len(got) == released {
				t.Fatalf("no progress after %d of %d", len(got), len(want))
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("released out of order")
		}
		if m.held != 0 {
			t.Fatalf("%d held of none", m.held)
		}
	})
}

// An entry that is found late takes its place among those that still wait.
func TestMergeInsertsByID(t *testing.T) {
	var m merge
	s := m.add("s")
	for _, id := range []uint64{5, 9, 2, 7} {
		m.put(s, &item{entry: wire.Entry{Stream: "s", ID: wire.ID{Ms: id}}})
	}
	var got []uint64
	for it := m.next(); it != nil; it = m.lowest() {
		got = append(got, it.entry.ID.Ms)
	}
	if want := []uint64{2, 5, 7, 9}; !slices.Equal(got, want) {
		t.Errorf("released %v, want %v", got, want)
	}
}
