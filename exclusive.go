package freshet

import (
	"context"
	"errors"
	"time"

	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/redisstream"
)

var errLeaseLost = errors.New("the group's exclusive lease was lost")

// runExclusive stands by until the group's lease is free, consumes while it
// holds it, and stands by again when it lost it.
func (c *Consumer) runExclusive(ctx context.Context, group *redisstream.Group, untilDrained bool) error {
	standing := false
	for {
		token, ok, err := c.bus.client.AcquireLease(ctx, c.cfg.Group, c.name, c.cfg.Lease)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			c.log.Warn("exclusive lease", "error", err)
		case ok:
			c.fence = token
			c.log.Info("active", "consumer", c.name, "fence", token)
			err = c.runLeased(ctx, group, token, untilDrained)
			if !errors.Is(err, errLeaseLost) {
				return err
			}
			c.log.Warn("standing by", "consumer", c.name, "error", err)
			standing = true
		case !standing:
			standing = true
			c.log.Info("standing by: another consumer of the group is active", "consumer", c.name)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(c.cfg.Lease / 10):
		}
	}
}

// runLeased runs an engine for as long as the lease is held, and releases it
// after the drain, so that a standby takes over at once.
func (c *Consumer) runLeased(ctx context.Context, group *redisstream.Group, token int64, untilDrained bool) error {
	engine, err := c.newEngine(group, untilDrained)
	if err != nil {
		return err
	}
	defer c.retire(engine)

	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.renewLease(renewing, engine, token)
	}()
	err = engine.Run(ctx)
	stop()
	<-done
	if errors.Is(err, errLeaseLost) {
		return err
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if releaseErr := c.bus.client.ReleaseLease(release, c.cfg.Group, token); releaseErr != nil {
		c.log.Warn("exclusive lease not released, a standby waits for it to run out", "error", releaseErr)
	}
	return err
}

// renewLease keeps the lease until ctx ends. It aborts the engine when the
// lease is another's, or could not be renewed for as long as it lasts.
func (c *Consumer) renewLease(ctx context.Context, engine *delivery.Engine, token int64) {
	held := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(c.cfg.Lease / 3):
		}
		start := time.Now()
		call, cancel := context.WithTimeout(ctx, c.cfg.Lease/3)
		ok, err := c.bus.client.RenewLease(call, c.cfg.Group, token, c.cfg.Lease)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && ok:
			held = start
		case err == nil || time.Since(held) >= c.cfg.Lease*9/10:
			engine.Abort(errLeaseLost)
			return
		}
	}
}
