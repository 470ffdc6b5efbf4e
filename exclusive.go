package freshet

import (
	"context"
	"errors"
	"time"

	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/redisstream"
)

var errLeaseLost = errors.New("the group's exclusive lease was lost")

// The lease in Redis lasts for ttl, and a standby tries to take it every poll:
// together they are less than [ConsumerConfig.Lease].
func (c *Consumer) leaseTimes() (ttl, poll time.Duration) {
	return c.cfg.Lease * 8 / 10, c.cfg.Lease / 10
}

// runExclusive stands by until the group's lease is free, consumes while it
// holds it, and stands by again when it lost it.
func (c *Consumer) runExclusive(ctx context.Context, group *redisstream.Group, untilDrained bool) error {
	ttl, poll := c.leaseTimes()
	standing := false
	stand := func(by bool) {
		standing = by
		c.note(func() { c.standing = by })
	}
	for {
		asked := time.Now()
		token, ok, err := c.bus.client.AcquireLease(ctx, c.cfg.Group, c.name, ttl)
		switch {
		case ok: // even where ctx has ended, so that it is released
			c.fence = token
			stand(false)
			c.log.Info("active", "consumer", c.name, "fence", token)
			err = c.runLeased(ctx, group, token, asked, untilDrained)
			if !errors.Is(err, errLeaseLost) {
				return err
			}
			c.log.Warn("standing by", "consumer", c.name, "error", err)
			stand(true)
		case ctx.Err() != nil:
			return nil
		case err != nil:
			stand(false)
			c.log.Warn("exclusive lease", "error", err)
		case !standing:
			stand(true)
			c.log.Info("standing by: another consumer of the group is active", "consumer", c.name)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(poll):
		}
	}
}

// runLeased runs an engine for as long as the lease, which is held since held,
// can be kept, and releases it after the drain, so that a standby takes over
// at once.
func (c *Consumer) runLeased(ctx context.Context, group *redisstream.Group, token int64, held time.Time, untilDrained bool) error {
	engine, err := c.newEngine(group, untilDrained)
	if err != nil {
		return err
	}
	defer c.retire(engine)

	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.renewLease(renewing, engine, token, held)
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
// lease is another's, and before it runs out when it cannot be renewed.
func (c *Consumer) renewLease(ctx context.Context, engine *delivery.Engine, token int64, held time.Time) {
	ttl, poll := c.leaseTimes()
	wait := ttl / 3
	for {
		stop := held.Add(ttl * 9 / 10)
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(wait, time.Until(stop))):
		}
		asked := time.Now()
		call, cancel := context.WithDeadline(ctx, stop)
		ok, err := c.bus.client.RenewLease(call, c.cfg.Group, token, ttl)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && ok:
			held, wait = asked, ttl/3
		case err == nil || !time.Now().Before(stop):
			engine.Abort(errLeaseLost)
			return
		default:
			wait = poll
		}
	}
}
