package wire

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of JSON text, checked before anything is built from it.
const (
	maxDepth  = 32     // containers within containers
	maxTokens = 10_000 // brackets, names and values
)

// scanner checks a JSON text in one pass without recursion, and notes the
// members of the outermost object. encoding/json would take duplicate names,
// names that differ in case, lone surrogates and numbers beyond float64, and
// lose what they mean without an error.
//
// What reads a piece of the text takes the place where it begins and returns
// the one where it ends, or a negative one after it set refusal. A place kept
// in the scanner would cost a third of the time.
type scanner struct {
	s       string
	tokens  int
	depth   int
	objects uint64            // a bit for each open container, the innermost lowest: it is an object
	first   [maxDepth + 1]int // where the names of the container begin in names
	names   []scannedName     // of the open objects but the outermost, innermost last
	members []member          // of the outermost
	hashes  []uint32          // of their names
	escaped bool              // some string has escapes
	kind    kind
	refusal *Refusal
}

type scannedName struct {
	hash uint32 // of the name without regard to case
	name string
}

// scan checks s and returns what kind of value it is.
func (c *scanner) scan(field, s string) (kind, *Refusal) {
	c.s, c.tokens, c.depth, c.objects, c.escaped = s, 0, 0, 0, false
	c.names, c.members, c.hashes = truncated(c.names, 0), truncated(c.members, 0), c.hashes[:0]
	if !utf8.ValidString(s) {
		return 0, &Refusal{BadUTF8, field, "not UTF-8"}
	}
	if !c.run() {
		c.refusal.Field = field
		return 0, c.refusal
	}
	return c.kind, nil
}

// release lets go of the scanned text, and of the memory that an unusual one
// needed.
func (c *scanner) release() {
	const usual = 128
	if cap(c.names) > usual || cap(c.members) > usual {
		c.names, c.members, c.hashes = nil, nil, nil
	}
	c.s, c.names, c.members, c.refusal = "", truncated(c.names, 0), truncated(c.members, 0), nil
}

// truncated returns the first n elements, and lets go of what the others hold.
func truncated[T any](list []T, n int) []T {
	clear(list[n:])
	return list[:n]
}

// run reads the whole text, and tells whether it could.
func (c *scanner) run() bool {
	i, next := skip(c.s, 0)
	c.kind = kindOf(next)
	if next == '{' {
		i = c.outermost(i)
	} else {
		i = c.value(i)
	}
	if i < 0 {
		return false
	}
	if i, _ = skip(c.s, i); i < len(c.s) {
		c.bad(i)
		return false
	}
	return true
}

// value reads a value with all that is in it.
func (c *scanner) value(i int) int {
	s, depth := c.s, c.depth
	var next byte
	for i >= 0 {
		// A value begins, or would.
		i, next = skip(s, i)
		if !c.token() {
			return c.tooManyTokens()
		}
		switch next {
		case '"':
			if i += 1 + plainLength(s[i+1:]); at(s, i) == '"' {
				i++
			} else {
				i = c.escapes(i)
			}
		case '{', '[':
			if !c.open(next == '{') {
				return -1
			}
			if i, next = skip(s, i+1); next == c.closing() {
				i = c.close(i)
				break
			}
			if c.inObject() {
				i = c.member(i)
			}
			continue
		case 't':
			i = c.literal(i, "true")
		case 'f':
			i = c.literal(i, "false")
		case 'n':
			i = c.literal(i, "null")
		default:
			i = c.number(i)
		}
		// It ended, and perhaps its container does.
		for i >= 0 {
			if c.depth == depth {
				return i
			}
			i, next = skip(s, i)
			if next == ',' {
				i++
				if c.inObject() {
					i = c.member(i)
				}
				break
			}
			if next != c.closing() {
				return c.bad(i)
			}
			i = c.close(i)
		}
	}
	return i
}

// open enters a container.
func (c *scanner) open(object bool) bool {
	if c.depth == maxDepth {
		c.refusal = &Refusal{Reason: TooDeep, Detail: fmt.Sprintf("more than %d levels", maxDepth)}
		return false
	}
	c.depth++
	c.first[c.depth] = len(c.names)
	c.objects <<= 1
	if object {
		c.objects |= 1
	}
	return true
}

// close leaves one at its bracket.
func (c *scanner) close(i int) int {
	if n := c.first[c.depth]; n < len(c.names) {
		c.names = truncated(c.names, n)
	}
	c.depth--
	c.objects >>= 1
	if !c.token() {
		return c.tooManyTokens()
	}
	return i + 1
}

func (c *scanner) inObject() bool { return c.objects&1 != 0 }

// closing is the bracket that ends the container.
func (c *scanner) closing() byte {
	if c.inObject() {
		return '}'
	}
	return ']'
}

// member reads a member's name and colon, within an object that is not the
// outermost.
func (c *scanner) member(i int) int {
	name, hash, i := c.name(i)
	if i < 0 {
		return i
	}
	for _, other := range c.names[c.first[c.depth]:] {
		if other.hash == hash && other.name == name {
			return c.refuse(DuplicateKey, "one name twice", i)
		}
	}
	c.names = append(c.names, scannedName{hash, name})
	i, next := skip(c.s, i)
	if next != ':' {
		return c.bad(i)
	}
	return i + 1
}

// name reads a member's name.
func (c *scanner) name(i int) (name string, hash uint32, end int) {
	s := c.s
	i, next := skip(s, i)
	if next != '"' {
		return "", 0, c.bad(i)
	}
	if !c.token() {
		return "", 0, c.tooManyTokens()
	}
	start := i
	length, hash, ascii := plainName(s[i+1:])
	i += 1 + length
	name = s[start+1 : i]
	if at(s, i) == '"' {
		i++
	} else {
		if i = c.escapes(i); i < 0 {
			return "", 0, i
		}
		name, _ = unquote(s[start:i])
		ascii = false
	}
	if !ascii {
		hash = foldedHash(name)
	}
	return name, hash, i
}

func (c *scanner) number(i int) int {
	n, ok := numberLength(c.s[i:])
	if !ok {
		return c.bad(i)
	}
	if !numberInRange(c.s[i : i+n]) {
		return c.refuse(BadNumber, "out of range", i)
	}
	return i + n
}

func (c *scanner) literal(i int, word string) int {
	if !strings.HasPrefix(c.s[i:], word) {
		return c.bad(i)
	}
	return i + len(word)
}

// token counts one, and tells whether it is within the limit.
func (c *scanner) token() bool {
	c.tokens++
	return c.tokens <= maxTokens
}

func (c *scanner) tooManyTokens() int {
	c.refusal = &Refusal{Reason: TooManyTokens, Detail: fmt.Sprintf("more than %d", maxTokens)}
	return -1
}

func (c *scanner) bad(i int) int {
	c.refusal = &Refusal{Reason: BadJSON, Detail: fmt.Sprintf("at byte %d", i)}
	return -1
}

func (c *scanner) refuse(reason Reason, detail string, i int) int {
	c.refusal = &Refusal{Reason: reason, Detail: fmt.Sprintf("%s, at byte %d", detail, i)}
	return -1
}

// skip passes the white space at i. It returns the place behind it and the
// byte that stands there, as at does.
func skip(s string, i int) (int, byte) {
	for ; i < len(s); i++ {
		if b := s[i]; b > ' ' || b != ' ' && b != '\t' && b != '\r' && b != '\n' {
			return i, b
		}
	}
	return i, 0
}

// at returns the byte at i, and 0, which is none of JSON's, at the end.
func at(s string, i int) byte {
	if i < len(s) {
		return s[i]
	}
	return 0
}
