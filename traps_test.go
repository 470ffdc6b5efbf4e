package freshet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
)

// The names are those of the rows of docs/traps.md.

// An event that can never be handled is tried as often as was asked for, with
// pauses, while the stream is idle and while it is busy.
func TestTrapG1FailingHandlerDoesNotSpin(t *testing.T) {
	bus, server := start(t)
	cfg := quick("g")
	cfg.MaxAttempts, cfg.BackoffMin, cfg.BackoffMax = 1000, 200*time.Millisecond, 200*time.Millisecond
	c := bus.Consumer(cfg)
	var tries, handled atomic.Int64
	onUser(c, func(e *freshet.Event[events.UserCreated]) error {
		if e.Data.UserID == "user-0" {
			tries.Add(1)
			return errors.New("boom")
		}
		handled.Add(1)
		return nil
	})
	run := runConsumer(t, c)
	began := time.Now()
	publish(t, bus, user(0))
	for n := 1; n <= 300; n++ {
		publish(t, bus, user(n))
	}
	eventually(t, "the others are handled, the failing one was tried again", func() bool { return handled.Load() == 300 && tries.Load() >= 5 })
	// Each pause is random, half of 200 ms on average.
	most := int64(time.Since(began)/(10*time.Millisecond)) + 1
	if n := tries.Load(); n > most {
		t.Errorf("%d tries in %v", n, time.Since(began))
	}
	entry := server.Do("XPENDING", userStream, "g", "-", "+", "10").([]any)[0].([]any)
	if n := entry[3].(int64); n > tries.Load()+1 {
		t.Errorf("the group counts %d deliveries of %d tries", n, tries.Load())
	}
	if n := calls(server, "xreadgroup"); int64(n) > 300+most {
		t.Errorf("%d reads of 301 events in %v", n, time.Since(began))
	}
	if err := run.stop(); err != nil {
		t.Error(err)
	}
}

// An entry is pending while its handler works and for as long as it fails, and
// is acknowledged once it has succeeded.
func TestTrapG5AcknowledgedOnlyAfterTheEffect(t *testing.T) {
	bus, server := start(t)
	publish(t, bus, user(0))
	c := bus.Consumer(quick("g"))
	var during []any
	onUser(c, func(e *freshet.Event[events.UserCreated]) error {
		during = append(during, pending(server, userStream, "g"))
		if e.Attempt < 3 {
			return errors.New("not yet")
		}
		return nil
	})
	drain(t, c)
	if !slices.Equal(during, []any{int64(1), int64(1), int64(1)}) {
		t.Errorf("pending during the attempts: %v", during)
	}
	if n := pending(server, userStream, "g"); n != int64(0) {
		t.Errorf("%v pending in the end", n)
	}
}

// Entries that cannot be decoded become dead letters; those around them are
// handled.
func TestTrapG10UndecodableEntriesStopNothing(t *testing.T) {
	bus, server := start(t)
	publish(t, bus, user(0))
	for _, fields := range [][]string{
		{"eventType", "user_created", "tenantId", tenant, "timestamp", "2026-01-01T00:00:00Z", "data", "{not json"},
		{"eventType", "user_created", "tenantId", tenant, "timestamp", "2026-01-01T00:00:00Z"},
		{"nothing", "of ours"},
		{"", ""},
	} {
		server.Do(append([]string{"XADD", userStream, "*"}, fields...)...)
	}
	publish(t, bus, user(1))
	c := bus.Consumer(quick("g"))
	var got seen
	onUser(c, func(e *freshet.Event[events.UserCreated]) error { got.add(e.Data.UserID); return nil })
	drain(t, c)
	if l := slices.Sorted(slices.Values(got.list())); !slices.Equal(l, []string{"user-0", "user-1"}) {
		t.Errorf("handled %v", l)
	}
	if s := c.Stats(); s.DeadLettered != 4 || s.Retried != 0 {
		t.Errorf("stats %+v", s)
	}
	if n := server.Do("XLEN", "{"+userStream+"}:dlq:g"); n != int64(4) {
		t.Errorf("%v dead letters", n)
	}
}

// What a consumer has read and not begun is not taken from it, however much
// longer than a lease it has to wait.
func TestTrapS12BufferedEntriesAreNotTakenOver(t *testing.T) {
	bus, server := start(t)
	const n = 64
	for i := range n {
		publish(t, bus, user(i))
	}
	cfg := quick("g")
	cfg.Concurrency = 1
	var got seen
	slow := bus.Consumer(cfg)
	onUser(slow, func(e *freshet.Event[events.UserCreated]) error {
		time.Sleep(50 * time.Millisecond) // the work: 3.2 s, more than three leases
		got.add(fmt.Sprint(e.Data.UserID, " ", e.Attempt))
		return nil
	})
	runConsumer(t, slow)
	eventually(t, "the slow consumer has all", func() bool {
		return strings.Contains(fmt.Sprint(server.Do("XINFO", "GROUPS", userStream)), " lag 0")
	})
	other := bus.Consumer(cfg)
	onUser(other, func(e *freshet.Event[events.UserCreated]) error {
		t.Errorf("%s was taken from a live consumer", e.Data.UserID)
		return nil
	})
	runConsumer(t, other)
	eventually(t, "all are handled", func() bool { return got.count() >= n })
	for _, l := range got.list() {
		if !strings.HasSuffix(l, " 1") {
			t.Errorf("repeated: %s", l)
		}
	}
	if got.count() != n {
		t.Errorf("%d handled", got.count())
	}
}

// A time ahead of the clock in an event or in its id holds up nothing.
func TestTrapS18FutureIDs(t *testing.T) {
	bus, server := start(t)
	future := strconv.FormatInt(time.Now().Add(24*time.Hour).UnixMilli(), 10) + "-0"
	server.Do("XADD", userStream, future, "eventType", "user_created", "tenantId", tenant, "timestamp", "2026-01-01T00:00:00Z",
		"entityId", "user-0", "data", `{"userId":"user-0","email":"a@example.com","createdAt":"2026-01-01T00:00:00Z"}`)
	c := bus.Consumer(quick("g"))
	var got seen
	onUser(c, func(e *freshet.Event[events.UserCreated]) error { got.add(e.Data.UserID); return nil })
	freshet.On(c, func(_ context.Context, e *freshet.Event[events.UserDeleted]) error { got.add("deleted"); return nil })
	runConsumer(t, c)
	eventually(t, "the one of the future", func() bool { return got.count() == 1 })
	publish(t, bus, user(1))
	publish(t, bus, events.UserDeleted{UserID: "user-9", Email: "a@example.com", DeletedAt: time.Now()})
	eventually(t, "those that are published now", func() bool { return got.count() == 3 })
}
