package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"
)

// backlog is what a consumer handles: so many entries of streams, for a group
// that is new.
type backlog struct {
	server  *server
	db      int
	streams []string
	group   string
	entries int
	held    int // entries before those, which another consumer of the group has
}

// stream is the only one, for consumers that know no more.
func (b backlog) stream() string { return b.streams[0] }

// consume handles and acknowledges all entries of the backlog, waiting for
// those that are still to come, and returns. It calls handle for each, with
// the id of the user that the event is about, "" where it does not decode the
// event's data; calls may be concurrent.
type consume func(ctx context.Context, b backlog, handle func(user string)) error

var groups atomic.Int64

// fresh is the backlog for a group of its own.
func (b backlog) fresh() backlog {
	b.group = fmt.Sprintf("group-%d", groups.Add(1))
	return b
}

// handled runs a consumer over the backlog and checks that it did the work.
func (b backlog) handled(ctx context.Context, c consume) error {
	var count atomic.Int64
	if err := c(ctx, b, func(string) { count.Add(1) }); err != nil {
		return err
	}
	return b.check(int(count.Load()))
}

// check fails unless every entry was handled and acknowledged.
func (b backlog) check(handled int) error {
	if handled != b.entries {
		return fmt.Errorf("handled %d of %d entries", handled, b.entries)
	}
	c, err := dial(b.server.Addr(), b.db)
	if err != nil {
		return err
	}
	defer c.close()
	for _, stream := range b.streams { // in one pipeline: it is within what is measured
		c.send("XPENDING", stream, b.group)
	}
	if err := c.flush(); err != nil {
		return err
	}
	pending := 0
	for range b.streams {
		n, err := c.pendingReply()
		if err != nil {
			return err
		}
		pending += n
	}
	if pending != b.held {
		return fmt.Errorf("%d entries are pending, %d of them another consumer's", pending, b.held)
	}
	return nil
}

// hold makes the group, where entries of it are to be held, and has another
// consumer read those.
func (b backlog) hold(consumer string) error {
	if b.held == 0 {
		return nil
	}
	c, err := dial(b.server.Addr(), b.db)
	if err != nil {
		return err
	}
	defer c.close()
	if err := c.do("XGROUP", "CREATE", b.stream(), b.group, "0"); err != nil {
		return err
	}
	const page = 10_000
	for from := 0; from < b.held; from += page {
		count := min(page, b.held-from)
		if err := c.do("XREADGROUP", "GROUP", b.group, consumer, "COUNT", fmt.Sprint(count), "STREAMS", b.stream(), ">"); err != nil {
			return err
		}
	}
	return nil
}

// forget removes the group, so that later runs are not slowed by what it is.
func (b backlog) forget() error {
	c, err := dial(b.server.Addr(), b.db)
	if err != nil {
		return err
	}
	defer c.close()
	for _, stream := range b.streams {
		if err := c.do("XGROUP", "DESTROY", stream, b.group); err != nil {
			return err
		}
	}
	return nil
}

// drained makes a contender of a consumer: each run is a new group's.
func (b backlog) drained(name string, c consume) contender {
	return contender{name: name, messages: b.entries, run: func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
		defer cancel()
		run := b.fresh()
		if err := run.handled(ctx, c); err != nil {
			return err
		}
		return run.forget()
	}}
}

// userData is what peers decode the event's data to: the fields of the typed
// payload.
type userData struct {
	UserID    string    `json:"userId"`
	Email     string    `json:"email"`
	FirstName string    `json:"firstName"`
	LastName  string    `json:"lastName"`
	Name      string    `json:"name"`
	IsActive  *bool     `json:"isActive"`
	CreatedAt time.Time `json:"createdAt"`
}

func decodeUser(data string) (userData, error) {
	var u userData
	err := json.Unmarshal([]byte(data), &u)
	return u, err
}

// acknowledged waits until nothing of the backlog's stream is pending.
func (b backlog) acknowledged(ctx context.Context) error {
	c, err := dial(b.server.Addr(), b.db)
	if err != nil {
		return err
	}
	defer c.close()
	for ctx.Err() == nil {
		n, err := c.pending(b.stream(), b.group)
		if err != nil || n == 0 {
			return err
		}
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}
