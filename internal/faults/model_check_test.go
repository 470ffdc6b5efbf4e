//go:build model

package faults

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
)

// place is where an event is to be found.
func (e *modelEvent) place() string { return e.stream + " " + e.id }

// modelOrder is what a consumer has done of an entity.
type modelOrder struct {
	running bool
	seen    map[int]bool
	last    *modelEvent // the latest that came in its turn
}

// handle does to an event what its kind says, and checks what holds for each
// call: the number of its attempts, that an entity's events are handled one at
// a time, and their order.
func (m *model) handle(ctx context.Context, c *modelConsumer, d *freshet.Delivery, name string) error {
	n, err := strconv.Atoi(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil || n >= len(m.events) {
		m.wrong("an event named %q was never published", name)
		return nil
	}
	e := m.events[n]
	if c.isDead() {
		return errOnPurpose
	}
	if !m.muddled {
		e.calls++
	}
	e.by = append(e.by, c)
	m.note("%s begins %d, attempt %d", c.app, n, d.Attempt)
	// How often a redriven event was redriven cannot be told where upheavals
	// made several dead letters of it.
	if d.Attempt > modelAttempts || e.calls > modelAttempts && !(e.redriven && m.upheavals > 0) {
		m.wrong("event %d: attempt %d in call %d, at most %d", n, d.Attempt, e.calls, modelAttempts)
	}
	o := c.orders[e.of]
	if o == nil {
		o = &modelOrder{seen: map[int]bool{}}
		c.orders[e.of] = o
	}
	if o.running {
		m.wrong("event %d: another of %s is being handled", n, e.of)
	}
	o.running = true
	defer func() { o.running = false }()
	m.turn(c, o, e, d)

	switch {
	case e.mended:
	case e.kind == "failing":
		return errOnPurpose
	case e.kind == "permanent":
		return freshet.Permanent(errOnPurpose)
	case e.kind == "flaky" && !e.failed:
		e.failed = true
		return errOnPurpose
	}
	if c.stuck == beforeEffect {
		m.wait(ctx, c)
		e.hindered = true
		return errOnPurpose
	}
	e.done++
	if c.stuck == afterEffect {
		m.wait(ctx, c)
	}
	return nil
}

// turn checks that an event comes in its turn: those of an entity come to a
// consumer in the order of their entries, of all streams, but for those that
// it took over, or that were redriven. Those whose reply was lost come in
// their turn too.
func (m *model) turn(c *modelConsumer, o *modelOrder, e *modelEvent, d *freshet.Delivery) {
	first := !o.seen[e.n]
	o.seen[e.n] = true
	cut := strings.Contains(c.cut, fmt.Sprintf(`"email":"%d"`, e.n))
	if !first || d.Attempt > 1 && !cut || e.redriven || m.muddled {
		return
	}
	// Entries of one millisecond are ordered by their ids, which say nothing
	// of the time over several streams.
	if l := o.last; l != nil && l.n > e.n && milliseconds(l.id) > milliseconds(d.ID) {
		if late := fmt.Sprintf("event %d of %s comes after event %d", e.n, e.of, l.n); cut {
			m.late = append(m.late, late)
		} else {
			m.broken = append(m.broken, late)
		}
	}
	o.last = &modelEvent{n: e.n, id: d.ID}
}

func milliseconds(id string) uint64 {
	ms, _ := splitID(id)
	return ms
}

// wait waits, without the lock, until the consumer dies or the handler's time
// is up.
func (m *model) wait(ctx context.Context, c *modelConsumer) {
	m.mu.Unlock()
	defer m.mu.Lock()
	select {
	case <-c.dead:
	case <-ctx.Done():
	}
}

func (c *modelConsumer) isDead() bool {
	select {
	case <-c.dead:
		return true
	default:
		return false
	}
}

// tell adds to the story of the case.
func (m *model) tell(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.note(format, args...)
}

// logOf has a consumer's log in the story.
func (m *model) logOf(c *modelConsumer) *slog.Logger {
	return slog.New(slog.NewTextHandler(storyWriter{m, c}, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

type storyWriter struct {
	m *model
	c *modelConsumer
}

func (w storyWriter) Write(line []byte) (int, error) {
	w.m.tell("%s: %s", w.c.app, strings.TrimSpace(string(line)))
	return len(line), nil
}

// note is tell for those who have the lock.
func (m *model) note(format string, args ...any) {
	fmt.Fprintf(&m.story, "%7.3f "+format+"\n", append([]any{time.Since(m.began).Seconds()}, args...)...)
}

func (m *model) fail(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed(format, args...)
}

// failed is fail for those who have the lock.
func (m *model) failed(format string, args ...any) {
	m.Fatalf("%s\n%s"+format, append([]any{m.story.String(), m.open()}, args...)...)
}

// givenUp fails, unless time stood still for so long that calls may have been
// given up: then the case tells nothing.
func (m *model) givenUp(format string, args ...any) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frozen {
		m.Skipf(format, args...)
	}
	m.failed(format, args...)
}

func (m *model) wrong(format string, args ...any) {
	m.broken = append(m.broken, fmt.Sprintf(format, args...))
}

// sound fails when a handler has seen what must not be.
func (m *model) sound() {
	m.mu.Lock()
	broken := m.broken
	m.mu.Unlock()
	if len(broken) > 0 {
		m.fail("%q", broken)
	}
	for _, c := range m.living() {
		select {
		case <-c.ended:
			m.givenUp("%s has ended by itself: %v", c.app, c.err)
		default:
		}
	}
}

// quiet waits until nothing is unread or pending, and accounts for every event.
// It tells whether leases may have run out, or a group was lost, since the last
// time.
func (m *model) quiet() (disturbed bool) {
	if len(m.living()) == 0 {
		m.start()
	}
	nudge := time.Now().Add(modelLease / 2)
	var since time.Time // when it is quiet
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(3 * time.Millisecond) {
		m.sound()
		switch quiet := m.isQuiet(); {
		case !quiet:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		}
		// One consumer creates a destroyed group again, and another may move
		// it back to what it had not settled itself.
		if !since.IsZero() && (!m.muddled || time.Since(since) > modelLease/2) {
			break
		}
		if time.Now().After(deadline) {
			m.fail("after two minutes there is still something to do")
		}
		// An idle consumer looks for what a dead one left when its read ends.
		if since.IsZero() && time.Now().After(nudge) && m.isRead(loadStreams[0]) {
			nudge = time.Now().Add(modelLease / 2)
			m.one("good", loadStreams[0])
		}
	}
	m.sound()
	m.account()
	m.mu.Lock()
	defer m.mu.Unlock()
	if disturbed = m.muddled || m.stalled; disturbed {
		m.muddled, m.stalled = false, false
		m.markAgain()
	}
	return disturbed
}

func (m *model) isQuiet() bool {
	keys := m.streams()
	return len(keys) >= len(loadStreams) && !slices.ContainsFunc(keys, func(key string) bool { return !isSettled(m.server, key, modelGroup) }) &&
		(!m.muddled || m.allBack())
}

// allBack tells whether all that live are in the group on every stream: one
// that is not has yet to notice that another created the group again, and may
// move it back then.
func (m *model) allBack() bool {
	for _, key := range loadStreams {
		list, _ := m.server.Do("XINFO", "CONSUMERS", key, modelGroup).([]any)
		for _, c := range m.living() {
			if !slices.ContainsFunc(list, func(info any) bool { return field(info.([]any), "name") == c.Name() }) {
				return false
			}
		}
	}
	return true
}

// isRead tells whether the group was given all of a stream.
func (m *model) isRead(key string) bool {
	last, _ := m.server.Do("XREVRANGE", key, "+", "-", "COUNT", "1").([]any)
	return len(last) == 0 || compareIDs(last[0].([]any)[0].(string), lastDelivered(m.server, key, modelGroup)) <= 0
}

// open says what is not settled.
func (m *model) open() (text string) {
	for _, key := range m.streams() {
		text += fmt.Sprintf("%s: pending %v, delivered up to %s, last entries %v\n", key, owners(m.server, key, modelGroup),
			lastDelivered(m.server, key, modelGroup), m.server.Do("XREVRANGE", key, "+", "-", "COUNT", "2"))
	}
	return text
}

// letters returns the dead letters by the place of their events.
func (m *model) letters() map[string][]*inspect.DeadLetter {
	letters := map[string][]*inspect.DeadLetter{}
	err := m.inspector.DeadLetters(context.Background(), inspect.DeadLetterSelection{Groups: []string{modelGroup}}, func(l *inspect.DeadLetter) error {
		place := l.Stream + " " + l.EntryID
		letters[place] = append(letters[place], l)
		return nil
	})
	if err != nil {
		m.fail("%v", err)
	}
	return letters
}

// account checks that every event is handled, dead-lettered for its own reason,
// or known to be lost.
func (m *model) account() {
	letters := m.letters()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.late) > 0 && !m.stalled { // else others may have taken them over
		m.failed("%q", m.late)
	}
	m.late = nil
	known := 0
	for _, e := range m.events {
		of := letters[e.place()]
		known += len(of)
		describe := func() string { return fmt.Sprintf("event %+v with %d dead letters", *e, len(of)) }
		if len(of) > 1+m.upheavals { // it may have come again
			m.failed("more than one dead letter: %s", describe())
		}
		for _, l := range of {
			if !e.mayFail(l) {
				m.failed("dead-lettered as %s after %d attempts: %s", l.Reason, l.Attempts, describe())
			}
		}
		switch {
		case e.done > 1 && !e.again && !m.stalled && !slices.ContainsFunc(e.by, (*modelConsumer).isDead):
			m.failed("handled again, though no consumer died with it: %s", describe())
		case e.gone || e.trimmed:
		case e.done == 0 && len(of) == 0:
			m.failed("lost: %s", describe())
		case e.done > 0 && e.kind != "good" && e.kind != "flaky" && !e.mended:
			m.failed("handled: %s", describe())
		}
	}
	for _, of := range letters {
		known -= len(of)
	}
	if known != 0 {
		m.failed("there are dead letters of events that were never published")
	}
}

// mayFail tells whether an event may be dead-lettered like this. One whose
// consumers died, or whose handlers were kept from their effect, may be for
// that.
func (e *modelEvent) mayFail(l *inspect.DeadLetter) bool {
	crashed := l.Reason == "crashed" && l.Attempts == modelAttempts
	exhausted := l.Reason == "max_attempts" && l.Attempts == modelAttempts
	switch {
	case e.mended:
		return crashed || exhausted && e.hindered
	case e.kind == "failing":
		return exhausted || crashed
	case e.kind == "permanent":
		return l.Reason == "permanent" && l.Attempts <= modelAttempts || crashed
	case e.kind == "undecodable":
		return l.Reason == "bad_json"
	}
	return crashed || exhausted && e.hindered
}
