package redisstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

func TestGroupsBeginAtTheBeginning(t *testing.T) {
	c, server := start(t)
	want := add(t, c, s1, 3)
	g := group(t, c, "a")
	if got := ids(read(t, g, 10)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := g.Streams(); !slices.Equal(got, []string{s1, s2}) {
		t.Errorf("streams %q", got)
	}
	if n := server.Do("EXISTS", s2); n != int64(1) {
		t.Error("the explicit stream was not created")
	}
	group(t, c, "b") // an existing group is no error, and stays where it is
	if got := read(t, g, 10); len(got) != 0 {
		t.Errorf("delivered again: %v", got)
	}
}

func TestSetupOutOfMemoryDoesWithGroupsThatExist(t *testing.T) {
	c, server := start(t)
	group(t, c, "a")
	want := add(t, c, s1, 1)
	server.Do("CONFIG", "SET", "maxmemory", "1")
	if got := ids(read(t, group(t, c, "b"), 10)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	g := redisstream.NewGroup(c, redisstream.GroupConfig{Group: "other", Consumer: "a", Explicit: []string{s1}})
	if err := g.Setup(t.Context()); redisstream.ClassOf(err) != redisstream.OutOfMemory {
		t.Errorf("a group that must be created: %v", err)
	}
}

func TestStartNewSkipsWhatIsThereButNoLaterStream(t *testing.T) {
	c, _ := start(t)
	add(t, c, s1, 3)
	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Patterns: []string{"crm:*"}, StartNew: true})
	late := add(t, c, s2, 2)
	redisstream.MakeResolveDue(g)
	if got := read(t, g, 10); len(got) != 0 {
		t.Errorf("got %v of before", got)
	}
	if got := ids(read(t, g, 10)); !slices.Equal(got, late) {
		t.Errorf("got %v, want all of the stream that appeared later, %v", got, late)
	}
}

func TestPatternsArePickedUpWhileRunning(t *testing.T) {
	c, _ := start(t)
	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Patterns: []string{"*:sync:*"}})
	if got, _, err := g.Read(t.Context(), g.Streams(), 10, time.Millisecond); len(got) != 0 || err != nil {
		t.Errorf("no streams yet: %v, %v", got, err)
	}
	want := add(t, c, "hr:sync:role:role_created", 2)
	add(t, c, redisstream.DeadLetterKey(s1, "g"), 1)
	redisstream.MakeResolveDue(g)
	read(t, g, 10)
	if got := g.Streams(); !slices.Equal(got, []string{"hr:sync:role:role_created"}) {
		t.Errorf("streams %q", got)
	}
	if got := ids(read(t, g, 10)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReadOrdersBoundsAndCountsDeliveries(t *testing.T) {
	c, server := start(t)
	first, second := add(t, c, s1, 15), add(t, c, s2, 3)
	g := group(t, c, "a")
	got := read(t, g, 10)
	if want := append(slices.Clone(first[:10]), second...); !slices.Equal(ids(got), want) {
		t.Errorf("got %v, want %v", ids(got), want)
	}
	if got, _, err := g.Read(t.Context(), []string{s2}, 10, 0); err != nil || len(got) != 0 {
		t.Errorf("a stream that was not named was read: %v, %v", got, err)
	}
	for id, n := range deliveries(server, s1) {
		if n != 1 {
			t.Errorf("%s was delivered %d times", id, n)
		}
	}
}

func TestReadKeepsDuplicateFields(t *testing.T) {
	c, _ := start(t)
	fields := []events.Field{{Name: "a", Value: "1"}, {Name: "b", Value: "\xff\x00"}, {Name: "a", Value: "2"}}
	if _, err := c.Add(t.Context(), s1, fields); err != nil {
		t.Fatal(err)
	}
	if got := read(t, group(t, c, "a"), 10); len(got) != 1 || !slices.Equal(got[0].Fields.List(), fields) {
		t.Errorf("got %v, want %v", got, fields)
	}
}

func TestBlockedReadDelaysNoOtherCommand(t *testing.T) {
	c, server := start(t)
	g := group(t, c, "a")
	type result struct {
		entries []wire.Entry
		err     error
	}
	done := make(chan result)
	go func() {
		entries, _, err := g.Read(t.Context(), g.Streams(), 10, 20*time.Second)
		done <- result{entries, err}
	}()
	blocked(t, server, 1)
	want := add(t, c, s2, 1)
	if r := <-done; r.err != nil || !slices.Equal(ids(r.entries), want) {
		t.Errorf("got %v, %v, want %v", r.entries, r.err, want)
	}
}

func TestCancelledReadReturnsAtOnceAndLosesNothing(t *testing.T) {
	c, server := start(t)
	g := group(t, c, "a")
	seen := map[wire.ID]bool{}
	var all []wire.ID
	for round := range 30 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan time.Time, 1)
		go func() {
			entries, _, err := g.Read(ctx, g.Streams(), 10, 20*time.Second)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			for _, e := range entries {
				seen[e.ID] = true
			}
			ended <- time.Now()
		}()
		blocked(t, server, 1)
		if round%2 == 0 {
			go cancel() // at about the time when an entry arrives
		} else {
			cancel()
		}
		cancelled := time.Now()
		all = append(all, add(t, c, s1, 1)...)
		if took := (<-ended).Sub(cancelled); took > 500*time.Millisecond {
			t.Errorf("returned %v after the cancel", took)
		}
		blocked(t, server, 0)
		for _, e := range read(t, g, 10) {
			seen[e.ID] = true
		}
	}
	own, err := g.Own(t.Context(), s1, wire.ID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range own.Entries {
		seen[e.ID] = true
	}
	for _, id := range all {
		if !seen[id] {
			t.Errorf("%s was neither returned nor pending nor unread", id)
		}
	}
}

func TestReadFromAFrozenServerIsAnError(t *testing.T) {
	t.Parallel()
	c, server := start(t)
	g := group(t, c, "a")
	server.Stop()
	defer server.Cont()
	began := time.Now()
	_, _, err := g.Read(t.Context(), g.Streams(), 10, 100*time.Millisecond)
	if took := time.Since(began); redisstream.ClassOf(err) != redisstream.Unreachable || took > 4*time.Second {
		t.Errorf("after %v: class %s: %v", took, redisstream.ClassOf(err), err)
	}
}

func TestKeyThatIsNoStreamIsSetAside(t *testing.T) {
	c, server := start(t)
	log := &logBuffer{}
	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Explicit: []string{s1, s2, "third"}, Log: log.logger()})
	server.Do("DEL", s1)
	server.Do("SET", s1, "text")
	want := add(t, c, s2, 2)
	if got := ids(read(t, g, 10)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := g.Streams(); !slices.Equal(got, []string{s2, "third"}) {
		t.Errorf("streams %q", got)
	}
	redisstream.MakeResolveDue(g)
	read(t, g, 10) // looks again: still no stream
	if n := strings.Count(log.String(), s1); n != 1 {
		t.Errorf("%d lines about it:\n%s", n, log)
	}
	if _, unread, err := g.Unsettled(t.Context()); err != nil || unread {
		t.Errorf("unsettled: unread %t, %v", unread, err)
	}
	server.Do("DEL", s1)
	again := add(t, c, s1, 1)
	redisstream.MakeResolveDue(g)
	read(t, g, 10)
	if got := ids(read(t, g, 10)); !slices.Equal(got, again) || !slices.Contains(g.Streams(), s1) {
		t.Errorf("after it became a stream again: %v, want %v", got, again)
	}
}

func TestKeyThatIsNoStreamAtSetupIsSetAside(t *testing.T) {
	c, server := start(t)
	server.Do("SET", s1, "text")
	g := group(t, c, "a")
	want := add(t, c, s2, 1)
	if got := ids(read(t, g, 10)); !slices.Equal(got, want) || slices.Contains(g.Streams(), s1) {
		t.Errorf("got %v, want %v; streams %q", got, want, g.Streams())
	}
	// With no stream left, a read waits instead of spinning.
	server.Do("DEL", s2)
	server.Do("SET", s2, "text")
	read(t, g, 10)
	began := time.Now()
	if got, _, err := g.Read(t.Context(), g.Streams(), 10, 30*time.Millisecond); err != nil || len(got) != 0 || time.Since(began) < 30*time.Millisecond {
		t.Errorf("after %v: %v, %v", time.Since(began), got, err)
	}
}

func TestUnsettled(t *testing.T) {
	c, server := start(t)
	g, other := group(t, c, "a"), group(t, c, "b")
	check := func(what string, wantPending int64, wantUnread bool) {
		t.Helper()
		pending, unread, err := g.Unsettled(t.Context())
		if err != nil || pending != wantPending || unread != wantUnread {
			t.Errorf("%s: %d pending, unread %t, %v; want %d, %t", what, pending, unread, err, wantPending, wantUnread)
		}
	}
	check("empty", 0, false)
	add(t, c, s1, 3)
	add(t, c, s2, 1)
	check("published", 0, true)
	entries := read(t, other, 2)
	check("some read by another consumer", 3, true)
	entries = append(entries, read(t, other, 2)...)
	check("all read", 4, false)
	if err := g.Ack(t.Context(), refs(entries)); err != nil {
		t.Fatal(err)
	}
	check("all settled", 0, false)
	gone := add(t, c, s1, 1)
	server.Do("XDEL", s1, gone[0].String())
	check("published and deleted", 0, false)
}

func TestPruneRemovesOnlyIdleConsumersThatHoldNothing(t *testing.T) {
	c, server := start(t)
	g := group(t, c, "alive")
	add(t, c, s1, 1)
	holder := read(t, group(t, c, "holder"), 10)
	for n := range 100 {
		server.Do("XGROUP", "CREATECONSUMER", s1, "g", fmt.Sprint("dead-", n))
	}
	if n, err := g.Prune(t.Context(), time.Hour); n != 0 || err != nil {
		t.Errorf("removed %d that are not idle for long, %v", n, err)
	}
	eventually(t, "idle consumers are removed", func() bool {
		if _, err := g.Prune(t.Context(), 20*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		return len(server.Do("XINFO", "CONSUMERS", s1, "g").([]any)) == 2 // with itself
	})
	if got := owners(server, s1); got[holder[0].ID.String()] != "holder" {
		t.Errorf("owners %v", got)
	}
}

func TestPruneRacesWithReads(t *testing.T) {
	c, server := start(t)
	g := group(t, c, "a")
	janitor := group(t, c, "janitor")
	stop := make(chan struct{})
	pruned := make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				pruned <- nil
				return
			default:
				if _, err := janitor.Prune(t.Context(), -1); err != nil {
					pruned <- err
					return
				}
			}
		}
	}()
	const n = 300
	got := 0
	for range n {
		add(t, c, s1, 1)
		entries := read(t, g, 10)
		got += len(entries)
		if len(entries) != len(owners(server, s1)) {
			t.Fatalf("%d read, %v pending", len(entries), owners(server, s1))
		}
		if err := g.Ack(t.Context(), refs(entries)); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	if err := <-pruned; err != nil {
		t.Error(err)
	}
	if got != n {
		t.Errorf("read %d of %d", got, n)
	}
}

func TestLeaveRemovesTheConsumerWhereItHoldsNothing(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 1)
	g := group(t, c, "a")
	entries := read(t, g, 10)
	consumers := func() int { return len(server.Do("XINFO", "CONSUMERS", s1, "g").([]any)) }
	if err := g.Leave(t.Context()); err != nil || consumers() != 1 {
		t.Errorf("left while it holds an entry: %d consumers, %v", consumers(), err)
	}
	if err := g.Ack(t.Context(), refs(entries)); err != nil {
		t.Fatal(err)
	}
	server.Do("XGROUP", "CREATECONSUMER", s1, "g", "b")
	if err := g.Leave(t.Context()); err != nil || consumers() != 1 {
		t.Errorf("after leaving: %d consumers, want b alone, %v", consumers(), err)
	}
}
