package redisstream_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/wire"
)

// The names are those of the rows of docs/traps.md.

// idle returns for how long each pending entry of s1 has been idle.
func idle(server *redistest.Server) map[string]time.Duration {
	times := map[string]time.Duration{}
	for _, p := range server.Do("XPENDING", s1, "g", "-", "+", "10000").([]any) {
		p := p.([]any)
		times[p[0].(string)] = time.Duration(p[2].(int64)) * time.Millisecond
	}
	return times
}

// setIdle makes pending entries of s1 idle for a time.
func setIdle(server *redistest.Server, consumer string, d time.Duration, ids ...wire.ID) {
	args := []string{"XCLAIM", s1, "g", consumer, "0"}
	for _, id := range ids {
		args = append(args, id.String())
	}
	server.Do(append(args, "IDLE", strconv.FormatInt(d.Milliseconds(), 10), "JUSTID")...)
}

func TestTrapG3ListingOwnEntriesRestartsNoLease(t *testing.T) {
	c, server := start(t)
	want := add(t, c, s1, 3)
	g := group(t, c, "a")
	read(t, g, 10)
	setIdle(server, "a", time.Minute, want...)
	if page, err := g.Own(t.Context(), s1, wire.ID{}, 10); err != nil || len(page.Entries) != 3 {
		t.Fatalf("%v, %v", page, err)
	}
	for id, d := range idle(server) {
		if d < time.Minute {
			t.Errorf("%s is idle for %v", id, d)
		}
	}
	if page, err := group(t, c, "b").Reclaim(t.Context(), s1, 30*time.Second, wire.ID{}, 10); err != nil || len(page.Entries) != 3 {
		t.Errorf("another consumer was given %v, %v", page.Entries, err)
	}
}

func TestTrapG8EmptyReadIsNoErrorAndTheNextEntryComesAtOnce(t *testing.T) {
	c, server := start(t)
	g := group(t, c, "a")
	if entries, _, err := g.Read(t.Context(), g.Streams(), 10, 20*time.Millisecond); err != nil || len(entries) != 0 {
		t.Fatalf("empty read: %v, %v", entries, err)
	}
	done := make(chan []wire.Entry)
	go func() {
		entries, _, err := g.Read(t.Context(), g.Streams(), 10, 20*time.Second)
		if err != nil {
			t.Error(err)
		}
		done <- entries
	}()
	blocked(t, server, 1)
	published := time.Now()
	add(t, c, s1, 1)
	if entries := <-done; len(entries) != 1 || time.Since(published) > 5*time.Second {
		t.Errorf("%v after %v", entries, time.Since(published))
	}
}

// A blocked read that somebody ends with CLIENT UNBLOCK is an empty one, or one
// that failed and may be made again.
func TestTrapC7BlockedReadThatIsEndedByAnother(t *testing.T) {
	c, server := start(t)
	g := group(t, c, "a")
	for _, how := range []string{"TIMEOUT", "ERROR"} {
		type result struct {
			entries []wire.Entry
			err     error
		}
		ended := make(chan result, 1)
		go func() {
			entries, _, err := g.Read(t.Context(), g.Streams(), 10, time.Minute)
			ended <- result{entries, err}
		}()
		blocked(t, server, 1)
		var id string
		for line := range strings.Lines(server.Do("CLIENT", "LIST").(string)) {
			if strings.Contains(line, " cmd=xreadgroup ") {
				id, _, _ = strings.Cut(strings.TrimPrefix(line, "id="), " ")
			}
		}
		if n := server.Do("CLIENT", "UNBLOCK", id, how); n != int64(1) {
			t.Fatalf("%s: %v was ended", how, n)
		}
		switch r := <-ended; {
		case len(r.entries) > 0, how == "TIMEOUT" && r.err != nil, how == "ERROR" && redisstream.ClassOf(r.err) != redisstream.Unreachable:
			t.Errorf("%s: %v, %v", how, r.entries, r.err)
		}
		want := add(t, c, s1, 2)
		if got := read(t, g, 10); !slices.Equal(ids(got), want) {
			t.Errorf("%s: read %v then, want %v", how, ids(got), want)
		}
	}
}

func TestTrapS3AttemptsSurviveARestartOfTheServer(t *testing.T) {
	c, server := start(t, "--appendonly", "yes", "--appendfsync", "always")
	add(t, c, s1, 2)
	g := group(t, c, "a")
	r := refs(read(t, g, 10))
	if _, err := g.Begin(t.Context(), r[:1], []int{7}); err != nil {
		t.Fatal(err)
	}
	server.Restart()
	want := []int{7, 1}
	var page delivery.Pending
	eventually(t, "the server answers", func() (ok bool) {
		var err error
		page, err = g.Own(t.Context(), s1, wire.ID{}, 10)
		return err == nil
	})
	if !slices.Equal(page.Deliveries, want) {
		t.Errorf("deliveries %v, want %v", page.Deliveries, want)
	}
}

// What is left to do is known where the server cannot tell a group's lag: after
// a restart, with a deleted entry ahead of the group, and with a group that
// began at an id of no entry.
func TestTrapS5UnsettledWhereTheLagIsUnknown(t *testing.T) {
	c, server := start(t, "--appendonly", "yes", "--appendfsync", "always")
	ids := add(t, c, s1, 6)
	server.Do("XGROUP", "CREATE", s1, "g", ids[0].Prev().String())
	server.Do("XREADGROUP", "GROUP", "g", "x", "COUNT", "2", "STREAMS", s1, ">")
	server.Do("XDEL", s1, ids[3].String())
	server.Restart()
	info := server.Do("XINFO", "GROUPS", s1).([]any)[0].([]any)
	if at := slices.Index(info, any("lag")); at < 0 || info[at+1] != nil {
		t.Fatalf("the server knows the lag: %v", info)
	}
	g := redisstream.NewGroup(open(t, server.URL()), redisstream.GroupConfig{Group: "g", Consumer: "a", Explicit: []string{s1}})
	if err := g.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pending, unread, err := g.Unsettled(t.Context()); pending != 2 || !unread || err != nil {
		t.Errorf("%d pending, unread %t, %v", pending, unread, err)
	}
	if got := ids[4:]; !slices.Equal(idsOf(t, g), append([]wire.ID{ids[2]}, got...)) {
		t.Error("not all that was unread was read")
	}
	if pending, unread, err := g.Unsettled(t.Context()); pending != 5 || unread || err != nil {
		t.Errorf("%d pending, unread %t, %v", pending, unread, err)
	}
}

func idsOf(t *testing.T, g *redisstream.Group) []wire.ID {
	t.Helper()
	return ids(read(t, g, 100))
}

func TestTrapS11RenewalByAStaleOwner(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 2)
	stale, g := group(t, c, "stale"), group(t, c, "a")
	r := refs(read(t, stale, 10))
	if _, err := g.Reclaim(t.Context(), s1, 0, wire.ID{}, 10); err != nil {
		t.Fatal(err)
	}
	if err := g.Ack(t.Context(), r[:1]); err != nil {
		t.Fatal(err)
	}
	setIdle(server, "a", time.Minute, r[1].ID)
	if owned, err := stale.Renew(t.Context(), r); err != nil || slices.Contains(owned, true) {
		t.Errorf("renewed %v, %v", owned, err)
	}
	if owned, err := stale.Begin(t.Context(), r, []int{2, 2}); err != nil || slices.Contains(owned, true) {
		t.Errorf("begun %v, %v", owned, err)
	}
	id := r[1].ID.String()
	if o := owners(server, s1); len(o) != 1 || o[id] != "a" {
		t.Errorf("pending %v: what was settled is pending again, or stolen", o)
	}
	if d := idle(server)[id]; d < time.Minute {
		t.Errorf("the lease was restarted: idle for %v", d)
	}
}

func TestTrapS13OneLostGroupStarvesNoOtherStream(t *testing.T) {
	c, server := start(t)
	g := group(t, c, "a")
	want := add(t, c, s2, 3)
	server.Do("XGROUP", "DESTROY", s1, "g")
	if _, _, err := g.Read(t.Context(), g.Streams(), 10, 0); !errors.Is(err, delivery.ErrLost) {
		t.Fatalf("error %v", err)
	}
	if got := ids(read(t, g, 10)); !slices.Equal(got, want) {
		t.Errorf("read %v, want %v", got, want)
	}
}

// Anybody who may publish can use a stream's ids up. What is there is handled
// on, and nobody is told that a later publish worked.
func TestTrapS18LastPossibleID(t *testing.T) {
	c, server := start(t)
	const last = "18446744073709551615-18446744073709551615"
	server.Do("XADD", s1, last, "n", "0")
	g := group(t, c, "a")
	entries := read(t, g, 10)
	if len(entries) != 1 || entries[0].ID.String() != last {
		t.Fatalf("read %v", entries)
	}
	if _, err := g.Renew(t.Context(), refs(entries)); err != nil {
		t.Error(err)
	}
	if page, err := g.Own(t.Context(), s1, wire.ID{}, 1); err != nil || len(page.Entries) != 1 || page.Next != (wire.ID{}) {
		t.Errorf("own %v, %v: its end is not seen", page, err)
	}
	if page, err := c.Range(t.Context(), s1, entries[0].ID, 10); err != nil || len(page) != 0 {
		t.Errorf("after the last possible id: %v, %v", page, err)
	}
	if page, err := group(t, c, "b").Reclaim(t.Context(), s1, 0, wire.ID{}, 10); err != nil || len(page.Entries) != 1 || page.Next != (wire.ID{}) {
		t.Errorf("reclaimed %v, %v", page, err)
	}
	if err := g.Ack(t.Context(), refs(entries)); err != nil {
		t.Error(err)
	}
	if pending, unread, err := g.Unsettled(t.Context()); pending != 0 || unread || err != nil {
		t.Errorf("%d pending, unread %t, %v", pending, unread, err)
	}
	if _, err := c.Add(t.Context(), s1, someFields); err == nil || !redisstream.NotSent(err) {
		t.Errorf("an impossible publish: %v", err)
	}
}

func TestTrapS24ConsumingWaitsForReplicas(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 2)
	g := group(t, c, "a")
	entries := read(t, g, 1)
	server.Do("CONFIG", "SET", "min-replicas-to-write", "1")
	_, _, readErr := g.Read(t.Context(), g.Streams(), 10, 0)
	_, sweepErr := g.Reclaim(t.Context(), s1, time.Second, wire.ID{}, 10)
	for what, err := range map[string]error{"read": readErr, "sweep": sweepErr, "ack": g.Ack(t.Context(), refs(entries))} {
		if redisstream.ClassOf(err) != redisstream.NoReplicas || errors.Is(err, delivery.ErrLost) {
			t.Errorf("%s: %v", what, err)
		}
	}
	server.Do("CONFIG", "SET", "min-replicas-to-write", "0")
	if got := read(t, g, 10); len(got) != 1 {
		t.Errorf("read %v", got)
	}
	if err := g.Ack(t.Context(), refs(entries)); err != nil {
		t.Error(err)
	}
}

// A sweep reaches entries that lie far behind more than a thousand that are
// fresh, by pages of bounded size.
func TestOldEntriesBehindAFreshHeadAreReached(t *testing.T) {
	c, server := start(t)
	const fresh, old = 1500, 250
	want := add(t, c, s1, fresh+old)[fresh:]
	read(t, group(t, c, "live"), fresh)
	read(t, group(t, c, "dead"), old)
	setIdle(server, "dead", time.Hour, want...)
	g := group(t, c, "a")
	var got []wire.ID
	pages := 0
	for cursor := (wire.ID{}); ; {
		page, err := g.Reclaim(t.Context(), s1, time.Minute, cursor, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Entries) > 100 {
			t.Errorf("a page of %d", len(page.Entries))
		}
		got = append(got, ids(page.Entries)...)
		pages++
		if cursor = page.Next; cursor == (wire.ID{}) {
			break
		}
	}
	if !slices.Equal(got, want) || pages > 6 {
		t.Errorf("%d entries in %d pages, want %d", len(got), pages, old)
	}
	if n := countOf(owners(server, s1), "live"); n != 1000 { // the page of owners has 1000
		t.Errorf("the live consumer has %d of the first 1000", n)
	}
}

func countOf(owners map[string]string, consumer string) (n int) {
	for _, o := range owners {
		if o == consumer {
			n++
		}
	}
	return n
}

// Where a group has gone, nothing that was settled is repeated, nothing that
// was not is skipped, and reading goes on.
func TestLostGroupRepeatsWhatWasNotSettledAndNothingElse(t *testing.T) {
	c, server := start(t)
	ids := add(t, c, s1, 10)
	var log logBuffer
	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Explicit: []string{s1}, Log: log.logger()})
	entries := read(t, g, 6)
	if err := g.Ack(t.Context(), refs(entries[:4])); err != nil {
		t.Fatal(err)
	}
	server.Do("XGROUP", "DESTROY", s1, "g")
	if _, _, err := g.Read(t.Context(), g.Streams(), 100, 0); !errors.Is(err, delivery.ErrLost) {
		t.Fatalf("error %v", err)
	}
	if got := idsOf(t, g); !slices.Equal(got, ids[4:]) {
		t.Errorf("read %v, want %v", got, ids[4:])
	}
	if n := g.Losses().Recreated; n != 1 {
		t.Errorf("counted %d times: %s", n, log.String())
	}
	if got := fmt.Sprint(owners(server, s1)[ids[4].String()]); got != "a" {
		t.Errorf("the first unsettled entry is %q's", got)
	}
}
