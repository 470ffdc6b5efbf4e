package delivery

import (
	"slices"

	"github.com/freshet/freshet/internal/wire"
)

// merge brings the entries of several streams into one order, that of their
// ids. Each read returns a bounded number of entries of each stream, so a
// busy stream may have been read up to 10:00 and a quiet one up to 18:00:
// then nothing after 10:00 is released before more of the busy one was read.
type merge struct {
	sources  []*source
	byStream map[string]*source
	heads    heads
	held     int     // items in all buffers
	seen     wire.ID // the greatest id read of any stream
}

// source is a stream as the merge and the reader know it.
type source struct {
	stream  string
	buffer  []*item // read and not released, by id
	place   int     // in heads; only while there is something in the buffer
	known   wire.ID // the stream has no unread entry up to it
	full    int     // its last read found as many as were asked for: so many; 0: fewer
	brought int     // entries, by the read that is under way
	last    wire.ID // of them
	hand    shelf   // in hand: the buffer, and what was released and is not settled
	gone    bool    // no longer subscribed; leaves when nothing of it is in hand

	// What the reader does next with it; see reader.go and pending.go.
	phase    phase
	after    wire.ID // of the phase's pages
	took     bool    // what its predecessors left: once, for the next to be active would be robbed by a second time
	sweeping bool
	swept    wire.ID // of the sweep's pages
}

// put adds an item of the source.
func (m *merge) put(s *source, it *item) {
	s.buffer = insert(s.buffer, 0, it)
	it.state = held
	m.held++
	switch {
	case len(s.buffer) == 1:
		m.heads.add(s)
	case s.buffer[0] == it:
		m.heads.fix(s)
	}
	if it.entry.ID.Compare(m.seen) > 0 {
		m.seen = it.entry.ID
	}
}

// read notes that a read of the source asked for count entries and brought
// so many, the last of them last. When it brought fewer, what comes to the
// stream later gets a greater id than all that any stream had by then, of
// which seen is the greatest that is known: servers make ids of their clock.
// (Within one millisecond they may not, and publishers that choose ids
// themselves need not.)
func (m *merge) read(s *source, count, brought int, last, seen wire.ID) {
	switch {
	case brought >= count:
		s.known, s.full = last, count
	case brought > 0 && last.Compare(seen) > 0:
		s.known, s.full = last, 0
	default:
		s.known, s.full = seen, 0
	}
}

// releasable takes the items, in the order of their ids, before which nothing
// else can come: up to where a stream must be read first that may have a lower
// one.
func (m *merge) releasable() (items []*item) {
	if m.held == 0 {
		return nil
	}
	var limit *source // of those of which nothing is held, the one that was read the least far
	empty := func(s *source) {
		if len(s.buffer) == 0 && !s.gone && (limit == nil || s.known.Compare(limit.known) < 0) {
			limit = s
		}
	}
	for _, s := range m.sources {
		empty(s)
	}
	for from := m.first(); from != nil && (limit == nil || !limit.blocks(from)); from = m.first() {
		items = append(items, m.lowest())
		empty(from)
	}
	return items
}

// all takes all items, in the order of their ids.
func (m *merge) all() (items []*item) {
	for m.held > 0 {
		items = append(items, m.lowest())
	}
	return items
}

// blocks reports whether the source must be read before anything is released:
// it may have an entry older than all that is held, of which first has the
// oldest.
func (s *source) blocks(first *source) bool {
	return len(s.buffer) == 0 && !s.gone && (first == nil || s.known.Compare(first.buffer[0].entry.ID) < 0)
}

// blockers returns the sources that must be read before anything is released.
func (m *merge) blockers() (sources []*source) {
	first := m.first()
	for _, s := range m.sources {
		if s.blocks(first) {
			sources = append(sources, s)
		}
	}
	return sources
}

// withLow adds to the sources that are to be read some of those that will soon
// be: of what was read of them little is left, and there is more. Else, where
// streams run empty one after the other, each would be read alone.
func (m *merge) withLow(due []*source, atMost int) []*source {
	if !slices.ContainsFunc(due, func(s *source) bool { return s.full > 0 }) {
		return due
	}
	for _, s := range m.sources {
		if n := len(s.buffer); atMost > 0 && n > 0 && n <= (s.full+3)/4 && !s.gone && s.phase == reading {
			due = append(due, s)
			atMost--
		}
	}
	return due
}

// withBehind adds to the sources that are to be read those that a read may have
// looked at before what is held was there. Else, where one stream after the other
// runs empty, each would be read alone.
func (m *merge) withBehind(due []*source, atMost int) []*source {
	first := m.first()
	if first == nil {
		return due
	}
	for _, s := range m.sources {
		if atMost > 0 && s.full == 0 && s.known.Compare(m.seen) < 0 && !s.blocks(first) && !s.gone && s.phase == reading {
			due = append(due, s)
			atMost--
		}
	}
	return due
}

// lowest takes the item with the lowest id of those read so far, of which
// there is one.
func (m *merge) lowest() *item {
	from := m.first()
	it := from.buffer[0]
	m.drop(from, it)
	return it
}

// first returns the source that holds the item with the lowest id.
func (m *merge) first() (from *source) {
	if len(m.heads) == 0 {
		return nil
	}
	return m.heads[0].source
}

// drop takes an item of the source out.
func (m *merge) drop(s *source, it *item) {
	first := s.buffer[0] == it
	s.buffer = remove(s.buffer, it)
	m.held--
	switch {
	case len(s.buffer) == 0:
		m.heads.remove(s)
	case first:
		m.heads.fix(s)
	}
}

// hungry returns the sources of which nothing is held.
func (m *merge) hungry() (sources []*source) {
	for _, s := range m.sources {
		if len(s.buffer) == 0 && !s.gone {
			sources = append(sources, s)
		}
	}
	return sources
}

// add returns the named stream's source; a new one if there is none.
func (m *merge) add(stream string) *source {
	s := m.byStream[stream]
	if s == nil {
		s = &source{stream: stream}
		m.sources = append(m.sources, s)
		if m.byStream == nil {
			m.byStream = map[string]*source{}
		}
		m.byStream[stream] = s
	}
	return s
}

// leave removes the sources that are gone and of which nothing is in hand.
func (m *merge) leave() {
	m.sources = slices.DeleteFunc(m.sources, func(s *source) bool {
		leaves := s.gone && len(s.hand.items) == 0
		if leaves {
			delete(m.byStream, s.stream)
		}
		return leaves
	})
}
