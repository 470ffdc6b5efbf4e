package delivery

import (
	"cmp"

	"github.com/freshet/freshet/internal/wire"
)

// heads are the sources that hold something, as a heap: the one with the
// lowest id comes first. The ids are here too, because those of a thousand
// items are too far apart in memory to be looked up again and again.
type heads []headOf

type headOf struct {
	id     wire.ID
	source *source
}

func (h heads) less(a, b headOf) bool {
	c := a.id.Compare(b.id)
	return c < 0 || c == 0 && cmp.Less(a.source.stream, b.source.stream)
}

func (h *heads) add(s *source) {
	*h = append(*h, headOf{})
	s.place = len(*h) - 1
	h.fix(s)
}

func (h *heads) remove(s *source) {
	last := len(*h) - 1
	moved, at := (*h)[last], s.place
	(*h)[last] = headOf{}
	*h = (*h)[:last]
	if at < last {
		h.put(moved, at)
	}
}

// fix puts a source, whose first item is another now, at its place.
func (h heads) fix(s *source) { h.put(headOf{s.buffer[0].entry.ID, s}, s.place) }

// put puts one at its place, which is at or around i, where there is none.
func (h heads) put(x headOf, i int) {
	for i > 0 && h.less(x, h[(i-1)/2]) {
		h[i] = h[(i-1)/2]
		h[i].source.place = i
		i = (i - 1) / 2
	}
	for {
		next := 2*i + 1
		if next+1 < len(h) && h.less(h[next+1], h[next]) {
			next++
		}
		if next >= len(h) || !h.less(h[next], x) {
			break
		}
		h[i] = h[next]
		h[i].source.place = i
		i = next
	}
	h[i] = x
	x.source.place = i
}
