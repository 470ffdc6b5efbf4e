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
	sources []*source
	held    int     // items in all buffers
	seen    wire.ID // the greatest id read of any stream
}

// source is a stream as the merge and the reader know it.
type source struct {
	stream string
	buffer []*item // read and not released, by id
	known  wire.ID // the stream has no unread entry up to it
	full   int     // its last read found as many as were asked for: so many; 0: fewer
	gone   bool    // no longer subscribed; leaves when the buffer is empty

	// What the reader does next with it; see reader.go.
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
	if it.entry.ID.Compare(m.seen) > 0 {
		m.seen = it.entry.ID
	}
}

// read notes that a read of the source asked for count entries and brought
// so many, the last of them last. When it brought fewer, what comes to the
// stream later gets a greater id than all that any stream had by then: the
// server makes ids of its clock. (Within one millisecond it may not, and
// publishers that choose ids themselves need not.)
func (m *merge) read(s *source, count, brought int, last wire.ID) {
	if brought >= count {
		s.known, s.full = last, count
	} else {
		s.known, s.full = m.seen, 0
	}
}

// next takes the item with the lowest id. It returns nil when there is none,
// or when a stream that may have a lower one must be read first.
func (m *merge) next() *item {
	if m.held == 0 || len(m.blockers()) > 0 {
		return nil
	}
	return m.lowest()
}

// blockers returns the sources that must be read before anything is released:
// those that may have an entry older than all that is held.
func (m *merge) blockers() (sources []*source) {
	first := m.first()
	for _, s := range m.sources {
		if len(s.buffer) == 0 && !s.gone && (first == nil || s.known.Compare(first.buffer[0].entry.ID) < 0) {
			sources = append(sources, s)
		}
	}
	return sources
}

// lowest takes the item with the lowest id of those read so far.
func (m *merge) lowest() *item {
	from := m.first()
	if from == nil {
		return nil
	}
	it := from.buffer[0]
	m.drop(from, it)
	return it
}

// first returns the source that holds the item with the lowest id.
func (m *merge) first() (from *source) {
	for _, s := range m.sources {
		if len(s.buffer) > 0 && (from == nil || compareItems(s.buffer[0], from.buffer[0]) < 0) {
			from = s
		}
	}
	return from
}

// drop takes an item of the source out.
func (m *merge) drop(s *source, it *item) {
	s.buffer = remove(s.buffer, it)
	m.held--
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
	s := m.source(stream)
	if s == nil {
		s = &source{stream: stream}
		m.sources = append(m.sources, s)
	}
	return s
}

// source returns the named stream's source, or nil.
func (m *merge) source(stream string) *source {
	i := slices.IndexFunc(m.sources, func(s *source) bool { return s.stream == stream })
	if i < 0 {
		return nil
	}
	return m.sources[i]
}
