package main

import (
	"context"
	"fmt"
)

const rawCount = 1000 // entries of one read

// consumeRaw is the limit of the machine: the protocol by hand, replies
// stepped over, nothing decoded, acknowledgments in one command a read.
// With overlap there are two reads in flight, so that the server works while
// the client does; the acknowledgment of a read goes ahead of the read after
// the next.
func consumeRaw(overlap bool) consume {
	return func(ctx context.Context, b backlog, handle func(string)) error {
		c, err := dial(b.server.Addr(), b.db)
		if err != nil {
			return err
		}
		defer c.close()
		defer context.AfterFunc(ctx, c.close)()
		if err := c.do("XGROUP", "CREATE", b.stream(), b.group, "0"); err != nil {
			return err
		}
		read := appendCommand(nil, "XREADGROUP", "GROUP", b.group, "raw", "COUNT", fmt.Sprint(rawCount), "STREAMS", b.stream(), ">")
		ahead := 0 // reads in flight beside the one that is waited for
		if overlap {
			ahead = 1
		}
		// Replies come in the order of what was sent: the reads of the start,
		// then an acknowledgment's and a read's in turn.
		for range 1 + ahead {
			c.out = append(c.out, read...)
		}
		if err := c.flush(); err != nil {
			return err
		}
		acks, first := 0, 1+ahead // acknowledgments in flight; reads without one before them
		for done := 0; done < b.entries; {
			if first > 0 {
				first--
			} else if _, err := c.skip(); err != nil {
				return err
			} else {
				acks--
			}
			n, err := c.entries(b.stream(), b.group)
			if err != nil {
				return err
			}
			if n == 0 {
				return fmt.Errorf("the stream ended after %d entries", done)
			}
			for range n {
				handle("")
			}
			done += n
			acks++
			if done < b.entries {
				c.out = append(c.out, read...)
			}
			if err := c.flush(); err != nil {
				return err
			}
		}
		// What is still to come: a read that found nothing, and acknowledgments.
		for range acks + ahead {
			if _, err := c.skip(); err != nil {
				return err
			}
		}
		return nil
	}
}

// entries steps over the reply to a read of one stream and appends the
// command that acknowledges what it held.
func (c *conn) entries(stream, group string) (int, error) {
	kind, n, err := c.header()
	switch {
	case err != nil:
		return 0, err
	case kind != '*' || n < 0:
		return 0, nil // nothing to read
	}
	if _, _, err := c.header(); err != nil { // the stream, as a pair
		return 0, err
	}
	if _, err := c.skip(); err != nil { // its key
		return 0, err
	}
	_, count, err := c.header()
	if err != nil {
		return 0, err
	}
	c.out = appendHeader(c.out, '*', 3+count)
	for _, arg := range []string{"XACK", stream, group} {
		c.out = appendHeader(c.out, '$', len(arg))
		c.out = append(append(c.out, arg...), "\r\n"...)
	}
	var buf [64]byte
	for range count {
		if _, _, err := c.header(); err != nil { // an entry, as a pair
			return 0, err
		}
		id, err := c.bulk(buf[:])
		if err != nil {
			return 0, err
		}
		c.out = appendHeader(c.out, '$', len(id))
		c.out = append(append(c.out, id...), "\r\n"...)
		if _, err := c.skip(); err != nil { // its fields
			return 0, err
		}
	}
	return count, nil
}

// pending is how many entries the group has out.
func (c *conn) pending(stream, group string) (int, error) {
	c.send("XPENDING", stream, group)
	if err := c.flush(); err != nil {
		return 0, err
	}
	return c.pendingReply()
}

// pendingReply reads the reply to XPENDING.
func (c *conn) pendingReply() (int, error) {
	if _, _, err := c.header(); err != nil {
		return 0, err
	}
	_, n, err := c.header()
	for range 3 { // the first and last id, and the consumers
		if err == nil {
			_, err = c.skip()
		}
	}
	return n, err
}
