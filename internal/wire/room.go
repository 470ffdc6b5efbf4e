package wire

import "github.com/freshet/freshet/events"

// Room is memory for the fields of what is encoded, to be used again: they are
// a third of the memory that a publish takes.
type Room struct{ fields []events.Field }

// mostFields is how many fields an entry of any shape has at most.
const mostFields = 11

// Reset lets the room be used again. No list of fields that was put there may be
// read afterwards.
func (r *Room) Reset() {
	clear(r.fields)
	r.fields = r.fields[:0]
}

// forFields returns where the next entry's fields find room.
func (r *Room) forFields() []events.Field {
	n := len(r.fields)
	if cap(r.fields)-n < mostFields { // what is there belongs to others
		r.fields, n = make([]events.Field, 0, max(2*cap(r.fields), mostFields)), 0
	}
	return r.fields[n : n : n+mostFields]
}
