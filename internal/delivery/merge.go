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
	held    int // items in all buffers
}

// source is a stream as the merge and the reader know it.
type source struct {
	stream string
	buffer []*item // read and not released, by id
	more   bool    // it may have entries, right behind the buffer, that are older than some in other buffers
	full   bool    // its last read found as many as were asked for
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
}

// next takes the item with the lowest id. It returns nil when there is none,
// or when a stream that may have a lower one must be read first.
func (m *merge) next() *item {
	for _, s := range m.sources {
		if len(s.buffer) == 0 && s.more {
			return nil
		}
	}
	return m.lowest()
}

// lowest takes the item with the lowest id of those read so far.
func (m *merge) lowest() *item {
	var from *source
	for _, s := range m.sources {
		if len(s.buffer) > 0 && (from == nil || compareItems(s.buffer[0], from.buffer[0]) < 0) {
			from = s
		}
	}
	if from == nil {
		return nil
	}
	it := from.buffer[0]
	m.drop(from, it)
	return it
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
		s = &source{stream: stream, more: true}
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
