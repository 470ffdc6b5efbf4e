package delivery

import (
	"fmt"
	"math/rand/v2"
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
				m.read(s, count, len(brought[s]), last, m.seen)
			}
			got = append(got, m.releasable()...)
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
	for _, it := range m.all() {
		got = append(got, it.entry.ID.Ms)
	}
	if want := []uint64{2, 5, 7, 9}; !slices.Equal(got, want) {
		t.Errorf("released %v, want %v", got, want)
	}
}

// Items are dropped from anywhere: of the others the one with the lowest id
// still comes first.
func TestMergeDropsFromAnywhere(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var m merge
		var want []*item
		for i := range 200 {
			if n := len(want); n == 0 || r.IntN(3) > 0 {
				s := m.add(fmt.Sprint(r.IntN(12)))
				it := &item{entry: wire.Entry{Stream: s.stream, ID: wire.ID{Ms: r.Uint64N(60), Seq: uint64(i)}}, source: s}
				m.put(s, it)
				want = append(want, it)
			} else {
				at := r.IntN(n)
				m.drop(want[at].source, want[at])
				want = slices.Delete(want, at, at+1)
			}
			if len(want) == 0 {
				continue
			}
			first := slices.MinFunc(want, compareItems)
			if got := m.first().buffer[0]; got != first {
				t.Fatalf("seed %d: first is %v, want %v", seed, got.ref(), first.ref())
			}
		}
		slices.SortFunc(want, compareItems)
		if got := m.all(); !slices.Equal(got, want) || len(m.heads) != 0 {
			t.Fatalf("seed %d: %d released of %d, or in another order", seed, len(got), len(want))
		}
	}
}

// BenchmarkMerge brings entries of many streams into one order, by the item.
func BenchmarkMerge(b *testing.B) {
	for _, streams := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(streams), func(b *testing.B) {
			const each = 4
			var m merge
			for i := range streams {
				m.add(fmt.Sprint(i))
			}
			items := make([]item, streams*each)
			b.ReportAllocs()
			for id := uint64(0); id < uint64(b.N); id += uint64(len(items)) {
				for i := range items {
					s := m.sources[i%streams]
					items[i].entry = wire.Entry{Stream: s.stream, ID: wire.ID{Ms: id + uint64(i)}}
					m.put(s, &items[i])
				}
				m.all()
			}
		})
	}
}
