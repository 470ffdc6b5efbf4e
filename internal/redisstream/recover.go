package redisstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/wire"
)

// failure turns an error about streams into what the engine is to know. A
// lost group is created again first, and a key that is no stream is set aside.
func (g *Group) failure(ctx context.Context, what string, err error, streams ...string) error {
	err = fmt.Errorf("%s: %w", what, err)
	switch ClassOf(err) {
	case NoGroup:
		if recreateErr := g.recreate(ctx, streams); recreateErr != nil {
			return errors.Join(err, recreateErr)
		}
		return errors.Join(err, delivery.ErrLost)
	case WrongType:
		if checkErr := g.setAside(ctx, streams); checkErr != nil {
			return errors.Join(err, checkErr)
		}
	}
	return err
}

// recreate creates the group on those of the streams where it is missing.
// When it is missing nowhere, the slot has moved in the cluster, or another
// goroutine or consumer was quicker.
func (g *Group) recreate(ctx context.Context, streams []string) error {
	g.recovering.Lock()
	defer g.recovering.Unlock()
	var errs []error
	for _, name := range streams {
		if err := g.recreateOn(ctx, name); err != nil {
			errs = append(errs, fmt.Errorf("re-create group on %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (g *Group) recreateOn(ctx context.Context, name string) error {
	at, found, err := g.lastDelivered(ctx, name)
	if ClassOf(err) == WrongType {
		g.subscribe(name, true)
		return nil
	}
	if err != nil {
		return err
	}
	cursor, lowest := g.cursor(name)
	if found {
		return g.lower(ctx, name, at, lowest)
	}
	// A stream whose last id is below what was delivered is another one that
	// has taken its place: all of it is new.
	last, err := g.c.Last(ctx, name)
	if err != nil {
		return err
	}
	anew := g.delivered(name).Compare(last) > 0
	if anew {
		cursor = wire.ID{}
		g.forget(name)
	}
	err = g.c.do(ctx, g.createGroup(name, cursor.String())).Error()
	if rueidis.IsRedisBusyGroup(err) {
		return nil
	}
	if err != nil {
		return err
	}
	g.losses.Add(1)
	g.log.Warn("group or stream was gone, created again", "stream", name, "group", g.cfg.Group, "at", cursor.String())
	return nil
}

// lower moves a group that another consumer has created again back to what
// this one had not settled. It is left alone when it is the group it was:
// the lowest unsettled entry is pending then.
func (g *Group) lower(ctx context.Context, name string, at, lowest wire.ID) error {
	if lowest == (wire.ID{}) || lowest.Compare(at) > 0 {
		return nil
	}
	id := lowest.String()
	pending, err := g.c.do(ctx, g.c.rc.B().Xpending().Key(name).Group(g.cfg.Group).Start(id).End(id).Count(1).Build()).ToArray()
	if err != nil || len(pending) > 0 {
		return err
	}
	err = g.c.do(ctx, g.c.rc.B().XgroupSetid().Key(name).Group(g.cfg.Group).Id(lowest.Prev().String()).Build()).Error()
	if err == nil {
		g.losses.Add(1)
		g.log.Warn("group was created again by another consumer, moved back to what this one had in hand", "stream", name, "group", g.cfg.Group, "at", lowest.Prev().String())
	}
	return err
}

func (g *Group) delivered(name string) wire.ID {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.streams[name]; s != nil {
		return s.delivered
	}
	return wire.ID{}
}

// lastDelivered returns the id up to which the group has been given entries
// of a stream; found is false when there is no such group or stream.
func (g *Group) lastDelivered(ctx context.Context, name string) (id wire.ID, found bool, err error) {
	reply := g.c.do(ctx, g.c.rc.B().XinfoGroups().Key(name).Build())
	if ClassOf(reply.Error()) == NoGroup {
		return wire.ID{}, false, nil
	}
	return g.parseLastDelivered(reply)
}

func (g *Group) parseLastDelivered(reply rueidis.RedisResult) (id wire.ID, found bool, err error) {
	groups, err := reply.ToArray()
	if err != nil {
		return wire.ID{}, false, err
	}
	for _, m := range groups {
		info, err := m.AsMap()
		if err != nil {
			return wire.ID{}, false, err
		}
		name, last := info["name"], info["last-delivered-id"]
		if text, _ := name.ToString(); text != g.cfg.Group {
			continue
		}
		text, err := last.ToString()
		if err != nil {
			return wire.ID{}, false, err
		}
		id, err = wire.ParseID(text)
		return id, true, err
	}
	return wire.ID{}, false, nil
}

// setAside sets those of the streams aside whose keys hold something else.
func (g *Group) setAside(ctx context.Context, streams []string) error {
	cmds := make([]rueidis.Completed, len(streams))
	for i, name := range streams {
		cmds[i] = g.c.rc.B().Type().Key(name).Build()
	}
	for i, reply := range g.c.doMulti(ctx, cmds...) {
		kind, err := reply.ToString()
		if err != nil {
			return err
		}
		if kind != "stream" && kind != "none" {
			g.subscribe(streams[i], true)
		}
	}
	return nil
}
