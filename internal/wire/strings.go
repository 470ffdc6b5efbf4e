package wire

import (
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Strings within JSON. Most of what an entry holds is strings of plain ASCII,
// so they are looked at eight bytes at a time.

const (
	ones     = 0x0101010101010101
	highBits = 0x80 * ones
)

// word returns the eight bytes of s at i, the first of them lowest.
func word(s string, i int) uint64 {
	return uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
		uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
}

// special returns the high bit of the bytes in w that do not stand for
// themselves within a JSON string: quotes, backslashes, control characters.
// Of the bytes above the first of these it may take others, too.
func special(w uint64) uint64 {
	return ((w - ' '*ones) | ((w ^ '"'*ones) - ones) | ((w ^ '\\'*ones) - ones)) &^ w & highBits
}

// plainLength returns how many bytes at the beginning of s stand for
// themselves within a JSON string.
func plainLength(s string) int {
	i := 0
	for ; i <= len(s)-8; i += 8 { // in this form it is compiled without checks of i
		if bad := special(word(s, i)); bad != 0 {
			return i + bits.TrailingZeros64(bad)/8
		}
	}
	for i < len(s) && s[i] >= ' ' && s[i] != '"' && s[i] != '\\' {
		i++
	}
	return i
}

// escapes reads the rest of a string from where its first escape should be.
func (c *scanner) escapes(i int) int {
	s := c.s
	c.escaped = true
	for at(s, i) == '\\' {
		i++
		switch at(s, i) {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i++
		case 'u':
			if i = c.unicodeEscape(i); i < 0 {
				return i
			}
		default:
			return c.bad(i)
		}
		if at(s, i) != '\\' {
			i += plainLength(s[i:])
		}
	}
	if at(s, i) != '"' {
		return c.bad(i)
	}
	return i + 1
}

// unicodeEscape reads from the u of \uXXXX; of two escapes where they are a
// surrogate pair.
func (c *scanner) unicodeEscape(i int) int {
	r, ok := hex4(c.s[i:])
	if !ok {
		return c.bad(i)
	}
	i += 5
	switch {
	case 0xDC00 <= r && r <= 0xDFFF:
		return c.refuse(BadUTF8, "lone surrogate", i-1)
	case 0xD800 <= r && r <= 0xDBFF:
		if !strings.HasPrefix(c.s[i:], `\u`) {
			return c.refuse(BadUTF8, "lone surrogate", i-1)
		}
		low, ok := hex4(c.s[i+1:])
		if !ok {
			return c.bad(i - 1)
		}
		if low < 0xDC00 || low > 0xDFFF {
			return c.refuse(BadUTF8, "lone surrogate", i-1)
		}
		i += 6
	}
	return i
}

// hex4 reads "uXXXX".
func hex4(s string) (rune, bool) {
	if len(s) < 5 {
		return 0, false
	}
	var r rune
	for i := 1; i < 5; i++ {
		switch b := s[i]; {
		case '0' <= b && b <= '9':
			r = r<<4 | rune(b-'0')
		case 'a' <= b|0x20 && b|0x20 <= 'f':
			r = r<<4 | rune(b|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// plainName is plainLength for the name of a member, with the foldedHash of
// these bytes if they are ASCII.
func plainName(s string) (length int, hash uint32, ascii bool) {
	var h, all, w uint64
	i := 0
	for ; i <= len(s)-8; i += 8 {
		w = word(s, i)
		if bad := special(w); bad != 0 {
			n := bits.TrailingZeros64(bad) / 8
			w &= 1<<(8*n) - 1
			return i + n, uint32(hashed(h, w) >> 32), (all|w)&highBits == 0
		}
		all |= w
		h = hashed(h, w)
	}
	w = 0
	n := plainLength(s[i:])
	for j := range n {
		w |= uint64(s[i+j]) << (8 * j)
	}
	return i + n, uint32(hashed(h, w) >> 32), (all|w)&highBits == 0
}

// foldedHash is the same for names that differ in case only.
func foldedHash(name string) uint32 {
	b := make([]byte, 0, 40)
	for _, r := range name {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		b = utf8.AppendRune(b, least)
	}
	var h uint64
	for ; len(b) >= 8; b = b[8:] {
		h = hashed(h, binary.LittleEndian.Uint64(b))
	}
	var last [8]byte
	copy(last[:], b)
	return uint32(hashed(h, binary.LittleEndian.Uint64(last[:])) >> 32)
}

// hashed adds eight bytes to a hash; the cases of a letter of ASCII are one.
func hashed(h, w uint64) uint64 {
	const lower = ' ' * ones // the bit in which the cases differ
	h = (h ^ (w | lower)) * 0x9e3779b97f4a7c15
	return h ^ h>>32
}
