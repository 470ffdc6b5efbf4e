package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redisstream"
)

// PruneConfig says which consumers are removed.
type PruneConfig struct {
	Streams []string      // keys or Redis globs
	Group   string        // whose consumers
	Idle    time.Duration // that have asked for nothing for longer; required, above the time within which a consumer is live

	// To names the consumer that gets what a removed one held. Default the one
	// that was seen last, if any is live.
	To string

	DryRun bool // change nothing
}

// PrunedConsumer is a consumer that has been silent for long, and what became
// of it.
type PrunedConsumer struct {
	Stream, Group, Name string
	Idle                time.Duration
	Pending             int64  // entries that it held
	To                  string // consumer that gets these; "" when there is none
	Moved               int64  // entries that were given to To
	Gone                int64  // entries that the stream has no longer; they are not pending any more
	Removed             bool   // the consumer; in a dry run, whether it would be
	Err                 error  // why it was not dealt with
}

// PruneConsumers removes consumers that have been silent for long. The pending
// entries of one are given to a live consumer first, as they are and in atomic
// steps; without a live one the consumer stays, and its entries with it. No
// pending entry of the stream is ever dropped.
//
// A stream that has not the group is left out. The error says that the streams
// could not be listed or looked at; what was done before it is returned.
func (r *Repairer) PruneConsumers(ctx context.Context, cfg PruneConfig) ([]PrunedConsumer, error) {
	switch {
	case cfg.Group == "":
		return nil, errors.New("prune consumers: a group is required")
	case cfg.Idle < inspect.DefaultLiveWithin:
		return nil, fmt.Errorf("prune consumers: idle must be at least %s, within which a consumer is live", inspect.DefaultLiveWithin)
	}
	streams, err := r.client.Keys(ctx, cfg.Streams)
	if err != nil {
		return nil, fmt.Errorf("prune consumers of group %s: %w", cfg.Group, err)
	}
	groups := make([]redisstream.GroupRef, len(streams))
	for i, s := range streams {
		groups[i] = redisstream.GroupRef{Stream: s, Group: cfg.Group}
	}
	var all []PrunedConsumer
	found := false
	for i, answer := range r.client.Consumers(ctx, groups) {
		if redisstream.ClassOf(answer.Err) == redisstream.NoGroup {
			continue
		}
		if answer.Err != nil {
			return all, fmt.Errorf("consumers of group %s on %s: %w", cfg.Group, streams[i], answer.Err)
		}
		found = true
		for _, consumer := range answer.Value {
			if consumer.Idle > cfg.Idle && consumer.Name != cfg.To {
				pruned := PrunedConsumer{
					Stream: streams[i], Group: cfg.Group, Name: consumer.Name,
					Idle: consumer.Idle, Pending: consumer.Pending, To: recipient(answer.Value, cfg.To),
				}
				r.prune(ctx, &pruned, cfg)
				all = append(all, pruned)
			}
		}
	}
	if !found {
		return nil, fmt.Errorf("prune consumers of group %s: %w", cfg.Group, ErrNoGroup)
	}
	return all, context.Cause(ctx)
}

// RemoveConsumer removes one consumer that holds nothing and has asked for
// nothing for longer than idle, which must be above the time within which a
// consumer is live. It is removed in one atomic step with the look whether it
// still is so; removed is false where it is not, or has gone.
func (r *Repairer) RemoveConsumer(ctx context.Context, stream, group, consumer string, idle time.Duration) (removed bool, err error) {
	if idle < inspect.DefaultLiveWithin {
		return false, fmt.Errorf("remove consumer: idle must be at least %s, within which a consumer is live", inspect.DefaultLiveWithin)
	}
	return r.client.RemoveConsumer(ctx, stream, group, consumer, idle)
}

// recipient returns the consumer that gets pending entries: the one asked for,
// or the one that was seen last, if it is live.
func recipient(consumers []redisstream.ConsumerInfo, asked string) string {
	live := slices.DeleteFunc(slices.Clone(consumers), func(c redisstream.ConsumerInfo) bool {
		return c.Idle > inspect.DefaultLiveWithin || asked != "" && c.Name != asked
	})
	if len(live) == 0 {
		return ""
	}
	return slices.MinFunc(live, func(a, b redisstream.ConsumerInfo) int { return cmp.Compare(a.Idle, b.Idle) }).Name
}

func (r *Repairer) prune(ctx context.Context, p *PrunedConsumer, cfg PruneConfig) {
	if p.Pending > 0 && p.To == "" {
		p.Err = errors.New("it holds pending entries, and there is no live consumer to give them to: start one, or name one")
		return
	}
	if cfg.DryRun {
		p.Removed = true
		return
	}
	for p.Pending > 0 {
		moved, gone, err := r.client.Move(ctx, p.Stream, p.Group, p.Name, p.To, cfg.Idle, inspect.DefaultLiveWithin, batch)
		p.Moved, p.Gone = p.Moved+moved, p.Gone+gone
		if err != nil {
			p.Err = err
			return
		}
		if moved+gone == 0 {
			break
		}
	}
	p.Removed, p.Err = r.client.RemoveConsumer(ctx, p.Stream, p.Group, p.Name, cfg.Idle)
	if p.Err == nil && !p.Removed {
		p.Err = redisstream.ErrConsumer
	}
}
