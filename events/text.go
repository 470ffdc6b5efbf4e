package events

import (
	"bytes"
	"math/bits"
	"strings"
	"unicode/utf8"
)

// The pieces of JSON that a reader passes.

// next passes white space and returns the byte behind it, 0 at the end.
func (r *reader) next() byte {
	for ; r.i < len(r.data); r.i++ {
		if c := r.data[r.i]; c > ' ' || c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

func (r *reader) end() bool { return r.next() == 0 && r.i == len(r.data) }

// plain reads a string in which nothing is escaped and that is UTF-8, and
// returns its text.
func (r *reader) plain() ([]byte, bool) {
	rest := r.data[r.i:]
	if len(rest) == 0 || rest[0] != '"' {
		return nil, false
	}
	ascii := true
	for i := 1 + plainWords(rest[1:]); i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '"':
			r.i += i + 1
			return rest[1:i], ascii || utf8.Valid(rest[1:i])
		case c == '\\', c < ' ':
			return nil, false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, false
}

// plainWords passes what is plain ASCII in a string, eight bytes at a time. It
// stops at the first other byte, or where less than eight are left.
func plainWords(b []byte) int {
	const ones = 0x0101010101010101
	i := 0
	for ; i <= len(b)-8; i += 8 { // in this form it is compiled without checks of i
		w := eight(b, i)
		// The high bit of each byte below ' ', of quotes and backslashes, and
		// of what is not ASCII. Of the bytes above the first of these it may
		// be set for others, too.
		odd := (w - ' '*ones) | ((w ^ '"'*ones) - ones) | ((w ^ '\\'*ones) - ones) | w
		if odd &= 0x80 * ones; odd != 0 {
			return i + bits.TrailingZeros64(odd)/8
		}
	}
	return i
}

// eight returns the eight bytes of text at i, the first of them lowest.
func eight[T string | []byte](text T, i int) uint64 {
	return uint64(text[i]) | uint64(text[i+1])<<8 | uint64(text[i+2])<<16 | uint64(text[i+3])<<24 |
		uint64(text[i+4])<<32 | uint64(text[i+5])<<40 | uint64(text[i+6])<<48 | uint64(text[i+7])<<56
}

func (r *reader) word(word string) bool {
	if !bytes.HasPrefix(r.data[r.i:], []byte(word)) {
		return false
	}
	r.i += len(word)
	return true
}

// number reads a number.
func (r *reader) number() bool {
	r.byteOf("-")
	if !r.byteOf("0") && !r.digits() {
		return false
	}
	if r.byteOf(".") && !r.digits() {
		return false
	}
	if r.byteOf("eE") {
		r.byteOf("+-")
		return r.digits()
	}
	return true
}

func (r *reader) byteOf(set string) bool {
	if r.i == len(r.data) || strings.IndexByte(set, r.data[r.i]) < 0 {
		return false
	}
	r.i++
	return true
}

func (r *reader) digits() bool {
	from := r.i
	for r.i < len(r.data) && '0' <= r.data[r.i] && r.data[r.i] <= '9' {
		r.i++
	}
	return r.i > from
}

// extent passes the bytes that are a value, if they are JSON at all.
func (r *reader) extent() bool {
	const maxDepth = 1000 // encoding/json has a limit, too, over all of a text
	depth := 0
	for ; r.i < len(r.data); r.i++ {
		switch c := r.data[r.i]; c {
		case '"':
			for r.i++; r.i < len(r.data) && r.data[r.i] != '"'; r.i++ {
				if r.data[r.i] == '\\' {
					r.i++
				}
			}
		case '{', '[':
			if depth++; depth > maxDepth {
				return false
			}
			continue
		case '}', ']', ',':
			if depth == 0 {
				return true
			}
			if c == ',' {
				continue
			}
			if depth--; depth > 0 {
				continue
			}
		default:
			continue
		}
		if depth == 0 {
			r.i++
			return r.i <= len(r.data)
		}
	}
	return false
}
