package redisstream_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

// strange are fields that are hard to keep: twice the same name, no UTF-8,
// nothing, and a name as if it were a dead letter's own.
var strange = []events.Field{{Name: "a", Value: "1"}, {Name: "\xff", Value: "\x00\r\n"}, {Name: "a", Value: ""}, {Name: "freshet-id", Value: "7-7"}}

// bury reads an entry with these fields from the stream as group g and
// dead-letters it. It returns the ids of the entry and of the letter.
func bury(t *testing.T, c *redisstream.Client, g *redisstream.Group, stream string, fields []events.Field) (entry, letter wire.ID) {
	t.Helper()
	entry, err := c.Add(t.Context(), stream, fields)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range read(t, g, 10) {
		if owned, err := g.Bury(t.Context(), delivery.DeadLetter{Entry: e, Attempts: 8, Reason: "max_attempts", Detail: "no", LastFailed: time.Unix(1, 0)}); err != nil || !owned {
			t.Fatalf("bury: %t, %v", owned, err)
		}
	}
	letter, err = c.Last(t.Context(), redisstream.DeadLetterKey(stream, "g"))
	if err != nil {
		t.Fatal(err)
	}
	return entry, letter
}

func redrive(t *testing.T, c *redisstream.Client, stream string, ids ...wire.ID) []redisstream.Redriven {
	t.Helper()
	results, err := c.Redrive(t.Context(), stream, "g", ids)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestRedrivenIsReadByItsGroupAloneAndGoneWhenSettled(t *testing.T) {
	c, server := start(t)
	g := group(t, c, "a")
	entry, letter := bury(t, c, g, s1, strange)
	server.Do("XGROUP", "CREATE", s1, "other", "$")

	if got := redrive(t, c, s1, letter, letter); !slices.Equal(got, []redisstream.Redriven{redisstream.Moved, redisstream.Gone}) {
		t.Fatalf("redriven: %v", got)
	}
	if n := server.Do("XLEN", redisstream.DeadLetterKey(s1, "g")); n != int64(0) {
		t.Errorf("%v dead letters left", n)
	}
	redisstream.MakeResolveDue(g)
	read(t, g, 10)
	entries := read(t, g, 10)
	want := append(slices.Clone(strange), events.Field{Name: "freshet-stream", Value: s1}, events.Field{Name: "freshet-id", Value: entry.String()})
	if len(entries) != 1 || entries[0].Stream != redisstream.RetryKey(s1, "g") || !slices.Equal(entries[0].Fields.List(), want) {
		t.Fatalf("read %v, want fields %v", entries, want)
	}
	if pending, unread, err := g.Unsettled(t.Context()); pending != 1 || unread || err != nil {
		t.Errorf("%d pending, unread %t, %v", pending, unread, err)
	}
	if unread := server.Do("XREADGROUP", "GROUP", "other", "x", "STREAMS", s1, ">"); unread != nil {
		t.Errorf("another group was given %v", unread)
	}
	if err := g.Ack(t.Context(), refs(entries)); err != nil {
		t.Fatal(err)
	}
	if n := server.Do("XLEN", redisstream.RetryKey(s1, "g")); n != int64(0) {
		t.Errorf("%v redriven entries were kept", n)
	}
	if n := server.Do("XLEN", s1); n != int64(1) {
		t.Errorf("the original stream has %v entries", n)
	}
}

// What is redriven before a consumer starts is there at its start, also for a
// group that begins with what is new.
func TestRedrivenIsFoundAtTheStart(t *testing.T) {
	c, _ := start(t)
	_, letter := bury(t, c, group(t, c, "a"), s1, strange)
	redrive(t, c, s1, letter)
	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "b", Explicit: []string{s1}, StartNew: true})
	if got := read(t, g, 10); len(got) != 1 {
		t.Errorf("read %v", got)
	}
}

func TestRedrivenThatFailsAgainIsADeadLetterOfTheOriginal(t *testing.T) {
	c, server := start(t)
	g := group(t, c, "a")
	_, letter := bury(t, c, g, s1, strange)
	before, err := c.Range(t.Context(), redisstream.DeadLetterKey(s1, "g"), wire.ID{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	redrive(t, c, s1, letter)
	again := group(t, c, "b")
	entries := read(t, again, 10)
	if got := deliveries(server, redisstream.RetryKey(s1, "g")); got[entries[0].ID.String()] != 1 {
		t.Errorf("attempts do not begin anew: %v", got)
	}
	l := delivery.DeadLetter{Entry: entries[0], Attempts: 8, Reason: "max_attempts", Detail: "no", LastFailed: time.Unix(1, 0)}
	if owned, err := g.Bury(t.Context(), l); owned || err != nil {
		t.Errorf("another consumer dead-lettered it: %t, %v", owned, err)
	}
	if owned, err := again.Bury(t.Context(), l); !owned || err != nil {
		t.Fatalf("bury: %t, %v", owned, err)
	}
	after, err := c.Range(t.Context(), redisstream.DeadLetterKey(s1, "g"), wire.ID{}, 10)
	if err != nil || len(after) != 1 {
		t.Fatalf("%v, %v", after, err)
	}
	want := before[0].Fields.List()
	want[slices.Index(want, events.Field{Name: "freshet-consumer", Value: "a"})].Value = "b"
	if !slices.Equal(after[0].Fields.List(), want) {
		t.Errorf("letter\n%q, want\n%q", after[0].Fields.List(), want)
	}
	if n := server.Do("XLEN", redisstream.RetryKey(s1, "g")); n != int64(0) {
		t.Errorf("%v redriven entries were kept", n)
	}
	if keys, err := c.DeadLetterKeys(t.Context()); err != nil || !slices.Equal(keys, []string{redisstream.DeadLetterKey(s1, "g")}) {
		t.Errorf("dead letters in %q, %v", keys, err)
	}
}

// One letter is redriven once, whoever tries at the same time, and those of
// one stream keep their order.
func TestRedrivesAtOnce(t *testing.T) {
	c, _ := start(t)
	g := group(t, c, "a")
	var letters []wire.ID
	for n := range 200 {
		_, letter := bury(t, c, g, s1, []events.Field{{Name: "n", Value: fmt.Sprint(n)}})
		letters = append(letters, letter)
	}
	var moved atomic.Int64
	var at sync.WaitGroup
	for range 4 {
		at.Go(func() {
			for some := range slices.Chunk(letters, 7) {
				results, err := c.Redrive(t.Context(), s1, "g", some)
				if err != nil {
					t.Error(err)
				}
				for _, r := range results {
					moved.Add(int64(r))
				}
			}
		})
	}
	at.Wait()
	entries, err := c.Range(t.Context(), redisstream.RetryKey(s1, "g"), wire.ID{}, 1000)
	if err != nil || len(entries) != 200 || moved.Load() != 200 {
		t.Fatalf("%d entries, %d counted, %v", len(entries), moved.Load(), err)
	}
	for n, e := range entries {
		if e.Fields.List()[0].Value != fmt.Sprint(n) {
			t.Fatalf("entry %d is number %s", n, e.Fields.List()[0].Value)
		}
	}
}

// What is redriven one after the other has ascending ids, also over streams
// and within one millisecond.
func TestRedriveKeepsOrderOverStreams(t *testing.T) {
	c, _ := start(t)
	g := group(t, c, "a")
	var last wire.ID
	for range 100 {
		for _, some := range []struct {
			stream string
			count  int
		}{{s2, 1}, {s1, 3}} {
			var letters []wire.ID
			for range some.count {
				_, letter := bury(t, c, g, some.stream, strange)
				letters = append(letters, letter)
			}
			redrive(t, c, some.stream, letters...)
			entries, err := c.Range(t.Context(), redisstream.RetryKey(some.stream, "g"), last, 10)
			if err != nil || len(entries) != some.count {
				t.Fatalf("%d above %s, want %d, %v", len(entries), last, some.count, err)
			}
			last = entries[some.count-1].ID
		}
	}
}

// Of entries that were redriven to several streams, a read that brings the
// first of one stream makes the others known.
func TestReadOfRetriesMakesTheOthersKnown(t *testing.T) {
	c, _ := start(t)
	g := group(t, c, "a")
	_, second := bury(t, c, g, s2, strange)
	_, first := bury(t, c, g, s1, strange)
	redrive(t, c, s2, second)
	redisstream.MakeResolveDue(g)
	if got := read(t, g, 10); len(got) != 0 {
		t.Fatalf("read %v", got)
	}
	_, third := bury(t, c, g, s2, strange) // reads the redriven one, too, and dead-letters it again
	redrive(t, c, s1, first)
	if slices.Contains(g.Streams(), redisstream.RetryKey(s1, "g")) {
		t.Fatal("known before it was looked for")
	}
	redrive(t, c, s2, third)
	if got := read(t, g, 10); len(got) != 1 {
		t.Fatalf("read %v", got)
	}
	if !slices.Contains(g.Streams(), redisstream.RetryKey(s1, "g")) {
		t.Errorf("streams %q lack what was redriven before", g.Streams())
	}
}

func TestForeignRecordsAreNotRedriven(t *testing.T) {
	c, server := start(t)
	key := redisstream.DeadLetterKey(s1, "g")
	_, letter := bury(t, c, group(t, c, "a"), s1, strange)
	foreign := add(t, c, key, 1)[0]
	server.Do("XADD", key, "*", "freshet-stream", s1, "freshet-id", "1-1", "freshet-group", "g")
	incomplete, err := c.Last(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	got := redrive(t, c, s1, foreign, incomplete, letter, wire.ID{Ms: 1})
	if want := []redisstream.Redriven{redisstream.Foreign, redisstream.Foreign, redisstream.Moved, redisstream.Gone}; !slices.Equal(got, want) {
		t.Errorf("redriven %v, want %v", got, want)
	}
	if n := server.Do("XLEN", key); n != int64(2) {
		t.Errorf("%v records stayed, want 2", n)
	}
}

func TestRedriveOutOfMemoryLosesNothing(t *testing.T) {
	c, server := start(t)
	_, letter := bury(t, c, group(t, c, "a"), s1, strange)
	server.Do("CONFIG", "SET", "maxmemory", "1")
	if _, err := c.Redrive(t.Context(), s1, "g", []wire.ID{letter}); redisstream.ClassOf(err) != redisstream.OutOfMemory {
		t.Errorf("error %v", err)
	}
	if n := server.Do("XLEN", redisstream.DeadLetterKey(s1, "g")); n != int64(1) {
		t.Errorf("%v dead letters, want the one", n)
	}
	if n := server.Do("EXISTS", redisstream.RetryKey(s1, "g")); n != int64(0) {
		t.Error("it was redriven as well")
	}
}

func TestStoreLettersRefusesWhenThereAreUnseenOnes(t *testing.T) {
	c, server := start(t)
	letters := [][]events.Field{strange, {{Name: "b", Value: "2"}}}
	last, ok, err := c.StoreLetters(t.Context(), s1, "g", wire.ID{}, letters)
	if err != nil || !ok {
		t.Fatalf("%t, %v", ok, err)
	}
	if _, ok, err := c.StoreLetters(t.Context(), s1, "g", last.Prev(), letters); ok || err != nil {
		t.Errorf("stored though one was unseen: %t, %v", ok, err)
	}
	entries, err := c.Range(t.Context(), redisstream.DeadLetterKey(s1, "g"), wire.ID{}, 10)
	if err != nil || len(entries) != 2 || entries[1].ID != last || !slices.Equal(entries[0].Fields.List(), strange) || !slices.Equal(entries[1].Fields.List(), letters[1]) {
		t.Errorf("stored %v, %v", entries, err)
	}
	many := make([]events.Field, redisstream.MaxLetterFields)
	if _, ok, err := c.StoreLetters(t.Context(), s1, "g", last, [][]events.Field{many}); !ok || err != nil {
		t.Errorf("with %d fields: %t, %v", len(many), ok, err)
	}
	n, err := c.DropLetters(t.Context(), s1, "g", []wire.ID{last, last, {Ms: 1}})
	if n != 1 || err != nil {
		t.Errorf("dropped %d, %v", n, err)
	}
	if n := server.Do("XLEN", redisstream.DeadLetterKey(s1, "g")); n != int64(2) {
		t.Errorf("%v dead letters, want 2", n)
	}
}

func TestLargestLetterIsRedriven(t *testing.T) {
	c, _ := start(t)
	many := make([]events.Field, 5000)
	for i := range many {
		many[i] = events.Field{Name: fmt.Sprint(i), Value: "x"}
	}
	_, letter := bury(t, c, group(t, c, "a"), s1, many)
	if got := redrive(t, c, s1, letter); got[0] != redisstream.Moved {
		t.Errorf("redriven %v", got)
	}
}

func TestDeadLetterKeys(t *testing.T) {
	for key, want := range map[string][2]string{
		redisstream.DeadLetterKey(s1, "g"):      {s1, "g"},
		redisstream.DeadLetterKey("a:dlq", "x"): {"a:dlq", "x"},
		redisstream.DeadLetterKey("a", "x:y"):   {"a", "x:y"},
		redisstream.RetryKey(s1, "g"):           {},
		"a:dlq":                                 {},
		"{}:dlq:g":                              {},
		"{a}:dlq:":                              {},
	} {
		stream, group, ok := redisstream.SplitDeadLetterKey(key)
		if ok != (want[0] != "") || ok && (stream != want[0] || group != want[1]) {
			t.Errorf("%s: %q, %q, %t", key, stream, group, ok)
		}
	}
}

func TestRedriveInAClusterAndOnMiniredis(t *testing.T) {
	for name, url := range map[string]func(t *testing.T) string{
		"cluster":   func(t *testing.T) string { nodes := startCluster(t); return nodes[0].URL() },
		"miniredis": func(t *testing.T) string { return "redis://" + miniredis.RunT(t).Addr() },
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, url(t))
			g := group(t, c, "a")
			var last wire.ID
			for _, stream := range []string{s1, s2, s1} {
				_, letter := bury(t, c, g, stream, strange)
				if got := redrive(t, c, stream, letter); got[0] != redisstream.Moved {
					t.Errorf("redriven %v", got)
				}
				redisstream.MakeResolveDue(g)
				entries := append(read(t, g, 10), read(t, g, 10)...)
				if len(entries) != 1 || entries[0].ID.Compare(last) <= 0 {
					t.Fatalf("read %v, above %s", entries, last)
				}
				last = entries[0].ID
				if err := g.Ack(t.Context(), refs(entries)); err != nil {
					t.Error(err)
				}
			}
			if _, _, err := c.StoreLetters(t.Context(), s1, "g", wire.ID{}, [][]events.Field{strange}); err != nil {
				t.Error(err)
			}
			if keys, err := c.DeadLetterKeys(t.Context()); err != nil || !slices.Equal(keys, []string{redisstream.DeadLetterKey(s1, "g"), redisstream.DeadLetterKey(s2, "g")}) {
				t.Errorf("dead letters in %q, %v", keys, err)
			}
		})
	}
}
