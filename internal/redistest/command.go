package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Error is an error reply of the server.
type Error string

func (e Error) Error() string { return string(e) }

// Do sends one command on a connection of its own and returns the reply: a
// string, an int64, a []any, nil, or an Error. It panics when the server does
// not answer.
func (s *Server) Do(args ...string) any {
	reply, err := Call(s.Addr(), args...)
	if err != nil {
		panic(fmt.Errorf("redistest: %s: %w", args[0], err))
	}
	return reply
}

// Call is Do for any server: it sends one command to host:port.
func Call(addr string, args ...string) (any, error) {
	c, err := Dial(addr)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.call(args)
}

// Conn is a connection for many commands, from any goroutine, one at a time.
type Conn struct {
	mu   sync.Mutex
	conn net.Conn
	r    *bufio.Reader
}

// Dial connects to host:port.
func Dial(addr string) (*Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	return &Conn{conn: conn, r: bufio.NewReader(conn)}, nil
}

// Close ends the connection.
func (c *Conn) Close() { c.conn.Close() }

// Do is Do of Server, on this connection.
func (c *Conn) Do(args ...string) any {
	reply, err := c.call(args)
	if err != nil {
		panic(fmt.Errorf("redistest: %s: %w", args[0], err))
	}
	return reply
}

func (c *Conn) call(args []string) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return nil, err
	}
	w := bufio.NewWriter(c.conn)
	fmt.Fprintf(w, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(w, "$%d\r\n%s\r\n", len(a), a)
	}
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return readReply(c.r)
}

// readReply reads one reply of protocol version 2.
func readReply(r *bufio.Reader) (any, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, text := line[0], strings.TrimSuffix(line[1:], "\r\n")
	switch kind {
	case '+':
		return text, nil
	case '-':
		return Error(text), nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return nil, fmt.Errorf("unexpected reply %q", line)
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case kind == '$':
		b := make([]byte, n+2)
		_, err := io.ReadFull(r, b)
		return string(b[:n]), err
	case kind == '*':
		list := make([]any, n)
		for i := range list {
			if list[i], err = readReply(r); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	return nil, fmt.Errorf("unexpected reply %q", line)
}
