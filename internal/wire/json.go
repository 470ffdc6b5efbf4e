package wire

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of JSON text, checked before anything is built from it.
const (
	maxDepth  = 32     // containers within containers
	maxTokens = 10_000 // brackets, names and values
)

// kind is what a JSON value is, told by its first byte.
type kind byte

const (
	jsonString kind = '"'
	jsonNumber kind = '0'
	jsonTrue   kind = 't'
	jsonFalse  kind = 'f'
	jsonNull   kind = 'n'
	jsonObject kind = '{'
	jsonArray  kind = '['
)

func kindOf(first byte) kind {
	if first == '-' || '0' <= first && first <= '9' {
		return jsonNumber
	}
	return kind(first)
}

// member is one member of an object: its name and the text of its value.
type member struct{ name, value string }

func (m *member) kind() kind { return kindOf(m.value[0]) }

// text returns a string value, which has been scanned, without its quotes and
// escapes; "" of another kind of value.
func (m *member) text() string {
	if m.kind() != jsonString {
		return ""
	}
	if strings.IndexByte(m.value, '\\') < 0 {
		return m.value[1 : len(m.value)-1]
	}
	s, _ := unquote(m.value)
	return s
}

// scanner checks a JSON text in one pass without recursion, and notes the
// members of the outermost object. encoding/json would take duplicate names,
// names that differ in case, lone surrogates and numbers beyond float64, and
// lose what they mean without an error.
type scanner struct {
	s       string
	i       int
	tokens  int
	depth   int
	objects uint64            // bit d: the container at depth d is an object
	first   [maxDepth + 1]int // where the names of the container begin in names
	names   []scannedName     // of the open objects, innermost last
	members []member
	start   int // of the value at depth 1
	kind    kind
}

type scannedName struct {
	hash uint32 // of the name without regard to case
	name string
}

// scan checks s and returns what kind of value it is.
func (c *scanner) scan(field, s string) (kind, *Refusal) {
	c.s, c.i, c.tokens, c.depth, c.objects = s, 0, 0, 0, 0
	c.names, c.members = c.names[:0], c.members[:0]
	if !utf8.ValidString(s) {
		return 0, &Refusal{BadUTF8, field, "not UTF-8"}
	}
	if refusal := c.run(); refusal != nil {
		refusal.Field = field
		return 0, refusal
	}
	return c.kind, nil
}

// release lets go of the scanned text, and of the memory that an unusual one
// needed.
func (c *scanner) release() {
	const usual = 128
	if cap(c.names) > usual || cap(c.members) > usual {
		c.names, c.members = nil, nil
	}
	clear(c.names[:cap(c.names)])
	clear(c.members[:cap(c.members)])
	c.s, c.names, c.members = "", c.names[:0], c.members[:0]
}

func (c *scanner) run() *Refusal {
	for {
		closed, refusal := c.value()
		if refusal != nil {
			return refusal
		}
		for closed {
			if c.depth == 1 && c.inObject() {
				c.members[len(c.members)-1].value = c.s[c.start:c.i]
			}
			c.space()
			if c.depth == 0 {
				if c.i < len(c.s) {
					return c.bad()
				}
				return nil
			}
			switch next := c.peek(); {
			case next == ',':
				c.i++
				closed = false
				if c.inObject() {
					if refusal := c.name(); refusal != nil {
						return refusal
					}
				}
			case next == '}' && c.inObject(), next == ']' && !c.inObject():
				if refusal := c.close(); refusal != nil {
					return refusal
				}
			default:
				return c.bad()
			}
		}
	}
}

// value reads a scalar or the opening of a container; closed tells whether
// the value ends there.
func (c *scanner) value() (closed bool, refusal *Refusal) {
	c.space()
	switch c.depth {
	case 0:
		c.kind = kindOf(c.peek())
	case 1:
		c.start = c.i
	}
	if refusal := c.token(); refusal != nil {
		return false, refusal
	}
	switch next := c.peek(); next {
	case '{', '[':
		return c.open(next == '{')
	case '"':
		_, refusal := c.str()
		return true, refusal
	case 't':
		return true, c.literal("true")
	case 'f':
		return true, c.literal("false")
	case 'n':
		return true, c.literal("null")
	}
	n, ok := numberLength(c.s[c.i:])
	if !ok {
		return false, c.bad()
	}
	number := c.s[c.i : c.i+n]
	if !numberInRange(number) {
		return false, c.refuse(BadNumber, "out of range")
	}
	c.i += n
	return true, nil
}

func (c *scanner) open(object bool) (closed bool, refusal *Refusal) {
	if c.depth == maxDepth {
		return false, &Refusal{Reason: TooDeep, Detail: fmt.Sprintf("more than %d levels", maxDepth)}
	}
	c.i++
	c.depth++
	c.first[c.depth] = len(c.names)
	c.objects &^= 1 << c.depth
	if object {
		c.objects |= 1 << c.depth
	}
	c.space()
	switch next := c.peek(); {
	case object && next == '}', !object && next == ']':
		return true, c.close()
	case object:
		return false, c.name()
	}
	return false, nil
}

func (c *scanner) close() *Refusal {
	c.names = c.names[:c.first[c.depth]]
	c.depth--
	c.i++
	return c.token()
}

func (c *scanner) inObject() bool { return c.objects&(1<<c.depth) != 0 }

// name reads a member's name and colon.
func (c *scanner) name() *Refusal {
	c.space()
	if c.peek() != '"' {
		return c.bad()
	}
	if refusal := c.token(); refusal != nil {
		return refusal
	}
	start := c.i
	plain, refusal := c.str()
	if refusal != nil {
		return refusal
	}
	name := c.s[start+1 : c.i-1]
	if !plain {
		name, _ = unquote(c.s[start:c.i])
	}
	hash := foldedHash(name)
	for _, other := range c.names[c.first[c.depth]:] {
		if other.hash != hash {
			continue
		}
		if other.name == name || c.depth == 1 && strings.EqualFold(other.name, name) {
			return c.refuse(DuplicateKey, "one name twice")
		}
	}
	c.names = append(c.names, scannedName{hash, name})
	if c.depth == 1 {
		c.members = append(c.members, member{name: name})
	}
	c.space()
	if c.peek() != ':' {
		return c.bad()
	}
	c.i++
	return nil
}

// str reads a string; plain tells that it has no escapes.
func (c *scanner) str() (plain bool, refusal *Refusal) {
	plain = true
	for c.i++; ; c.i++ {
		i := c.i
		for i < len(c.s) && c.s[i] >= ' ' && c.s[i] != '"' && c.s[i] != '\\' {
			i++
		}
		c.i = i
		switch c.peek() {
		case '"':
			c.i++
			return plain, nil
		case '\\':
			plain = false
		default:
			return false, c.bad()
		}
		c.i++
		switch c.peek() {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if refusal := c.unicodeEscape(); refusal != nil {
				return false, refusal
			}
		default:
			return false, c.bad()
		}
	}
}

// unicodeEscape reads from the u of \uXXXX to its last digit; of two escapes
// where they are a surrogate pair.
func (c *scanner) unicodeEscape() *Refusal {
	r, ok := hex4(c.s[c.i:])
	if !ok {
		return c.bad()
	}
	c.i += 4
	switch {
	case 0xDC00 <= r && r <= 0xDFFF:
		return c.refuse(BadUTF8, "lone surrogate")
	case 0xD800 <= r && r <= 0xDBFF:
		if !strings.HasPrefix(c.s[c.i+1:], `\u`) {
			return c.refuse(BadUTF8, "lone surrogate")
		}
		low, ok := hex4(c.s[c.i+2:])
		if !ok {
			return c.bad()
		}
		if low < 0xDC00 || low > 0xDFFF {
			return c.refuse(BadUTF8, "lone surrogate")
		}
		c.i += 6
	}
	return nil
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

func (c *scanner) literal(word string) *Refusal {
	if !strings.HasPrefix(c.s[c.i:], word) {
		return c.bad()
	}
	c.i += len(word)
	return nil
}

func (c *scanner) space() {
	for c.i < len(c.s) {
		switch c.s[c.i] {
		case ' ', '\t', '\r', '\n':
			c.i++
		default:
			return
		}
	}
}

// peek returns the next byte, and 0, which is none of JSON's, at the end.
func (c *scanner) peek() byte {
	if c.i < len(c.s) {
		return c.s[c.i]
	}
	return 0
}

func (c *scanner) token() *Refusal {
	if c.tokens++; c.tokens > maxTokens {
		return &Refusal{Reason: TooManyTokens, Detail: fmt.Sprintf("more than %d", maxTokens)}
	}
	return nil
}

func (c *scanner) bad() *Refusal {
	return &Refusal{Reason: BadJSON, Detail: fmt.Sprintf("at byte %d", c.i)}
}

func (c *scanner) refuse(reason Reason, detail string) *Refusal {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf("%s, at byte %d", detail, c.i)}
}

// foldedHash is FNV-1a over the name's runes, each replaced by the least of
// those that differ from it in case only.
func foldedHash(s string) uint32 {
	h := uint32(2166136261)
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z':
			r -= 'a' - 'A'
		case r >= utf8.RuneSelf:
			least := r
			for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
				least = min(least, f)
			}
			r = least
		}
		h = (h ^ uint32(r)) * 16777619
	}
	return h
}
