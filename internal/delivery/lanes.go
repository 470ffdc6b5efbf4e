package delivery

import "hash/maphash"

// lanes are the lanes that have items, by entity. Keys are hashed once for an
// item; lanes whose items are all settled are used again.
type lanes struct {
	hash   func(laneKey) uint64
	byHash map[uint64]*lane // the first; the others follow by lane.next
	spare  []*lane
}

func newLanes() lanes {
	seed := maphash.MakeSeed()
	return lanes{
		hash:   func(key laneKey) uint64 { return maphash.Comparable(seed, key) },
		byHash: map[uint64]*lane{},
	}
}

// of returns the lane of the item's entity.
func (ls *lanes) of(it *item) *lane {
	env := it.message.Envelope
	key := laneKey{env.Tenant, env.Entity.Type, env.Entity.ID}
	if key.id == "" {
		key = laneKey{id: it.ref().String()}
	}
	hash := ls.hash(key)
	first := ls.byHash[hash]
	for l := first; l != nil; l = l.next {
		if l.key == key {
			return l
		}
	}
	var l *lane
	if n := len(ls.spare); n > 0 {
		l, ls.spare = ls.spare[n-1], ls.spare[:n-1]
	} else {
		l = &lane{}
	}
	l.key, l.hash, l.next, l.state = key, hash, first, idle
	ls.byHash[hash] = l
	return l
}

// drop lets an idle lane go that has no items.
func (ls *lanes) drop(l *lane) {
	switch first := ls.byHash[l.hash]; {
	case first != l:
		for first.next != l {
			first = first.next
		}
		first.next = l.next
	case l.next != nil:
		ls.byHash[l.hash] = l.next
	default:
		delete(ls.byHash, l.hash)
	}
	l.key, l.next, l.state = laneKey{}, nil, gone
	ls.spare = append(ls.spare, l)
}
