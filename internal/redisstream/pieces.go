package redisstream

import (
	"errors"
	"fmt"
	"slices"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/wire"
)

const (
	// pieceSize is how many bytes of entries become one string at least. An
	// entry that is longer than wire.Longest becomes one alone. Who keeps a
	// field keeps all of its piece.
	pieceSize = 8 << 10

	mostKept = 4096 // elements of a list that is used again
)

var errEntry = errors.New("the server's reply has an entry that is none")

// reply is a reply to XREAD or XREADGROUP,
//
//	%n ($stream *m (*2 $id *k ($name $value ...) ...) ...)
//
// while it comes. Nothing of it is read twice, in however many parts it comes,
// and nothing is made for what it only promises. Offsets begin at the reply.
type reply struct {
	cut     int // all before it was made strings and entries
	at      int // all before it was read
	due     int // it is at least that long, as far as is known
	streams int // that come after the one at hand
	entries int // of that one, that come after the one at hand
	values  int // of that one

	stream  string       // the one at hand
	entryAt int          // where the entry at hand begins
	nth     int          // value of it that comes next
	hand    pieceEntry   // what has been found of it
	piece   []pieceEntry // behind cut, without the one at hand
	texts   []string     // all before cut
	made    []wire.Entry // of those
	err     error        // what is wrong with an entry
}

type span struct{ from, to int }

// pieceEntry is an entry of a piece.
type pieceEntry struct {
	stream string
	id     span
	fields span // names and values
}

type progress int

const (
	more    progress = iota // has to come
	whole                   // the reply was read
	another                 // it is none to those commands
)

// read reads on, in the text that begins at cut. When it has moved that, the
// text is to begin there the next time.
func (r *reply) read(text []byte) progress {
	for {
		rest := text[r.at-r.cut:]
		switch {
		case r.at == 0:
			h, ok := readHeader(rest)
			switch {
			case !ok && !h.bad:
				return more
			case !ok, h.values == 0:
				return another
			}
			r.at, r.streams = h.size, h.values/2
		case r.values > 0:
			h, ok := readHeader(rest)
			if h.bad {
				return another
			}
			if r.due = r.at + h.size + h.body; !ok || len(rest) < h.size+h.body {
				return more
			}
			r.note(rest[0], h)
			r.at = r.due
			if r.values += h.values - 1; r.values == 0 {
				text = r.endEntry(text)
			}
		case r.entries > 0:
			r.entries--
			r.values = 1
			r.entryAt, r.nth = r.at, 0
		case r.streams > 0:
			if p := r.begin(rest); p != whole {
				return p
			}
		default:
			r.endPiece(text, r.at)
			return whole
		}
	}
}

// begin reads a stream's key and how many entries there are of it. The first
// entry must look like one.
func (r *reply) begin(text []byte) progress {
	key, ok := readHeader(text)
	switch {
	case key.bad || ok && (text[0] != '$' || key.body <= 2):
		return another
	case !ok || len(text) < key.size+key.body:
		return more
	}
	list := text[key.size+key.body:]
	h, ok := readHeader(list)
	switch {
	case h.bad || ok && (list[0] != '*' || h.values == 0):
		return another
	case !ok:
		return more
	}
	entry := list[h.size:]
	const like = "*2\r\n$"
	if n := min(len(entry), len(like)); string(entry[:n]) != like[:n] {
		return another
	} else if n < len(like) {
		return more
	}
	r.at += key.size + key.body + h.size
	r.stream = string(text[key.size : key.size+key.body-2])
	r.entries = h.values
	r.streams--
	return whole
}

// note takes the value at hand: of an entry that is a list of two, the id, and
// the list of the names and values.
func (r *reply) note(kind byte, h header) {
	ok, behind := kind == '$' && h.body >= 2, r.at+h.size
	switch r.nth {
	case 0:
		ok = kind == '*' && h.values == 2
		r.hand.stream = r.stream
	case 1:
		r.hand.id = span{behind, behind + h.body - 2}
	case 2:
		ok = kind == '*' && h.values%2 == 0
		r.hand.fields.from = behind
	}
	r.nth++
	if !ok {
		r.fail(r.stream, errEntry)
	}
}

// fail notes that an entry of a stream is none: nothing is made of the reply
// then, and the rest only read to its end.
func (r *reply) fail(stream string, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("entries of %q: %w", stream, err)
	}
}

// endEntry takes the entry that was read into the piece; or into one alone, if
// it is long: who keeps a field of those beside it does not keep it, too. It
// returns the text without what it has cut.
func (r *reply) endEntry(text []byte) []byte {
	long := r.at-r.entryAt > wire.Longest
	if long && r.entryAt > r.cut {
		text = r.endPiece(text, r.entryAt)
	}
	r.hand.fields.to = r.at
	r.piece = append(r.piece, r.hand)
	if long || r.at-r.cut >= pieceSize {
		text = r.endPiece(text, r.at)
	}
	return text
}

// endPiece cuts the piece, which ends at end, and makes its entries. It returns
// the text behind it.
func (r *reply) endPiece(text []byte, end int) []byte {
	size := end - r.cut
	all := string(text[:size])
	part := func(s span) string { return all[s.from-r.cut : s.to-r.cut] }
	for _, e := range r.piece {
		if r.err != nil {
			break
		}
		id, err := wire.ParseID(part(e.id))
		if err != nil {
			r.fail(e.stream, err)
		}
		r.made = append(r.made, wire.Entry{Stream: e.stream, ID: id, Fields: events.FieldsFrom(part(e.fields))})
	}
	r.texts = append(r.texts, all)
	r.piece = r.piece[:0]
	r.cut = end
	return text[size:]
}

// result is what was read, whole.
func (r *reply) result() found {
	if r.err != nil {
		return found{err: r.err}
	}
	return found{entries: slices.Clone(r.made)}
}

// reset makes r one that comes next. Its lists are used again.
func (r *reply) reset() {
	if r.at == 0 {
		return
	}
	clear(r.piece[:cap(r.piece)])
	clear(r.texts)
	clear(r.made)
	*r = reply{piece: again(r.piece), texts: again(r.texts), made: again(r.made)}
}

// again returns a list that may be used again, if it is no longer than usual.
func again[T any](list []T) []T {
	if cap(list) > mostKept {
		return nil
	}
	return list[:0]
}
