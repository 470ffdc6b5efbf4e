package wire

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/freshet/freshet/events"
)

// ID is a stream entry's id. IDs order entries within a stream exactly and
// over streams as far as one server's clock does.
type ID struct{ Ms, Seq uint64 }

// ParseID reads "ms-seq" or "ms".
func ParseID(s string) (ID, error) {
	ms, seq, found := strings.Cut(s, "-")
	var id ID
	var err error
	if id.Ms, err = strconv.ParseUint(ms, 10, 64); err != nil {
		return ID{}, fmt.Errorf("stream id %.41q: not ms-seq", s)
	}
	if found {
		if id.Seq, err = strconv.ParseUint(seq, 10, 64); err != nil {
			return ID{}, fmt.Errorf("stream id %.41q: not ms-seq", s)
		}
	}
	return id, nil
}

func (id ID) String() string { return string(id.Append(make([]byte, 0, 41))) }

// Append appends the id as text.
func (id ID) Append(b []byte) []byte {
	b = strconv.AppendUint(b, id.Ms, 10)
	b = append(b, '-')
	return strconv.AppendUint(b, id.Seq, 10)
}

// Compare orders ids as Redis does.
func (id ID) Compare(o ID) int {
	if c := cmp.Compare(id.Ms, o.Ms); c != 0 {
		return c
	}
	return cmp.Compare(id.Seq, o.Seq)
}

// Prev returns the greatest id below id, and the zero ID for the zero ID.
func (id ID) Prev() ID {
	switch {
	case id.Seq > 0:
		return ID{id.Ms, id.Seq - 1}
	case id.Ms > 0:
		return ID{id.Ms - 1, ^uint64(0)}
	}
	return ID{}
}

// Entry is one stream entry as it was read.
type Entry struct {
	Stream string
	ID     ID
	Fields events.Fields
}

// Ref names an entry without its fields.
type Ref struct {
	Stream string
	ID     ID
}

// Ref returns the entry's name.
func (e *Entry) Ref() Ref { return Ref{e.Stream, e.ID} }

func (r Ref) String() string { return string(r.append(nil)) }

func (r Ref) append(b []byte) []byte { return r.ID.Append(append(append(b, r.Stream...), '/')) }
