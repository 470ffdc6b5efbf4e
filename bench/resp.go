package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// conn is a connection that speaks the protocol with as little as can be
// done: commands are appended to out, replies are stepped over in place.
type conn struct {
	net.Conn
	out []byte
	in  *bufio.Reader
}

func dial(addr string, db int) (*conn, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	rc := &conn{Conn: c, in: bufio.NewReaderSize(c, 1<<20)}
	return rc, rc.do("SELECT", strconv.Itoa(db))
}

func (c *conn) close() { _ = c.Conn.Close() }

// send appends a command.
func (c *conn) send(args ...string) { c.out = appendCommand(c.out, args...) }

// flush writes what was appended.
func (c *conn) flush() error {
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	return err
}

// do is a whole command whose reply is of no interest unless it is an error.
func (c *conn) do(args ...string) error {
	c.send(args...)
	if err := c.flush(); err != nil {
		return err
	}
	_, err := c.skip()
	return err
}

func appendCommand(to []byte, args ...string) []byte {
	to = appendHeader(to, '*', len(args))
	for _, a := range args {
		to = appendHeader(to, '$', len(a))
		to = append(to, a...)
		to = append(to, "\r\n"...)
	}
	return to
}

func appendHeader(to []byte, kind byte, n int) []byte {
	to = append(to, kind)
	to = strconv.AppendInt(to, int64(n), 10)
	return append(to, "\r\n"...)
}

// header reads the first line of a reply: its kind and number. The text of an
// error reply is the error.
func (c *conn) header() (kind byte, n int, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, 0, err
	}
	if len(line) < 3 {
		return 0, 0, fmt.Errorf("reply %q: too short", line)
	}
	kind, text := line[0], line[1:len(line)-2]
	switch kind {
	case '-':
		return kind, 0, errors.New(string(text))
	case '+':
		return kind, 0, nil
	}
	negative := text[0] == '-'
	for _, d := range bytes.TrimPrefix(text, []byte("-")) {
		n = n*10 + int(d-'0')
	}
	if negative {
		n = -n
	}
	return kind, n, nil
}

// skip steps over one reply and returns the number it began with.
func (c *conn) skip() (int, error) {
	kind, n, err := c.header()
	if err != nil {
		return 0, err
	}
	switch {
	case kind == '$' && n >= 0:
		_, err = c.in.Discard(n + 2)
	case kind == '*':
		for range n {
			if _, err = c.skip(); err != nil {
				break
			}
		}
	}
	return n, err
}

// bulk reads a bulk string into buf, which is made larger where needed.
func (c *conn) bulk(buf []byte) ([]byte, error) {
	kind, n, err := c.header()
	switch {
	case err != nil:
		return nil, err
	case kind != '$' || n < 0:
		return nil, fmt.Errorf("reply %c%d: want a bulk string", kind, n)
	}
	if cap(buf) < n+2 {
		buf = make([]byte, n+2)
	}
	_, err = io.ReadFull(c.in, buf[:n+2])
	return buf[:n], err
}
