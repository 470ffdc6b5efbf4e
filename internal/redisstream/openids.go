package redisstream

import (
	"slices"

	"github.com/freshet/freshet/internal/wire"
)

// openIDs are the entries of a stream that were handed out and not settled.
// They are kept in order, and come and go nearly so; those that go from their
// middle are only marked, until there are many.
type openIDs struct {
	list   []openID // the first and the last are not gone
	whole  []openID // the room that list is a part of
	marked int
}

type openID struct {
	id   wire.ID
	gone bool
}

func (o *openIDs) find(id wire.ID) (i int, found bool) {
	return slices.BinarySearchFunc(o.list, id, func(e openID, id wire.ID) int { return e.id.Compare(id) })
}

func (o *openIDs) add(id wire.ID) {
	if n := len(o.list); n == 0 || o.list[n-1].id.Compare(id) < 0 {
		if n == cap(o.list) {
			o.makeRoom()
		}
		o.list = append(o.list, openID{id: id})
		return
	}
	switch i, found := o.find(id); {
	case !found:
		o.list = slices.Insert(o.list, i, openID{id: id})
	case o.list[i].gone:
		o.list[i].gone = false
		o.marked--
	}
}

// makeRoom makes room at the list's end: with what those have left that are gone
// from its beginning, if that is half of all.
func (o *openIDs) makeRoom() {
	if 2*len(o.list) < cap(o.whole) {
		o.list = append(o.whole[:0], o.list...)
		return
	}
	o.list = slices.Grow(o.list, len(o.list)+1)
	o.whole = o.list
}

func (o *openIDs) remove(id wire.ID) {
	i, found := o.find(id)
	if !found || o.list[i].gone {
		return
	}
	o.list[i].gone = true
	o.marked++
	for len(o.list) > 0 && o.list[0].gone {
		o.list = o.list[1:]
		o.marked--
	}
	for n := len(o.list); n > 0 && o.list[n-1].gone; n-- {
		o.list = o.list[:n-1]
		o.marked--
	}
	if o.marked > len(o.list)/2 {
		o.list = slices.DeleteFunc(o.list, func(e openID) bool { return e.gone })
		o.marked = 0
	}
}

func (o *openIDs) has(id wire.ID) bool {
	i, found := o.find(id)
	return found && !o.list[i].gone
}

// lowest returns the lowest id, the zero ID when there is none.
func (o *openIDs) lowest() wire.ID {
	if len(o.list) == 0 {
		return wire.ID{}
	}
	return o.list[0].id
}

func (o *openIDs) clear() { *o = openIDs{} }
