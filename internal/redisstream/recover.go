package redisstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/wire"
)

// failure turns an error about streams into what the engine is to know. A
// lost group is created again first, and a key that is no stream is set aside.
func (g *Group) failure(ctx context.Context, what string, err error, streams ...string) error {
	err = fmt.Errorf("%s: %w", what, err)
	g.lookForLossesSoon()
	switch ClassOf(err) {
	case NoGroup:
		if recreateErr := g.recreate(ctx, streams); recreateErr != nil {
			return errors.Join(err, recreateErr)
		}
		return errors.Join(err, delivery.ErrLost)
	case Unreachable:
		g.unanswered(streams)
	case WrongType:
		if checkErr := g.setAside(ctx, streams); checkErr != nil {
			return errors.Join(err, checkErr)
		}
	}
	return err
}

// replaced tells whether a call failed because the stream's key holds something
// else by now. Nothing of the stream can be settled any more then.
func (g *Group) replaced(stream string, err error) bool {
	return ClassOf(err) == WrongType && !g.subscribed(stream)
}

// recreate creates the group on those of the streams where it is missing.
// When it is missing nowhere, the slot has moved in the cluster, or another
// goroutine or consumer was quicker.
func (g *Group) recreate(ctx context.Context, streams []string) error {
	// Once begun it is finished: a call that was given up might have its effect
	// after this consumer has left.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), silence, errNoAnswer)
	defer cancel()
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
	kept, err := g.kept(ctx, []string{name})
	if err != nil {
		return err
	}
	if found {
		return g.rejoin(ctx, name, at, kept[0].Pruned)
	}
	cursor, _ := g.cursor(name, kept[0])
	// A stream whose last id is below what was delivered is another one that
	// has taken its place: all of it is new.
	end, err := g.c.end(ctx, name)
	if err != nil {
		return err
	}
	anew := g.delivered(name).Compare(end) > 0
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
	g.noteRecreated(name, cursor)
	return g.enter(ctx, []string{name})
}

func (g *Group) noteRecreated(stream string, at wire.ID) {
	g.losses.recreated.Add(1)
	g.mu.Lock()
	g.streams[stream].madeAgain = time.Now()
	g.mu.Unlock()
	g.log.Warn("group or stream was gone, created again", "stream", stream, "group", g.cfg.Group, "at", at.String())
}

// rejoin looks whether a group that is there is the one that this consumer was
// in, for a group that was created again does not have it. Then what this one
// had in hand is pending nowhere, and the group is moved back to it. One from
// which it may have been removed, for having been silent, is the same: it held
// nothing then.
func (g *Group) rejoin(ctx context.Context, name string, at wire.ID, pruned int64) error {
	g.mu.Lock()
	joined, removed := g.streams[name].joined, g.streams[name].pruned != pruned
	g.mu.Unlock()
	if !joined {
		return nil
	}
	replies := g.c.doMulti(ctx, g.countEntry(name), g.createConsumer(name))
	g.noteEntry(name, replies[0])
	created, err := replies[1].AsInt64()
	if err != nil || created == 0 {
		return err
	}
	if removed {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.streams[name].open.clear()
		g.streams[name].pruned = pruned
		return nil
	}
	return g.moveBack(ctx, name, at)
}

// moveBack moves a group that another has created again, and that was given
// entries up to at since, back to what this consumer had in hand.
func (g *Group) moveBack(ctx context.Context, name string, at wire.ID) error {
	_, lowest := g.cursor(name, Kept{})
	if lowest == (wire.ID{}) || lowest.Compare(at) > 0 {
		return nil
	}
	back := lowest.Prev().String()
	err := g.c.do(ctx, g.c.rc.B().XgroupSetid().Key(name).Group(g.cfg.Group).Id(back).Build()).Error()
	if err == nil {
		g.losses.recreated.Add(1)
		g.log.Warn("group was created again by another consumer, moved back to what this one had in hand", "stream", name, "group", g.cfg.Group, "at", back)
	}
	return err
}

// unanswered notes that a call about streams got no answer.
func (g *Group) unanswered(streams []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, name := range streams {
		if s := g.streams[name]; s != nil {
			s.unanswered++
		}
	}
}

func (g *Group) answered(stream string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.streams[stream]; s != nil {
		s.unanswered = 0
	}
}

// patience is how long the next look at a stream waits for the server, and
// whether it asks again meanwhile. After a call that got no answer the same
// server may soon be reached over a new connection, and it is better to ask
// again than to wait; one that is just slow gets more time by and by. In a
// cluster another node may serve the stream at any moment, and the first few
// looks ask again until it does.
func (g *Group) patience(stream string) (limit time.Duration, again bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.streams[stream]
	switch {
	case s == nil || s.unanswered == 0:
		return silence, false
	case g.c.cluster && s.unanswered <= 3:
		return silence, true
	}
	return min(300*time.Millisecond+time.Duration(s.unanswered-1)*100*time.Millisecond, silence), false
}

// askAgain is how long insist waits for an answer before it asks once more.
const askAgain = 250 * time.Millisecond

// insist makes a call that may be made twice and, if it is to, makes it again
// while there is no answer. The first reply is the answer; an error counts when
// no call is left that may bring one. Calls must end by themselves.
func insist(again bool, call func() rueidis.RedisResult) rueidis.RedisResult {
	if !again {
		return call()
	}
	replies := make(chan rueidis.RedisResult)
	done := make(chan struct{})
	defer close(done)
	ticker := time.NewTicker(askAgain)
	defer ticker.Stop()
	ask := func() {
		go func() {
			reply := call()
			select {
			case replies <- reply:
			case <-done:
			}
		}()
	}
	ask()
	for asked := 1; ; {
		select {
		case reply := <-replies:
			if asked--; asked == 0 || ClassOf(reply.Error()) != Unreachable {
				return reply
			}
		case <-ticker.C:
			ask()
			asked++
		}
	}
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
