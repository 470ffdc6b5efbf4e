package redisstream_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/wire"
)

// groupInfo returns a field of XINFO GROUPS of group g on a stream.
func groupInfo(t *testing.T, server *redistest.Server, stream, field string) any {
	t.Helper()
	groups, ok := server.Do("XINFO", "GROUPS", stream).([]any)
	if !ok {
		t.Fatalf("no groups on %s", stream)
	}
	flat := groups[0].([]any)
	for i := 0; i < len(flat); i += 2 {
		if flat[i] == field {
			return flat[i+1]
		}
	}
	t.Fatalf("no field %s", field)
	return nil
}

// TestTrimmedUnreadIsFoundOnce: what was trimmed before the group read it is
// counted exactly, by one of the group's consumers, though the server's lag
// stays wrong.
func TestTrimmedUnreadIsFoundOnce(t *testing.T) {
	c, server := start(t)
	log := &logBuffer{}
	cfg := redisstream.GroupConfig{Consumer: "a", Explicit: []string{s1}, Log: log.logger()}
	a := groupOf(t, c, cfg)
	add(t, c, s1, 21)
	if err := a.Ack(t.Context(), refs(read(t, a, 5))); err != nil {
		t.Fatal(err)
	}
	server.Do("XTRIM", s1, "MAXLEN", "3")
	if lag := groupInfo(t, server, s1, "lag"); lag != int64(16) {
		t.Fatalf("lag is %v, want the server's wrong 16", lag)
	}
	b := groupOf(t, c, redisstream.GroupConfig{Consumer: "b", Explicit: []string{s1}, Log: log.logger()})
	if got := b.Losses().Unread; got != 13 {
		t.Errorf("%d entries counted as lost, want 13", got)
	}
	if got := read(t, b, 10); len(got) != 3 {
		t.Errorf("%d entries read, want 3", len(got))
	}
	if third := groupOf(t, c, cfg); third.Losses().Unread != 0 {
		t.Error("the same loss was counted twice")
	}
	if n := strings.Count(log.String(), "before the group read them"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log)
	}
}

// TestTrimmedUnreadIsFoundLater: also where the consumer runs, and where the
// rest was read before anybody looked.
func TestTrimmedUnreadIsFoundLater(t *testing.T) {
	c, server := start(t)
	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Explicit: []string{s1}})
	add(t, c, s1, 20)
	read(t, g, 5)
	server.Do("XTRIM", s1, "MAXLEN", "3")
	if got := read(t, g, 10); len(got) != 3 {
		t.Fatalf("%d entries read, want 3", len(got))
	}
	eventually(t, "12 are counted as lost", func() bool {
		read(t, g, 10)
		return g.Losses().Unread == 12
	})
	server.Do("XTRIM", s1, "MAXLEN", "0") // all of it was read
	add(t, c, s1, 4)
	server.Do("XTRIM", s1, "MAXLEN", "0") // nothing of it was
	eventually(t, "4 more", func() bool {
		read(t, g, 10)
		return g.Losses().Unread == 16
	})
}

// TestNothingIsLost: neither trimming what was read, nor deleting it, nor
// beginning on a stream that was trimmed long ago counts as a loss.
func TestNothingIsLost(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 10)
	server.Do("XTRIM", s1, "MAXLEN", "6")
	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Explicit: []string{s1, s2}})
	got := read(t, g, 4)
	server.Do("XTRIM", s1, "MAXLEN", "3")
	server.Do("XDEL", s1, got[3].ID.String())
	read(t, g, 10)
	server.Do("XTRIM", s1, "MAXLEN", "0")
	for range 2 {
		again := groupOf(t, c, redisstream.GroupConfig{Consumer: "b", Explicit: []string{s1, s2}})
		if l := again.Losses(); l != (redisstream.Losses{}) {
			t.Errorf("losses: %+v", l)
		}
		add(t, c, s2, 3)
		read(t, again, 10)
	}
}

// TestOldCountsAreNoLoss: after a failover or a restart the server's count of
// what the group has read is missing, or an older one.
func TestOldCountsAreNoLoss(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	c := open(t, server.URL())
	add(t, c, s1, 5)
	server.Do("XGROUP", "CREATE", s1, "g", "$") // writes the count into the file
	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Explicit: []string{s1}})
	add(t, c, s1, 20)
	read(t, g, 20)
	server.Do("XTRIM", s1, "MAXLEN", "8")
	look := func() {
		t.Helper()
		again := groupOf(t, c, redisstream.GroupConfig{Consumer: "b", Explicit: []string{s1}})
		if l := again.Losses(); l != (redisstream.Losses{}) {
			t.Errorf("losses: %+v", l)
		}
	}
	look()
	server.Kill()
	server.Restart()
	if _, _, err := g.Read(t.Context(), g.Streams(), 10, time.Millisecond); err != nil {
		t.Log("the first read after the restart:", err)
	}
	if n := groupInfo(t, server, s1, "entries-read"); n == int64(25) {
		t.Fatal("entries-read is as before: the test shows nothing")
	}
	look()
	add(t, c, s1, 3)
	read(t, g, 10)
	look()
	// What is lost from now on is found as before.
	add(t, c, s1, 10)
	look()
	server.Do("XTRIM", s1, "MAXLEN", "4")
	again := groupOf(t, c, redisstream.GroupConfig{Consumer: "c", Explicit: []string{s1}})
	if n := again.Losses().Unread; n != 6 {
		t.Errorf("%d entries counted as lost, want 6", n)
	}
}

// TestOlderCountsThanAtTheLastLookAreNoLoss: nor are those that are older than
// what was read and newer than the last look.
func TestOlderCountsThanAtTheLastLookAreNoLoss(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	c := open(t, server.URL())
	add(t, c, s1, 40)
	readBy := func(count string) {
		server.Do("XREADGROUP", "GROUP", "g", "a", "COUNT", count, "STREAMS", s1, ">")
	}
	look := func() {
		t.Helper()
		if l := groupOf(t, c, redisstream.GroupConfig{Consumer: "b", Explicit: []string{s1}}).Losses(); l != (redisstream.Losses{}) {
			t.Errorf("losses: %+v", l)
		}
	}
	look()
	readBy("5")
	look()
	readBy("5")
	server.Do("BGREWRITEAOF") // writes the count into the file
	eventually(t, "the file is written", func() bool {
		return strings.Contains(server.Do("INFO", "persistence").(string), "aof_rewrite_in_progress:0")
	})
	readBy("25")
	server.Restart()
	if n := groupInfo(t, server, s1, "entries-read"); n != int64(10) {
		t.Fatalf("entries-read is %v, want 10 of 35: the test shows nothing", n)
	}
	look()
	readBy("5")
	look()
}

// TestLostAcknowledgmentsAreCounted: what was settled and comes again, because
// a group was moved back or a server forgot, is counted and logged once.
func TestLostAcknowledgmentsAreCounted(t *testing.T) {
	c, server := start(t)
	log := &logBuffer{}
	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Explicit: []string{s1}, Log: log.logger()})
	add(t, c, s1, 6)
	entries := read(t, g, 10)
	if err := g.Ack(t.Context(), refs(entries[:4])); err != nil {
		t.Fatal(err)
	}
	// The server forgets two acknowledgments, as a failover may have it.
	for _, e := range entries[2:4] {
		server.Do("XCLAIM", s1, "g", "a", "0", e.ID.String(), "FORCE", "JUSTID")
	}
	own, err := g.Own(t.Context(), s1, entries[0].ID.Prev(), 10)
	if err != nil || len(own.Entries) != 4 {
		t.Fatalf("%d own entries, %v", len(own.Entries), err)
	}
	if n := g.Losses().Acks; n != 2 {
		t.Errorf("%d lost acknowledgments, want 2", n)
	}
	if err := g.Ack(t.Context(), refs(own.Entries)); err != nil {
		t.Fatal(err)
	}
	// It forgets the group's position.
	server.Do("XGROUP", "SETID", s1, "g", entries[2].ID.String())
	if got := read(t, g, 10); len(got) != 3 {
		t.Fatalf("%d entries read again, want 3", len(got))
	}
	if n := g.Losses().Acks; n != 5 {
		t.Errorf("%d lost acknowledgments, want 5", n)
	}
	if n := strings.Count(log.String(), "delivered again"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log)
	}
}

// TestTakenOverIsNotALostAcknowledgment: entries of others, taken over by a
// call whose reply is lost, are no entries that this consumer had settled.
func TestTakenOverIsNotALostAcknowledgment(t *testing.T) {
	c, server := start(t)
	dead := groupOf(t, c, redisstream.GroupConfig{Consumer: "dead", Explicit: []string{s1}})
	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Explicit: []string{s1}})
	add(t, c, s1, 6)
	read(t, dead, 3)
	read(t, g, 3)
	cut, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Reclaim(cut, s1, 0, wire.ID{}, 10); err == nil {
		t.Fatal("a call that was cut off did not fail")
	}
	server.Do("XAUTOCLAIM", s1, "g", "a", "0", "0", "COUNT", "3") // it had its effect
	own, err := g.Own(t.Context(), s1, wire.ID{}, 10)
	if err != nil || len(own.Entries) != 6 {
		t.Fatalf("%d own entries, %v", len(own.Entries), err)
	}
	if n := g.Losses().Acks; n != 0 {
		t.Errorf("%d lost acknowledgments, want none", n)
	}
}

// TestTheServerForgotTheEnd: a server that comes back without the newest
// entries is reported.
func TestTheServerForgotTheEnd(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	c := open(t, server.URL())
	log := &logBuffer{}
	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Explicit: []string{s1}, Log: log.logger()})
	add(t, c, s1, 50)
	entries := read(t, g, 100)
	if err := g.Ack(t.Context(), refs(entries)); err != nil {
		t.Fatal(err)
	}
	dir := server.Do("CONFIG", "GET", "dir").([]any)[1].(string)
	server.Kill()
	if _, _, err := g.Read(t.Context(), g.Streams(), 10, time.Second); err == nil {
		t.Fatal("a read did not fail without a server")
	}
	files, err := filepath.Glob(filepath.Join(dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	stat, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(files[0], stat.Size()/5); err != nil {
		t.Fatal(err)
	}
	server.Restart()
	add(t, open(t, server.URL()), s1, 1) // others publish on
	eventually(t, "the loss is reported", func() bool {
		g.Read(t.Context(), g.Streams(), 10, 10*time.Millisecond) // may fail at first
		return g.Losses().SetBack == 1
	})
	if !strings.Contains(log.String(), "lost the stream's newest entries") {
		t.Errorf("log: %s", log)
	}
}

// TestDeletedUnreadIsFoundEachTime: the server takes what was deleted for read
// once the group is past it, and the counts of the loss before must not hide
// the next.
func TestDeletedUnreadIsFoundEachTime(t *testing.T) {
	c, server := start(t)
	for round := range 3 {
		g := group(t, c, "a")
		if err := g.Leave(t.Context()); err != nil { // so that the group is known
			t.Fatal(err)
		}
		server.Do("XDEL", s1, add(t, c, s1, 3)[1].String())
		g = group(t, c, "a")
		if n := g.Losses().Unread; n != 1 {
			t.Errorf("round %d: %d counted, want 1", round, n)
		}
		if err := g.Ack(t.Context(), refs(read(t, g, 10))); err != nil {
			t.Fatal(err)
		}
		if err := g.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := g.Losses().Unread; n != 1 {
			t.Errorf("round %d: %d counted in the end, want 1", round, n)
		}
	}
}
