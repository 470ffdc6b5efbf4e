package redisstream_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// TestGroupIsCreatedAgainWhereItWasThoughTheNewestEntryWasDeleted: the stream
// is the same though its last entry is below what was delivered, and nothing
// is replayed.
func TestGroupIsCreatedAgainWhereItWasThoughTheNewestEntryWasDeleted(t *testing.T) {
	for _, running := range []bool{true, false} {
		c, server := start(t)
		a := group(t, c, "a")
		entries := add(t, c, s1, 5)
		if err := a.Ack(t.Context(), refs(read(t, a, 10))); err != nil {
			t.Fatal(err)
		}
		redisstream.MakeLookDue(a)
		if _, _, err := a.Read(t.Context(), a.Streams(), 10, 0); err != nil { // looks
			t.Fatal(err)
		}
		server.Do("XDEL", s1, entries[4].String())
		server.Do("XGROUP", "DESTROY", s1, "g")
		if running {
			if _, _, err := a.Read(t.Context(), a.Streams(), 10, 0); !errors.Is(err, delivery.ErrLost) {
				t.Fatalf("read: %v", err)
			}
		} else {
			a = group(t, c, "a")
		}
		want := add(t, c, s1, 2)
		if got := read(t, a, 10); !slices.Equal(ids(got), want) {
			t.Errorf("running %t: read %v, want %v", running, ids(got), want)
		}
		if n := a.Losses().Recreated; n != 1 {
			t.Errorf("running %t: %d groups counted as created again", running, n)
		}
	}
}

// TestStreamThatVanishedWhileNobodyWasRunningIsCounted: what it had is lost,
// read or not, and one in its place is read from its beginning.
func TestStreamThatVanishedWhileNobodyWasRunningIsCounted(t *testing.T) {
	for _, again := range []bool{false, true} {
		c, server := start(t)
		a := group(t, c, "a")
		add(t, c, s1, 5)
		if err := a.Ack(t.Context(), refs(read(t, a, 10))); err != nil {
			t.Fatal(err)
		}
		if err := a.Leave(t.Context()); err != nil { // looks
			t.Fatal(err)
		}
		add(t, c, s1, 3)
		server.Do("DEL", s1)
		want := 0
		if again {
			server.Do("XADD", s1, "1-1", "f", "v")
			want = 1
		}
		b := groupOf(t, c, redisstream.GroupConfig{Consumer: "b", Explicit: []string{s1}, StartNew: true})
		if n := b.Losses().Recreated; n != 1 {
			t.Errorf("again %t: %d counted as created again", again, n)
		}
		got, _, err := b.Read(t.Context(), b.Streams(), 10, 0)
		if err != nil || len(got) != want {
			t.Errorf("again %t: read %v, %v", again, got, err)
		}
		if third := group(t, c, "third"); third.Losses().Recreated != 0 {
			t.Errorf("again %t: counted twice", again)
		}
	}
}

// TestAGroupIsCreatedAgainBehindWhatOthersSettled: one that is alone now has
// read less than the group has settled.
func TestAGroupIsCreatedAgainBehindWhatOthersSettled(t *testing.T) {
	c, server := start(t)
	a, b := group(t, c, "a"), group(t, c, "b")
	add(t, c, s1, 4)
	if err := a.Ack(t.Context(), refs(read(t, a, 10))); err != nil {
		t.Fatal(err)
	}
	add(t, c, s1, 3)
	if err := b.Ack(t.Context(), refs(read(t, b, 10))); err != nil {
		t.Fatal(err)
	}
	if err := b.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	redisstream.MakeLookDue(a)
	if _, _, err := a.Read(t.Context(), a.Streams(), 10, 0); err != nil { // looks
		t.Fatal(err)
	}
	want := add(t, c, s1, 1)
	comeAgain(t, server, a, want[0], 1)
}

// TestOneThatWasRemovedForItsSilenceComesBackToTheSameGroup: others have
// settled what it held, and nothing of that comes again.
func TestOneThatWasRemovedForItsSilenceComesBackToTheSameGroup(t *testing.T) {
	for _, streams := range [][]string{{s1}, {s1, s2}} {
		c, server := start(t)
		of := func(consumer string) *redisstream.Group {
			return groupOf(t, c, redisstream.GroupConfig{Consumer: consumer, Explicit: streams})
		}
		add(t, c, s1, 3)
		a, b := of("a"), of("b")
		if got := read(t, a, 10); len(got) != 3 {
			t.Fatalf("read %v", got)
		}
		page, err := b.Reclaim(t.Context(), s1, 0, wire.ID{}, 10)
		if err != nil || len(page.Entries) != 3 {
			t.Fatalf("reclaim %+v, %v", page, err)
		}
		last := add(t, c, s1, 5)[4]
		if err := b.Ack(t.Context(), append(refs(page.Entries), refs(read(t, b, 10))...)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is removed", func() bool {
			n, err := b.Prune(t.Context(), time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			return n > 0
		})
		if len(streams) > 1 {
			server.Do("XGROUP", "DESTROY", s2, "g") // so that its read fails, and all groups are looked at
			_, _, _ = a.Read(t.Context(), streams, 10, 0)
		}
		redisstream.MakeLookDue(a)
		if got, _, err := a.Read(t.Context(), streams, 10, 0); err != nil || len(got) > 0 {
			t.Errorf("read %v, %v", got, err)
		}
		if at := groupInfo(t, server, s1, "last-delivered-id"); at != last.String() {
			t.Errorf("the group was moved to %v, want %v", at, last)
		}
	}
}
