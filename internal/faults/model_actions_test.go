//go:build model

package faults

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/repair"
)

// What may happen to consumers, streams and events.

// publish publishes some events, one after the other.
func (m *model) publish() {
	for range rapid.IntRange(1, 6).Draw(m.T, "n") {
		m.one(rapid.SampledFrom(modelKinds).Draw(m.T, "kind"), rapid.SampledFrom(loadStreams).Draw(m.T, "stream"))
	}
}

func (m *model) one(kind, stream string) {
	m.mu.Lock()
	e := &modelEvent{n: len(m.events), kind: kind, stream: stream, of: fmt.Sprint("user-", len(m.events)%5)}
	m.events = append(m.events, e)
	m.mu.Unlock()
	if kind == "undecodable" {
		id := m.server.Do("XADD", stream, "*", "eventType", "user_created", "tenantId", "acme", "entityId", e.of, "data", `{"userId":`)
		m.placed(e, id.(string))
		return
	}
	name := strconv.Itoa(e.n)
	var payload events.Payload = events.UserCreated{UserID: e.of, Email: name, CreatedAt: time.Unix(1, 0)}
	if stream == loadStreams[1] {
		payload = events.UserDeactivated{UserID: e.of, Email: name}
	}
	receipt, err := m.bus.Publish(context.Background(), "acme", payload)
	if err != nil {
		m.givenUp("a publish: %v", err)
	}
	m.placed(e, receipt.ID)
}

func (m *model) placed(e *modelEvent, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.id = id
	m.note("published %d: %s, %s, %s %s", e.n, e.kind, e.of, e.stream, e.id)
}

// living returns the consumers that run.
func (m *model) living() []*modelConsumer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(m.consumers), func(c *modelConsumer) bool { return c.gone })
}

// anyone returns a consumer that runs, nil when there is none.
func (m *model) anyone() *modelConsumer {
	living := m.living()
	if len(living) == 0 {
		return nil
	}
	return living[rapid.IntRange(0, len(living)-1).Draw(m.T, "consumer")]
}

func (m *model) start() {
	if len(m.living()) == 3 {
		return
	}
	tr := &trial{ctx: context.Background()}
	c := &modelConsumer{
		app: fmt.Sprint("model-", len(m.consumers)), proxy: tr.proxy(m.addr),
		ended: make(chan struct{}), dead: make(chan struct{}), orders: map[string]*modelOrder{},
	}
	bus, err := freshet.Open(tr.ctx, freshet.Config{URL: c.proxy.url(), App: c.app, Log: m.logOf(c)})
	if err != nil {
		m.fail("%v", err)
	}
	c.Consumer = bus.Consumer(freshet.ConsumerConfig{
		Group: modelGroup, Streams: loadStreams, MaxAttempts: modelAttempts,
		HandlerTimeout: modelLease / 2, Lease: modelLease, BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond,
		Concurrency: 4, MaxInFlight: 20, DrainTimeout: 20 * time.Second,
	})
	freshet.On(c.Consumer, func(ctx context.Context, e *freshet.Event[events.UserCreated]) error {
		return m.handle(ctx, c, &e.Delivery, e.Data.Email)
	})
	freshet.On(c.Consumer, func(ctx context.Context, e *freshet.Event[events.UserDeactivated]) error {
		return m.handle(ctx, c, &e.Delivery, e.Data.Email)
	})
	var ctx context.Context
	ctx, c.cancel = context.WithCancel(tr.ctx)
	m.mu.Lock()
	m.consumers = append(m.consumers, c)
	m.note("%s starts as %s", c.app, c.Name())
	m.mu.Unlock()
	m.dying.Go(func() {
		c.err = c.Run(ctx)
		close(c.ended)
		bus.Close()
		endOf(tr)
	})
}

// stop stops a consumer as SIGTERM does. It must leave no trace, but for
// events that wait for their next attempt.
func (m *model) stop() {
	c := m.anyone()
	if c == nil {
		return
	}
	m.tell("%s stops", c.app)
	c.cancel()
	select {
	case <-c.ended:
	case <-time.After(time.Minute):
		m.fail("a consumer does not stop")
	}
	m.mu.Lock()
	c.gone = true
	m.mu.Unlock()
	if c.err != nil && !errors.Is(c.err, context.Canceled) { // as it is when it was still connecting
		m.givenUp("a consumer that was stopped: %v", c.err)
	}
	for _, key := range m.streams() {
		list, _ := m.server.Do("XINFO", "CONSUMERS", key, modelGroup).([]any)
		for _, info := range list {
			info := info.([]any)
			if field(info, "name") == c.Name() && slices.Contains(info, any("pending")) && info[slices.Index(info, any("pending"))+1] == int64(0) {
				m.givenUp("a consumer that was stopped and holds nothing is still in the group on %s", key)
			}
		}
	}
}

// crash cuts a consumer off while it has events in hand, before or after their
// effects.
func (m *model) crash() {
	c := m.anyone()
	if c == nil {
		return
	}
	m.mu.Lock()
	c.stuck = rapid.SampledFrom([]stuck{beforeEffect, afterEffect}).Draw(m.T, "stuck")
	m.mu.Unlock()
	m.publish()
	for deadline := time.Now().Add(modelLease / 4); time.Now().Before(deadline) && !m.holds(c); {
		time.Sleep(time.Millisecond)
	}
	m.kill(c)
}

// cut has a consumer's connection reset instead of the reply to its next read,
// while events are published.
func (m *model) cut() {
	c := m.anyone()
	if c == nil {
		return
	}
	asked, told := false, false
	c.proxy.at(func(command []string) harm {
		if asked || command[0] != "XREADGROUP" {
			return none
		}
		asked = true
		return cutAfter
	})
	c.proxy.watching(func(command []string, reply []byte) {
		if asked && !told && len(command) > 0 && command[0] == "XREADGROUP" {
			told = true
			m.mu.Lock()
			defer m.mu.Unlock()
			c.cut += string(reply)
			m.note("%s loses a reply", c.app)
		}
	})
	m.publish()
}

// kill ends a consumer at once: nothing that it does has an effect any more.
func (m *model) kill(c *modelConsumer) {
	m.tell("%s dies", c.app)
	m.mu.Lock()
	c.gone = true
	m.mu.Unlock()
	defer c.cancel()
	c.proxy.close()
	// What the server has received of it may still be to be done. Only after
	// that do its handlers fail because it is dead: nobody may hear of it.
	for deadline := time.Now().Add(30 * time.Second); strings.Contains(m.server.Do("CLIENT", "LIST").(string), "name="+c.app+" "); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			m.fail("the connections of %s do not end", c.app)
		}
	}
	m.mu.Lock()
	close(c.dead)
	for _, e := range m.events {
		if e.done == 0 {
			e.hindered = true // it may have died between the start of an attempt and the handler's
		}
	}
	m.mu.Unlock()
}

// holds tells whether a consumer has something pending.
func (m *model) holds(c *modelConsumer) bool {
	for _, key := range m.streams() {
		for _, owner := range owners(m.server, key, modelGroup) {
			if owner == c.Name() {
				return true
			}
		}
	}
	return false
}

// deadNames returns the names of consumers that do not run.
func (m *model) deadNames() (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.consumers {
		if c.gone {
			names = append(names, c.Name())
		}
	}
	return names
}

// trim deletes entries that are pending with dead consumers. They are lost,
// and must be counted, each once.
func (m *model) trim() {
	stream := rapid.SampledFrom(loadStreams).Draw(m.T, "stream")
	before := m.lostTrimmed()
	ids := m.server.Do(append([]string{"EVAL", `
local dead, ids = {}, {}
for i = 2, #ARGV do dead[ARGV[i]] = true end
if redis.call('EXISTS', KEYS[1]) == 0 or #redis.call('XINFO', 'GROUPS', KEYS[1]) == 0 then return ids end
for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000)) do
  if dead[p[2]] and redis.call('XDEL', KEYS[1], p[1]) == 1 then ids[#ids + 1] = p[1] end
end
return ids`, "1", stream, modelGroup}, m.deadNames()...)...)
	list, ok := ids.([]any)
	if !ok {
		m.fail("trim: %v", ids)
	}
	if len(list) == 0 {
		return
	}
	var trimmed []*modelEvent
	m.mu.Lock()
	for _, e := range m.events {
		if e.stream == stream && slices.Contains(list, any(e.id)) {
			e.trimmed = true
			trimmed = append(trimmed, e)
			m.note("trimmed %d", e.n)
		}
	}
	m.mu.Unlock()
	disturbed := m.quiet()
	var counted, atLeast int64
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		counted, atLeast = m.lostTrimmed()-before, int64(len(list))
		if disturbed {
			atLeast -= m.found(trimmed)
		}
		if counted >= atLeast {
			break
		}
	}
	if counted < atLeast || counted > int64(len(list)) {
		m.fail("%d pending entries were trimmed and %d counted, at least %d are lost", len(list), counted, atLeast)
	}
}

// found counts those of the events that were handled or dead-lettered: by a
// consumer that had lost its lease, did not know, and had them in hand.
func (m *model) found(events []*modelEvent) (n int64) {
	letters := m.letters()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range events {
		if e.done > 0 || len(letters[e.place()]) > 0 {
			n++
		}
	}
	return n
}

func (m *model) lostTrimmed() (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.consumers {
		n += c.Stats().LostTrimmed
	}
	return n
}

// destroy destroys the group on a stream, while a consumer runs and nothing is
// pending with one that does not: the group's knowledge of that is gone.
func (m *model) destroy() {
	if len(m.living()) == 0 {
		return
	}
	stream := rapid.SampledFrom(loadStreams).Draw(m.T, "stream")
	m.upheaval()
	m.server.Do(append([]string{"EVAL", `
local dead = {}
for i = 2, #ARGV do dead[ARGV[i]] = true end
if redis.call('EXISTS', KEYS[1]) == 0 or #redis.call('XINFO', 'GROUPS', KEYS[1]) == 0 then return 0 end
for _, p in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1000)) do
  if dead[p[2]] then return 0 end
end
return redis.call('XGROUP', 'DESTROY', KEYS[1], ARGV[1])`, "1", stream, modelGroup}, m.deadNames()...)...)
	m.quiet()
}

// upheaval is told before a group or a stream goes. Until all is quiet, events
// may come again, whose attempts are counted anew, and in another order.
func (m *model) upheaval() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.muddled = true
	m.upheavals++
	m.markAgain()
}

// markAgain notes that what there is may come again.
func (m *model) markAgain() {
	for _, e := range m.events {
		e.again = true
	}
}

// deleteStream deletes a stream. What was not settled by then may be lost.
func (m *model) deleteStream() {
	stream := rapid.SampledFrom(loadStreams).Draw(m.T, "stream")
	letters := m.letters()
	m.mu.Lock()
	for _, e := range m.events {
		if e.stream == stream && e.done == 0 && !e.redriven && len(letters[e.place()]) == 0 {
			e.gone = true
		}
	}
	m.mu.Unlock()
	m.upheaval()
	m.server.Do("DEL", stream)
	// Ids are of the server's clock: none may come twice.
	for deleted := m.clock(); m.clock() == deleted; {
		time.Sleep(time.Millisecond / 4)
	}
}

// clock returns the server's time in milliseconds.
func (m *model) clock() string {
	now := m.server.Do("TIME").([]any)
	return now[0].(string) + fmt.Sprintf("%06s", now[1].(string))[:3]
}

// redrive redrives all dead letters. Some were mended; the others come back.
func (m *model) redrive() {
	mended := rapid.Bool().Draw(m.T, "mended")
	letters := m.letters()
	var refs []inspect.DeadLetterRef
	m.mu.Lock()
	for _, e := range m.events {
		for i, l := range letters[e.place()] {
			refs = append(refs, l.DeadLetterRef)
			e.redriven, e.calls = true, -i*modelAttempts // each has its attempts
			e.mended = e.mended || mended && e.kind != "undecodable"
		}
	}
	m.mu.Unlock()
	result, err := m.repairer.Redrive(context.Background(), refs, repair.RedriveConfig{})
	if err != nil || result.Redriven != len(refs) {
		m.fail("%d dead letters redriven: %+v, %v", len(refs), result, err)
	}
}
