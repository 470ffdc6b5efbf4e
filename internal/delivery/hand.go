package delivery

import (
	"slices"

	"github.com/freshet/freshet/internal/wire"
)

// shelf holds the items of a stream that are in hand, by id. Entries come and
// go nearly in the order of their ids, so this costs less than a map.
type shelf struct {
	items []*item // some have been taken off
	off   int     // so many
}

// find returns where an id is, or would be.
func (s *shelf) find(id wire.ID) (int, bool) {
	return slices.BinarySearchFunc(s.items, id, func(it *item, id wire.ID) int { return it.entry.ID.Compare(id) })
}

// get returns the item of an id, or nil.
func (s *shelf) get(id wire.ID) *item {
	if i, ok := s.find(id); ok && !s.items[i].off {
		return s.items[i]
	}
	return nil
}

// put puts an item on the shelf. It reports false when there is one of its id.
func (s *shelf) put(it *item) bool {
	if n := len(s.items); n == 0 || s.items[n-1].entry.ID.Compare(it.entry.ID) < 0 {
		s.items = append(s.items, it)
		return true
	}
	i, ok := s.find(it.entry.ID)
	switch {
	case !ok:
		s.items = slices.Insert(s.items, i, it)
	case s.items[i].off:
		s.items[i] = it
		s.off--
	default:
		return false
	}
	return true
}

// take takes an item off the shelf.
func (s *shelf) take(it *item) {
	it.off = true
	s.off++
	for len(s.items) > 0 && s.items[0].off {
		s.items = remove(s.items, s.items[0])
		s.off--
	}
	if s.off > len(s.items)/2 {
		s.items = slices.DeleteFunc(s.items, func(it *item) bool { return it.off })
		s.off = 0
	}
}

// all returns the items.
func (s *shelf) all() (items []*item) {
	for _, it := range s.items {
		if !it.off {
			items = append(items, it)
		}
	}
	return items
}
