package freshet_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
)

func TestDeadConsumersEntriesAreTakenOver(t *testing.T) {
	bus, server := start(t)
	for n := range 20 {
		publish(t, bus, user(n))
	}
	server.Do("XGROUP", "CREATE", userStream, "g", "0")
	server.Do("XREADGROUP", "GROUP", "g", "dead", "COUNT", "12", "STREAMS", userStream, ">")
	var got seen
	c := bus.Consumer(quick("g"))
	onUser(c, func(e *freshet.Event[events.UserCreated]) error {
		got.add(fmt.Sprint(e.Data.UserID, " ", e.Attempt))
		return nil
	})
	drain(t, c)
	if l := got.list(); len(l) != 20 || !slices.Contains(l, "user-0 2") || !slices.Contains(l, "user-19 1") {
		t.Errorf("handled %v", l)
	}
}

func TestTrimmedPendingEntriesAreCountedAsLost(t *testing.T) {
	bus, server := start(t)
	for n := range 5 {
		publish(t, bus, user(n))
	}
	server.Do("XGROUP", "CREATE", userStream, "g", "0")
	server.Do("XREADGROUP", "GROUP", "g", "dead", "COUNT", "3", "STREAMS", userStream, ">")
	server.Do("XTRIM", userStream, "MAXLEN", "2")
	c := bus.Consumer(quick("g"))
	onUser(c, func(*freshet.Event[events.UserCreated]) error { return nil })
	drain(t, c)
	if s := c.Stats(); s.Handled != 2 || s.LostTrimmed != 3 {
		t.Errorf("stats %+v, want 2 handled and 3 lost", s)
	}
}

func TestConsumerSurvivesTheLossOfEverything(t *testing.T) {
	bus, server := start(t)
	var got seen
	c := bus.Consumer(quick("g"))
	onUser(c, func(e *freshet.Event[events.UserCreated]) error { got.add(e.Data.UserID); return nil })
	runConsumer(t, c)
	publish(t, bus, user(1))
	eventually(t, "first event, settled", func() bool {
		return got.count() == 1 && pending(server, userStream, "g") == int64(0)
	})
	server.Do("FLUSHALL")
	publish(t, bus, user(2))
	eventually(t, "event after FLUSHALL, settled", func() bool {
		return got.count() == 2 && pending(server, userStream, "g") == int64(0)
	})
	server.Do("XGROUP", "DESTROY", userStream, "g")
	publish(t, bus, user(3))
	eventually(t, "event after XGROUP DESTROY", func() bool { return got.count() >= 3 })
	if l := got.list(); !slices.Equal(l, []string{"user-1", "user-2", "user-3"}) {
		t.Errorf("handled %v: nothing may be replayed from before the cursor", l)
	}
}

func TestConsumerSurvivesARestartOfTheServer(t *testing.T) {
	bus, server := start(t, "--appendonly", "yes", "--appendfsync", "always")
	var got seen
	c := bus.Consumer(quick("g"))
	onUser(c, func(e *freshet.Event[events.UserCreated]) error { got.add(e.Data.UserID); return nil })
	runConsumer(t, c)
	publish(t, bus, user(1))
	eventually(t, "first event", func() bool { return got.count() == 1 })
	server.Kill()
	server.Restart()
	eventually(t, "publish after the restart", func() bool {
		_, err := bus.PublishMessage(t.Context(), freshet.Message{Tenant: tenant, Payload: user(2), Key: "k"})
		return err == nil
	})
	eventually(t, "event after the restart", func() bool { return slices.Contains(got.list(), "user-2") })
}

func TestGracefulStopLeavesNothingPending(t *testing.T) {
	bus, server := start(t)
	for n := range 200 {
		publish(t, bus, user(n))
	}
	var handled atomic.Int64
	c := bus.Consumer(quick("g"))
	onUser(c, func(*freshet.Event[events.UserCreated]) error {
		time.Sleep(2 * time.Millisecond) // work
		handled.Add(1)
		return nil
	})
	r := runConsumer(t, c)
	eventually(t, "some handled", func() bool { return handled.Load() > 20 })
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if n := pending(server, userStream, "g"); n != int64(0) {
		t.Errorf("%v pending after a graceful stop", n)
	}
}

// A consumer whose globs match nothing yet finds the first stream that they do.
func TestStreamThatAppearsIsTheFirst(t *testing.T) {
	bus, server := start(t)
	var got seen
	cfg := quick("g")
	cfg.Streams = []string{"crm:sync:user:*"}
	c := bus.Consumer(cfg)
	onUser(c, func(e *freshet.Event[events.UserCreated]) error {
		got.add(e.Data.UserID)
		return nil
	})
	runConsumer(t, c)
	eventually(t, "the consumer", func() bool { return c.Ready() == nil })
	looks := calls(server, "scan")
	eventually(t, "another look that finds nothing", func() bool { return calls(server, "scan") > looks })
	publish(t, bus, user(1))
	eventually(t, "the first event of the first stream", func() bool { return got.count() == 1 })
}

// A consumer whose only stream was another thing for a while reads it again.
func TestOnlyStreamComesBack(t *testing.T) {
	server := redistest.Start(t)
	var got, logged seen
	bus, err := freshet.Open(t.Context(), freshet.Config{URL: server.URL(), Log: slog.New(heardLog{testLog{t}, &logged})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	cfg := quick("g")
	cfg.Streams = []string{userStream}
	c := bus.Consumer(cfg)
	onUser(c, func(e *freshet.Event[events.UserCreated]) error {
		got.add(e.Data.UserID)
		return nil
	})
	runConsumer(t, c)
	publish(t, bus, user(1))
	eventually(t, "the first event", func() bool { return got.count() == 1 && pending(server, userStream, "g") == int64(0) })
	server.Do("DEL", userStream)
	server.Do("SET", userStream, "text")
	eventually(t, "it is set aside", func() bool {
		return slices.ContainsFunc(logged.list(), func(line string) bool { return strings.Contains(line, "set aside") })
	})
	server.Do("DEL", userStream)
	publish(t, bus, user(2))
	eventually(t, "the event after it came back", func() bool { return got.count() == 2 })
}

// A key that another type takes while events of it are in hand stops no other
// stream: they can be settled nowhere.
func TestKeyThatIsOverwrittenWithEventsInHandStopsNoOther(t *testing.T) {
	bus, server := start(t)
	cfg := quick("g")
	cfg.MaxInFlight, cfg.MaxAttempts = 100, 2
	c := bus.Consumer(cfg)
	held, release := make(chan struct{}, 3), make(chan struct{})
	onUser(c, func(e *freshet.Event[events.UserCreated]) error {
		held <- struct{}{}
		<-release
		if e.Data.UserID == "user-2" {
			return freshet.Permanent(context.Canceled)
		}
		if e.Data.UserID == "user-1" {
			return context.Canceled
		}
		return nil
	})
	var others seen
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.UserDeactivated]) error {
		others.add(e.Data.UserID)
		return nil
	})
	r := runConsumer(t, c)
	for n := range 3 { // one is to succeed, one to be tried again, one to be dead-lettered
		publish(t, bus, user(n))
	}
	for range 3 {
		<-held
	}
	server.Do("SET", userStream, "x")
	close(release)
	const more = 500 // than are in hand at one time
	for n := range more {
		publish(t, bus, events.UserDeactivated{UserID: user(n).UserID, Email: "ada@example.com"})
	}
	eventually(t, "all of the other stream", func() bool { return others.count() == more })
	begun := time.Now()
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("stopping took %v", took)
	}
}

// A panic of who is told of settlements is logged, and settles the entry all
// the same.
func TestPanicInOnSettled(t *testing.T) {
	bus, server := start(t)
	cfg := quick("g")
	var told atomic.Int64
	cfg.OnSettled = func(freshet.Settlement) {
		told.Add(1)
		panic("told")
	}
	c := bus.Consumer(cfg)
	onUser(c, func(e *freshet.Event[events.UserCreated]) error {
		if e.Data.UserID == "user-1" {
			return freshet.Permanent(context.Canceled)
		}
		return nil
	})
	r := runConsumer(t, c)
	for n := range 3 {
		publish(t, bus, user(n))
	}
	eventually(t, "all are settled", func() bool { return told.Load() == 3 && pending(server, userStream, "g") == int64(0) })
	if err := r.stop(); err != nil {
		t.Error(err)
	}
}

// broken is an error whose chain cannot be followed.
type broken struct{ err error }

func (*broken) Error() string   { return "broken" }
func (b *broken) Unwrap() error { return b.err }

// An error that panics when it is asked what it is fails its event alone.
func TestErrorThatPanicsWhenItIsAsked(t *testing.T) {
	bus, server := start(t)
	cfg := quick("g")
	cfg.MaxAttempts = 1
	c := bus.Consumer(cfg)
	var handled atomic.Int64
	onUser(c, func(e *freshet.Event[events.UserCreated]) error {
		if e.Data.UserID == "user-1" {
			return (*broken)(nil)
		}
		handled.Add(1)
		return nil
	})
	r := runConsumer(t, c)
	for n := range 3 {
		publish(t, bus, user(n))
	}
	eventually(t, "the others are handled, and it is dead-lettered", func() bool {
		return handled.Load() == 2 && pending(server, userStream, "g") == int64(0)
	})
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	if n := c.Stats().DeadLettered; n != 1 {
		t.Errorf("%d dead letters", n)
	}
}
