package faults

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

// consumer consumes load in this process.
type consumer struct {
	*freshet.Consumer
	journal journal
	log     output
	cancel  context.CancelFunc
	ended   chan struct{}
	err     error // of Run, once it has ended
}

// consume starts a consumer whose handlers do work, nil for nothing, and
// write it into the journal. It is stopped at the end of the trial.
func (t *trial) consume(url string, cfg freshet.ConsumerConfig, work func(context.Context, *freshet.Delivery) error) *consumer {
	c := &consumer{ended: make(chan struct{})}
	log := slog.New(slog.NewTextHandler(&c.log, nil))
	bus, err := freshet.Open(t.ctx, freshet.Config{URL: url, PasswordFile: t.password, App: "faults", Log: log})
	t.must(err)
	if len(cfg.Streams) == 0 {
		cfg.Streams = loadStreams
	}
	c.Consumer = bus.Consumer(cfg)
	handle := func(ctx context.Context, d *freshet.Delivery) error {
		if err := c.journal.add(d, false); err != nil {
			return err
		}
		if work != nil {
			if err := work(ctx, d); err != nil {
				return err
			}
		}
		return c.journal.add(d, true)
	}
	on(c.Consumer, handle)
	ctx, cancel := context.WithCancel(t.ctx)
	c.cancel = cancel
	go func() {
		defer close(c.ended)
		defer bus.Close()
		c.err = c.Run(ctx)
	}()
	t.atEnd(c.stop)
	return c
}

// on registers handle for all types of load.
func on(c *freshet.Consumer, handle freshet.Handler) {
	freshet.On(c, func(ctx context.Context, e *freshet.Event[events.UserCreated]) error { return handle(ctx, &e.Delivery) })
	freshet.On(c, func(ctx context.Context, e *freshet.Event[events.UserDeactivated]) error {
		return handle(ctx, &e.Delivery)
	})
}

// stop ends the consumer and waits for its end.
func (c *consumer) stop() {
	c.cancel()
	<-c.ended
}

// steady waits until the consumer keeps up with load.
func (t *trial) steady(j *journal, n int) {
	t.until("the consumer is at work", 20*time.Second, func() bool { return len(j.effects()) >= n })
}

var errOnPurpose = errors.New("on purpose")
