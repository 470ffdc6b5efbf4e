package redisstream_test

import (
	"bufio"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/wire"
)

// lose runs a read, and gone while it is blocked, and wants ErrLost.
func lose(t *testing.T, g *redisstream.Group, isBlocked, gone func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		_, _, err := g.Read(t.Context(), g.Streams(), 10, 20*time.Second)
		done <- err
	}()
	isBlocked()
	gone()
	if err := <-done; !errors.Is(err, delivery.ErrLost) {
		t.Errorf("error %v, want ErrLost", err)
	}
}

// together sends commands so that no other client's comes in between.
func together(t *testing.T, server *redistest.Server, commands ...string) {
	t.Helper()
	conn, err := net.Dial("tcp", server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(strings.Join(commands, "\r\n") + "\r\n")); err != nil {
		t.Fatal(err)
	}
	replies := bufio.NewReader(conn)
	for _, command := range commands {
		if line, err := replies.ReadString('\n'); err != nil || line[0] == '-' {
			t.Fatalf("%s: %q, %v", command, line, err)
		}
	}
}

func TestLostStreamOrGroupIsCreatedAgainWhileBlocked(t *testing.T) {
	for _, tc := range []struct {
		name string
		gone []string
		lost int64 // streams
	}{
		{"DEL", []string{"DEL", s1}, 1},
		{"FLUSHALL", []string{"FLUSHALL"}, 2},
		{"XGROUP DESTROY", []string{"XGROUP", "DESTROY", s1, "g"}, 1},
		{"RENAME", []string{"RENAME", s1, "elsewhere"}, 1},
		{"expiry", []string{"PEXPIRE", s1, "1"}, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, server := start(t)
			log := &logBuffer{}
			g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Explicit: []string{s1, s2}, Log: log.logger()})
			add(t, c, s1, 3)
			entries := read(t, g, 10)
			if err := g.Ack(t.Context(), refs(entries)); err != nil {
				t.Fatal(err)
			}
			lose(t, g, func() { blocked(t, server, 1) }, func() { server.Do(tc.gone...) })
			if n := g.Losses().Recreated; n != tc.lost || strings.Count(log.String(), "created again") != int(tc.lost) {
				t.Errorf("%d losses, want %d, logged:\n%s", n, tc.lost, log)
			}
			if got := read(t, g, 10); len(got) != 0 {
				t.Errorf("settled entries came again: %v", got)
			}
			want := add(t, c, s1, 2)
			if got := ids(read(t, g, 10)); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if strings.Count(log.String(), "created again") != int(tc.lost) {
				t.Errorf("logged again:\n%s", log)
			}
		})
	}
}

func TestLostGroupIsCreatedBeforeTheLowestUnsettledEntry(t *testing.T) {
	c, server := start(t)
	g := group(t, c, "a")
	add(t, c, s1, 5)
	entries := read(t, g, 4) // the fifth stays unread
	all := ids(entries)
	if err := g.Ack(t.Context(), refs([]wire.Entry{entries[0], entries[2]})); err != nil {
		t.Fatal(err)
	}
	server.Do("XGROUP", "DESTROY", s1, "g")
	if _, _, err := g.Read(t.Context(), g.Streams(), 10, 0); !errors.Is(err, delivery.ErrLost) {
		t.Fatalf("error %v, want ErrLost", err)
	}
	got := ids(read(t, g, 10))
	if len(got) != 4 || !slices.Equal(got[:3], all[1:]) {
		t.Errorf("got %v, want from %s on", got, all[1])
	}
}

// What is settled while pending entries are listed may still be in the list.
func TestEntriesSettledWhileListedDoNotComeAgain(t *testing.T) {
	c, server := start(t)
	g := group(t, c, "a")
	for range 50 {
		add(t, c, s1, 100)
		entries := read(t, g, 100)
		listed := make(chan error)
		go func() {
			_, err := g.Own(t.Context(), s1, wire.ID{}, 100)
			listed <- err
		}()
		if err := g.Ack(t.Context(), refs(entries)); err != nil {
			t.Fatal(err)
		}
		if err := <-listed; err != nil {
			t.Fatal(err)
		}
	}
	server.Do("XGROUP", "DESTROY", s1, "g")
	if _, _, err := g.Read(t.Context(), g.Streams(), 10, 0); !errors.Is(err, delivery.ErrLost) {
		t.Fatalf("error %v, want ErrLost", err)
	}
	if got := read(t, g, 10); len(got) > 0 {
		t.Errorf("settled entries came again: %v", ids(got))
	}
}

func TestEveryCommandNoticesTheLoss(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 1)
	g := group(t, c, "a")
	e := read(t, g, 1)[0]
	ref := []wire.Ref{e.Ref()}
	for name, call := range map[string]func() error{
		"read": func() error { _, _, err := g.Read(t.Context(), []string{s1, s2}, 10, time.Second); return err },
		"own":  func() error { _, err := g.Own(t.Context(), s1, wire.ID{}, 10); return err },
		"reclaim": func() error {
			_, err := g.Reclaim(t.Context(), s1, time.Hour, wire.ID{}, 10)
			return err
		},
		"begin":     func() error { _, err := g.Begin(t.Context(), ref, []int{2}); return err },
		"renew":     func() error { _, err := g.Renew(t.Context(), ref); return err },
		"bury":      func() error { _, err := g.Bury(t.Context(), delivery.DeadLetter{Entry: e}); return err },
		"unsettled": func() error { _, _, err := g.Unsettled(t.Context()); return err },
	} {
		t.Run(name, func(t *testing.T) {
			server.Do("DEL", s1)
			if err := call(); !errors.Is(err, delivery.ErrLost) {
				t.Errorf("error %v, want ErrLost", err)
			}
			if err := call(); err != nil {
				t.Errorf("a second time: %v", err)
			}
			if _, err := g.Prune(t.Context(), time.Hour); err != nil {
				t.Errorf("prune: %v", err)
			}
		})
	}
}

func TestStreamThatBeganAnewIsReadFromItsBeginning(t *testing.T) {
	c, server := start(t)
	server.Do("XADD", s1, "99999999999999-0", "n", "0") // by a clock that was ahead
	g := group(t, c, "a")
	if got := read(t, g, 10); len(got) != 1 {
		t.Fatalf("got %v", got)
	}
	server.Do("DEL", s1)
	want := add(t, c, s1, 2)
	if _, _, err := g.Read(t.Context(), g.Streams(), 10, 0); !errors.Is(err, delivery.ErrLost) {
		t.Fatalf("error %v, want ErrLost", err)
	}
	if got := ids(read(t, g, 10)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Each consumer knows only its own unsettled entries: the one that is quicker
// to create the group again may do so behind those of the other.
func TestEntriesInHandSurviveThatAnotherConsumerCreatedTheGroupAgain(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 4)
	slow, quick := group(t, c, "slow"), group(t, c, "quick")
	inHand := ids(read(t, slow, 2))
	if err := quick.Ack(t.Context(), refs(read(t, quick, 2))); err != nil {
		t.Fatal(err)
	}
	lose(t, slow, func() { blocked(t, server, 1) }, func() {
		together(t, server, "XGROUP DESTROY "+s1+" g", "XGROUP CREATE "+s1+" g $")
	})
	got := ids(read(t, slow, 10))
	if len(got) < 2 || !slices.Equal(got[:2], inHand) {
		t.Errorf("got %v, want those in hand again, %v", got, inHand)
	}
}

// The same message is given when a cluster moves the stream to another node.
func TestUnblockedWithoutALossChangesNothing(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 3)
	g := group(t, c, "a")
	read(t, g, 2)
	before := deliveries(server, s1)
	lose(t, g, func() { read(t, g, 10); blocked(t, server, 1) }, func() {
		// Away and back, group and all, as if another node had it now.
		together(t, server, "RENAME "+s1+" elsewhere", "RENAME elsewhere "+s1)
	})
	if g.Losses() != (redisstream.Losses{}) {
		t.Errorf("losses: %+v", g.Losses())
	}
	after := deliveries(server, s1)
	for id, n := range before {
		if after[id] != n {
			t.Errorf("%s: %d deliveries, had %d", id, after[id], n)
		}
	}
	if got := read(t, g, 10); len(got) != 0 {
		t.Errorf("entries in hand came again: %v", got)
	}
}

// comeAgain destroys the group, and checks that the consumer, which creates it
// again, is given so many entries from the first on.
func comeAgain(t *testing.T, server *redistest.Server, g *redisstream.Group, first wire.ID, count int) {
	t.Helper()
	server.Do("XGROUP", "DESTROY", s1, "g")
	if _, _, err := g.Read(t.Context(), g.Streams(), 10, 10*time.Millisecond); !errors.Is(err, delivery.ErrLost) {
		t.Fatalf("read: %v", err)
	}
	if got := read(t, g, 10); len(got) != count || got[0].ID != first {
		t.Errorf("%d entries come again, want %d from %v on: %v", len(got), count, first, got)
	}
}

// TestASharedGroupIsCreatedAgainWhereAllHadSettled: what another consumer had
// in hand, or was sent in a reply that was lost, is pending nowhere once the
// group is destroyed. The one that creates it again must not begin after it.
func TestASharedGroupIsCreatedAgainWhereAllHadSettled(t *testing.T) {
	c, server := start(t)
	a := group(t, c, "a")
	add(t, c, s1, 4)
	if err := a.Ack(t.Context(), refs(read(t, a, 10))); err != nil {
		t.Fatal(err)
	}
	b := group(t, c, "b")
	want := add(t, c, s1, 3)
	server.Do("XREADGROUP", "GROUP", "g", "a", "STREAMS", s1, ">") // its reply is lost
	add(t, c, s1, 2)
	if err := b.Ack(t.Context(), refs(read(t, b, 10))); err != nil {
		t.Fatal(err)
	}
	comeAgain(t, server, b, want[0], 5)
	if own, err := a.Own(t.Context(), s1, wire.ID{}, 10); err != nil || len(own.Entries) != 0 {
		t.Errorf("%v, %v", own, err)
	}
}

// TestAGroupIsCreatedAgainBeforeWhatOneHeldThatCameLater: nor after what was in
// the hands of a consumer that came after its last look, and has died.
func TestAGroupIsCreatedAgainBeforeWhatOneHeldThatCameLater(t *testing.T) {
	c, server := start(t)
	a := group(t, c, "a") // looks, and is alone
	add(t, c, s1, 4)
	if err := a.Ack(t.Context(), refs(read(t, a, 10))); err != nil {
		t.Fatal(err)
	}
	dies := group(t, c, "dies")
	want := add(t, c, s1, 3)
	read(t, dies, 10)
	add(t, c, s1, 2)
	if err := a.Ack(t.Context(), refs(read(t, a, 10))); err != nil {
		t.Fatal(err)
	}
	comeAgain(t, server, a, want[0], 5)
}

// TestAGroupThatAnotherMadeAgainIsEnteredAnew: nor after what the other consumer
// held, where the group had been destroyed before, the other had created it
// again, and the one had not noticed, for nothing of its own failed.
func TestAGroupThatAnotherMadeAgainIsEnteredAnew(t *testing.T) {
	c, server := start(t)
	a, b := group(t, c, "a"), group(t, c, "b")
	server.Do("XGROUP", "DESTROY", s1, "g")
	if _, _, err := a.Read(t.Context(), a.Streams(), 10, 10*time.Millisecond); !errors.Is(err, delivery.ErrLost) {
		t.Fatalf("read: %v", err)
	}
	redisstream.MakeLookDue(b)
	read(t, b, 10) // looks
	want := add(t, c, s1, 3)
	server.Do("XREADGROUP", "GROUP", "g", "a", "STREAMS", s1, ">") // its reply is lost
	add(t, c, s1, 2)
	if err := b.Ack(t.Context(), refs(read(t, b, 10))); err != nil {
		t.Fatal(err)
	}
	comeAgain(t, server, b, want[0], 5)
}

// TestOneThatMakesAGroupAgainWhenItStartsIsNotAlone: the others are there, and
// have not come into the new group yet.
func TestOneThatMakesAGroupAgainWhenItStartsIsNotAlone(t *testing.T) {
	c, server := start(t)
	a := group(t, c, "a")
	if _, _, err := a.Read(t.Context(), a.Streams(), 10, 10*time.Millisecond); err != nil { // looks, so that the group is known
		t.Fatal(err)
	}
	server.Do("XGROUP", "DESTROY", s1, "g")
	b := group(t, c, "b") // creates it again
	want := add(t, c, s1, 3)
	server.Do("XREADGROUP", "GROUP", "g", "a", "STREAMS", s1, ">") // its reply is lost
	add(t, c, s1, 2)
	if err := b.Ack(t.Context(), refs(read(t, b, 10))); err != nil {
		t.Fatal(err)
	}
	comeAgain(t, server, b, want[0], 5)
}

// TestANewConsumerDoesNotReplay: one that has read nothing yet creates the
// group again where it found it, not at the beginning.
func TestANewConsumerDoesNotReplay(t *testing.T) {
	c, server := start(t)
	first := group(t, c, "first")
	add(t, c, s1, 5)
	if err := first.Ack(t.Context(), refs(read(t, first, 10))); err != nil {
		t.Fatal(err)
	}
	if err := first.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := group(t, c, "second")
	server.Do("XGROUP", "DESTROY", s1, "g")
	if _, _, err := second.Read(t.Context(), second.Streams(), 10, 10*time.Millisecond); !errors.Is(err, delivery.ErrLost) {
		t.Fatalf("read: %v", err)
	}
	want := add(t, c, s1, 1)
	if got := read(t, second, 10); len(got) != 1 || got[0].ID != want[0] {
		t.Errorf("read %v, want %v", got, want)
	}
}

// TestASettlementUnderWayDoesNotMoveTheGroup: an entry that was acknowledged,
// by a call whose answer has not come yet, is not pending any more. That does
// not make the group another one.
func TestASettlementUnderWayDoesNotMoveTheGroup(t *testing.T) {
	c, server := start(t)
	g := group(t, c, "a")
	ids := add(t, c, s1, 3)
	read(t, g, 10)
	for _, id := range ids {
		server.Do("XACK", s1, "g", id.String()) // the answer is still on its way
	}
	server.Do("XGROUP", "DESTROY", s2, "g")
	if _, _, err := g.Read(t.Context(), g.Streams(), 10, 10*time.Millisecond); !errors.Is(err, delivery.ErrLost) {
		t.Fatalf("read: %v", err)
	}
	if got := read(t, g, 10); len(got) != 0 {
		t.Errorf("settled entries came again: %v", got)
	}
}

// TestAGroupIsCreatedAgainByOneThatStartsLater: where no consumer was running
// when it was destroyed, it begins where it had settled, not at the beginning.
func TestAGroupIsCreatedAgainByOneThatStartsLater(t *testing.T) {
	c, server := start(t)
	first := group(t, c, "first")
	add(t, c, s1, 5)
	if err := first.Ack(t.Context(), refs(read(t, first, 10))); err != nil {
		t.Fatal(err)
	}
	dead := group(t, c, "dead")
	want := add(t, c, s1, 3)
	read(t, dead, 10)
	group(t, c, "looks")
	server.Do("XGROUP", "DESTROY", s1, "g")
	server.Do("XGROUP", "DESTROY", s2, "g")
	log := &logBuffer{}
	next := groupOf(t, c, redisstream.GroupConfig{Consumer: "next", Explicit: []string{s1}, Log: log.logger()})
	if got := read(t, next, 10); len(got) != 3 || got[0].ID != want[0] {
		t.Errorf("read %v, want what was pending: %v", got, want)
	}
	if n := next.Losses().Recreated; n != 1 || strings.Count(log.String(), "created again") != 1 {
		t.Errorf("counted %d times, logged: %s", n, log)
	}

	// Another stream in its place is read from its beginning.
	server.Do("DEL", s1)
	server.Do("XADD", s1, "1-1", "n", "0")
	other := group(t, c, "other")
	if got := read(t, other, 10); len(got) != 1 {
		t.Errorf("read %v, want the other stream's only entry", got)
	}
}
