package redisstream

import (
	"math/rand/v2"
	"testing"

	"github.com/freshet/freshet/internal/wire"
)

// The list is the set that it stands for, whatever comes and goes.
func TestOpenIDsAreASet(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		var o openIDs
		set := map[wire.ID]bool{}
		next := uint64(1)
		for range 500 {
			id := wire.ID{Ms: 1 + r.Uint64N(next), Seq: 1}
			switch r.IntN(5) {
			case 0, 1:
				id.Ms, next = next, next+1
				o.add(id)
				set[id] = true
			case 2:
				o.add(id)
				set[id] = true
			default:
				o.remove(id)
				delete(set, id)
			}
			var lowest wire.ID
			for id := range set {
				if lowest == (wire.ID{}) || id.Compare(lowest) < 0 {
					lowest = id
				}
			}
			if got := o.lowest(); got != lowest {
				t.Fatalf("seed %d: lowest %v, want %v", seed, got, lowest)
			}
			if got := o.has(id); got != set[id] {
				t.Fatalf("seed %d: has %v is %t", seed, id, got)
			}
			if len(o.list) > 2*len(set)+1 {
				t.Fatalf("seed %d: a list of %d for %d ids", seed, len(o.list), len(set))
			}
		}
		for ms := range next {
			if id := (wire.ID{Ms: ms, Seq: 1}); o.has(id) != set[id] {
				t.Fatalf("seed %d: has %v is %t", seed, id, o.has(id))
			}
		}
	}
}

// One entry that stays open does not make the list grow.
func TestOpenIDsStayFewBehindOneThatStays(t *testing.T) {
	var o openIDs
	o.add(wire.ID{Ms: 1})
	for ms := uint64(2); ms < 100_000; ms++ {
		o.add(wire.ID{Ms: ms})
		o.remove(wire.ID{Ms: ms})
	}
	if len(o.list) != 1 || cap(o.list) > 1000 {
		t.Errorf("%d in the list, room for %d", len(o.list), cap(o.list))
	}
}

// As many that come as go need no more memory.
func TestOpenIDsThatComeAndGo(t *testing.T) {
	var o openIDs
	const open = 1000
	next := uint64(0)
	come := func() {
		next++
		o.add(wire.ID{Ms: next})
	}
	for range open {
		come()
	}
	all := func() {
		for range 2 * open {
			come()
			o.remove(wire.ID{Ms: next - open})
		}
	}
	all() // the list has grown to what it needs
	if n := testing.AllocsPerRun(10, all); n > 0 {
		t.Errorf("%v allocations for %d that came and went", n, 2*open)
	}
	if first := (wire.ID{Ms: next - open + 1}); o.lowest() != first || len(o.list) != open {
		t.Errorf("%d from %v, want %d from %v", len(o.list), o.lowest(), open, first)
	}
}
