package redisstream

import (
	"errors"
	"net"
	"strings"
)

// repliesConn passes on what the server says, but for replies to XREAD and
// XREADGROUP. Of those the client library would make a value for each name and
// each value of each entry, which costs more than all else that is done with an
// entry. So the entries are set aside, and a token is passed on instead of the
// reply. Connecting, authentication, redirections and everything else stay the
// library's.
//
// Only the third version of the protocol has maps; replies of the second are
// passed on as they are. What is no reply at all ends the connection.
type repliesConn struct {
	net.Conn
	aside *aside
	buf   []byte // what has come

	passed int    // bytes of buf that have been passed on
	may    int    // how far buf may be passed on
	body   int    // bytes of a string behind that which may be as well
	values int    // values that the reply has behind that
	token  []byte // instead of a reply that ends at may
	broken bool   // what follows is no reply

	reply reply // that begins at may, less what is cut of it
}

const (
	leastBuffer = 16 << 10
	usualBuffer = 256 << 10 // for replies of some size
	mostBuffer  = 4 << 20   // that is kept after a larger entry
)

var errNoReply = errors.New("what answers does not speak the Redis protocol")

// longestLine is what a simple string, an error or a number may have.
const longestLine = 64 << 10

// Read reads from one goroutine at a time.
func (c *repliesConn) Read(p []byte) (int, error) {
	for {
		if len(c.token) == 0 {
			c.look()
		}
		if n := c.passOn(p); n > 0 || len(p) == 0 {
			return n, nil
		}
		if c.broken {
			return 0, errNoReply
		}
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
}

// passOn copies what may be passed on.
func (c *repliesConn) passOn(p []byte) (n int) {
	if len(c.token) > 0 {
		n = copy(p, c.token)
		c.token = c.token[n:]
		return n
	}
	n = copy(p, c.buf[c.passed:c.may])
	c.passed += n
	return n
}

// fill reads more.
func (c *repliesConn) fill() error {
	size := cap(c.buf)
	full := len(c.buf) == size // there is more than there was room for
	if c.passed > 0 {
		c.buf = c.buf[:copy(c.buf, c.buf[c.passed:])]
		c.may -= c.passed
		c.passed = 0
	}
	switch due := c.may + c.reply.due - c.reply.cut; {
	case len(c.buf) == size && due > 2*size && due <= 4*size:
		size = due + leastBuffer // it may be believed when a quarter has come
	case len(c.buf) == size, full && size < usualBuffer:
		size = max(leastBuffer, 2*size)
	case size > mostBuffer && len(c.buf) < usualBuffer:
		size = usualBuffer
	}
	if size != cap(c.buf) {
		c.buf = append(make([]byte, 0, size), c.buf...)
	}
	n, err := c.Conn.Read(c.buf[len(c.buf):cap(c.buf)])
	c.buf = c.buf[:len(c.buf)+n]
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// look finds out how far what has come may be passed on, and exchanges a reply
// that was read to its end for a token.
func (c *repliesConn) look() {
	for {
		n := min(c.body, len(c.buf)-c.may)
		c.may, c.body = c.may+n, c.body-n
		rest := c.buf[c.may:]
		if c.body > 0 || len(rest) == 0 {
			return
		}
		if c.values == 0 && (rest[0] == '%' || c.reply.cut > 0) {
			if c.passed < c.may {
				return // what comes before it
			}
			if c.readReply() != another {
				return
			}
			rest = c.buf[c.may:]
		}
		h, ok := readHeader(rest)
		if !ok {
			c.broken = h.bad
			return
		}
		c.may, c.body = c.may+h.size, h.body
		c.values = max(0, c.values-1) + h.values
	}
}

// readReply reads on in what may be a reply to a read, as far as it has come.
func (c *repliesConn) readReply() progress {
	before := c.reply.cut
	p := c.reply.read(c.buf[c.may:])
	c.may += c.reply.cut - before
	c.passed = c.may
	switch p {
	case whole:
		c.token = c.aside.put(c.reply.result())
		c.reply.reset()
	case another:
		if c.reply.cut > 0 { // it looked like one; it is to be passed on from its beginning
			c.buf = append([]byte(strings.Join(c.reply.texts, "")), c.buf[c.may:]...)
			c.may, c.passed = 0, 0
		}
		c.reply.reset()
	}
	return p
}

// header is the first line of a value.
type header struct {
	size   int  // bytes of it
	body   int  // bytes of the string that follows, with its end of line
	values int  // values that follow and belong to it
	bad    bool // it is no header
}

// readHeader reads the header that text begins with. It is not ok where the
// line has no end yet, or is no header.
func readHeader(text []byte) (h header, ok bool) {
	if len(text) == 0 {
		return header{}, false
	}
	switch text[0] {
	case '+', '-', ':', '_', '#', ',', '(':
		for i := range min(len(text), longestLine) {
			if text[i] == '\n' {
				return header{size: i + 1}, true
			}
		}
		return header{bad: len(text) >= longestLine}, false
	case '$', '=', '!', '*', '~', '>', '%', '|':
	default:
		return header{bad: true}, false
	}
	const (
		mostDigits   = 9
		longestValue = 1<<29 + 1<<20 // the server's own bound is 512 MB
		mostValues   = 8 << 20       // a command has a million arguments at most
	)
	first, n := 1, 0
	null := len(text) > 1 && text[1] == '-'
	if null {
		first = 2
	}
	i := first
	for ; i < min(len(text), first+mostDigits) && text[i] >= '0' && text[i] <= '9'; i++ {
		n = 10*n + int(text[i]-'0')
	}
	switch end := text[i:]; {
	case len(end) == 0:
		return header{}, false
	case i == first || end[0] != '\r' || len(end) > 1 && end[1] != '\n' || n > longestValue || i > first+1 && text[first] == '0' || null && n != 1:
		return header{bad: true}, false
	case len(end) == 1:
		return header{}, false
	}
	h.size = i + 2
	if !null {
		h.follow(text[0], n)
	}
	if h.values > mostValues {
		return header{bad: true}, false
	}
	return h, true
}

func (h *header) follow(kind byte, n int) {
	switch kind {
	case '$', '=', '!':
		h.body = n + 2
	case '*', '~', '>':
		h.values = n
	case '%':
		h.values = 2 * n
	case '|':
		h.values = 2*n + 1 // attributes are followed by what they are of
	}
}
