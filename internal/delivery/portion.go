package delivery

import "github.com/freshet/freshet/internal/wire"

// most is how many entries may be in hand.
func (e *Engine) most() int {
	return max(e.cfg.MaxInFlight, e.cfg.PerStream*len(e.reader.sources))
}

// portion decides which of the streams that are due are read now, and how
// many entries of each are asked for.
//
// Redis counts for each stream, and what is held until older entries of other
// streams were read takes room from what is handled. So little is asked of a
// stream at first; those that had as many are read further, before the
// others, and twice as far each time. The streams that run empty most often,
// because most of what comes next is theirs, so get most of the room.
func (e *Engine) portion(due []*source, hungry, free int) (now []*source, count int) {
	r := &e.reader
	room := free
	if n := len(r.sources); n > 1 {
		room = min(free, max(e.most()/2-r.held, e.most()/8))
		count = room / n
	} else {
		room = min(room, readEntries)
		count = room
	}
	room = min(room, r.readable())
	count = min(count, room)
	var full []*source
	for _, s := range due {
		if s.full > 0 {
			full = append(full, s)
			count = max(count, 2*s.full)
		}
	}
	if len(full) > 0 {
		due = full
	}
	for _, s := range due {
		if len(s.buffer) == 0 {
			hungry--
		}
	}
	room = min(room, free-hungry) // one for each of the others
	return due, max(1, min(count, room/max(1, len(due))))
}

const (
	readBytes   = 4 << 20 // that a read asks for, as far as the size of entries can be foreseen
	firstRead   = 200     // entries of a read before anything is known of their size
	readEntries = 300     // of a single stream: more keep the server from others for longer, and gain nothing
)

// readable returns how many entries a read may ask for, for their size.
func (r *reader) readable() int {
	if r.size == 0 {
		return firstRead
	}
	return max(1, readBytes/r.size)
}

// sizeOf returns how many bytes entries have.
func sizeOf(entries []wire.Entry) (n int) {
	for i := range entries {
		n += entries[i].Fields.Size()
	}
	return n
}
