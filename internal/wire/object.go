package wire

import "strings"

// outermost reads the object that the text is, and notes its members.
func (c *scanner) outermost(i int) int {
	c.token() // the first
	c.open(true)
	i, next := skip(c.s, i+1)
	if next == '}' {
		return c.close(i)
	}
	var seen uint64 // a bit for each name; others may share it
	for {
		name, hash, end := c.name(i)
		if end < 0 {
			return end
		}
		mark := uint64(1) << (hash % 64)
		if seen&mark != 0 && c.has(name, hash) {
			return c.refuse(DuplicateKey, "one name twice", end)
		}
		seen |= mark
		c.hashes = append(c.hashes, hash)
		if i, next = skip(c.s, end); next != ':' {
			return c.bad(i)
		}
		switch i, next = c.noted(name, i+1); {
		case i < 0:
			return i
		case next == '}':
			return c.close(i)
		case next != ',':
			return c.bad(i)
		}
		i++
	}
}

// noted reads the value of a member of the outermost object, and notes it. It
// returns the place behind it, and the byte that stands there.
func (c *scanner) noted(name string, i int) (end int, next byte) {
	s := c.s
	start, next := skip(s, i)
	if next != '"' {
		i = c.value(start)
	} else if !c.token() {
		return c.tooManyTokens(), 0
	} else if i = start + 1 + plainLength(s[start+1:]); at(s, i) == '"' {
		i++
	} else {
		i = c.escapes(i)
	}
	if i < 0 {
		return i, 0
	}
	c.members = append(c.members, member{name, s[start:i]})
	return skip(s, i)
}

// has tells whether the outermost object has a name already, in whatever case.
func (c *scanner) has(name string, hash uint32) bool {
	for i, other := range c.hashes {
		if other == hash && strings.EqualFold(c.members[i].name, name) {
			return true
		}
	}
	return false
}
