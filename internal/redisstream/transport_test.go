package redisstream_test

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

func TestOwnPagesThroughOwnEntriesWithoutCounting(t *testing.T) {
	c, server := start(t)
	want := add(t, c, s1, 25)
	g := group(t, c, "a")
	read(t, g, 20)
	read(t, group(t, c, "b"), 20) // the last five are another's
	var got []wire.ID
	pages := 0
	for after := (wire.ID{}); ; {
		page, err := g.Own(t.Context(), s1, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page.Deliveries {
			if d != 1 {
				t.Errorf("deliveries %v", page.Deliveries)
			}
		}
		got = append(got, ids(page.Entries)...)
		pages++
		if after = page.Next; after == (wire.ID{}) {
			break
		}
	}
	if !slices.Equal(got, want[:20]) || pages > 3 {
		t.Errorf("%d pages: %v, want %v", pages, got, want[:20])
	}
	for id, n := range deliveries(server, s1) {
		if n != 1 {
			t.Errorf("%s was counted: %d", id, n)
		}
	}
}

func TestReclaimTakesIdleEntriesOverWithoutCounting(t *testing.T) {
	c, server := start(t)
	want := add(t, c, s1, 250)
	dead, g := group(t, c, "dead"), group(t, c, "a")
	entries := read(t, dead, 250)
	if _, err := dead.Begin(t.Context(), refs(entries[:1]), []int{7}); err != nil {
		t.Fatal(err)
	}
	if page, err := g.Reclaim(t.Context(), s1, time.Hour, wire.ID{}, 100); err != nil || len(page.Entries) != 0 || page.Next != (wire.ID{}) {
		t.Errorf("fresh entries were taken over: %v, %v", page, err)
	}
	var got []wire.ID
	for cursor := (wire.ID{}); ; {
		page, err := g.Reclaim(t.Context(), s1, 0, cursor, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Entries) > 100 || len(page.Entries) != len(page.Deliveries) {
			t.Errorf("%d entries with %d counts in one page", len(page.Entries), len(page.Deliveries))
		}
		for i, e := range page.Entries {
			if n := map[bool]int{true: 7, false: 1}[e.ID == want[0]]; page.Deliveries[i] != n {
				t.Errorf("%s: %d deliveries, want %d", e.ID, page.Deliveries[i], n)
			}
			if e.Fields.Len() != 1 || e.Fields.List()[0].Name != "n" {
				t.Errorf("%s: fields %v", e.ID, e.Fields.List())
			}
		}
		got = append(got, ids(page.Entries)...)
		if cursor = page.Next; cursor == (wire.ID{}) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d entries, want %d", len(got), len(want))
	}
	for id, owner := range owners(server, s1) {
		if owner != "a" {
			t.Errorf("%s is %s's", id, owner)
		}
	}
}

func TestTrimmedEntriesAreReportedAndForgotten(t *testing.T) {
	c, server := start(t)
	want := add(t, c, s1, 6)
	g, other := group(t, c, "a"), group(t, c, "b")
	read(t, g, 3)
	read(t, other, 3)
	server.Do("XDEL", s1, want[1].String(), want[4].String())

	own, err := g.Own(t.Context(), s1, wire.ID{}, 10)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ids(own.Entries), []wire.ID{want[0], want[2]}) || !slices.Equal(own.Trimmed, []wire.Ref{{Stream: s1, ID: want[1]}}) {
		t.Errorf("own: %v, trimmed %v", ids(own.Entries), own.Trimmed)
	}
	taken, err := g.Reclaim(t.Context(), s1, 0, want[3], 10)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(ids(taken.Entries), []wire.ID{want[3], want[5]}) || !slices.Equal(taken.Trimmed, []wire.Ref{{Stream: s1, ID: want[4]}}) {
		t.Errorf("reclaimed: %v, trimmed %v", ids(taken.Entries), taken.Trimmed)
	}
	if n := len(owners(server, s1)); n != 4 {
		t.Errorf("%d pending, want 4", n)
	}
}

func TestBeginSetsTheCountAndRenewLeavesIt(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 2)
	add(t, c, s2, 1)
	g := group(t, c, "a")
	r := refs(read(t, g, 10))
	owned, err := g.Begin(t.Context(), r, []int{3, 1, 9})
	if err != nil || !slices.Equal(owned, []bool{true, true, true}) {
		t.Fatalf("owned %v, %v", owned, err)
	}
	if owned, err = g.Renew(t.Context(), r); err != nil || !slices.Equal(owned, []bool{true, true, true}) {
		t.Fatalf("renewed %v, %v", owned, err)
	}
	want := map[string]int64{r[0].ID.String(): 3, r[1].ID.String(): 1}
	if got := deliveries(server, s1); !maps.Equal(got, want) {
		t.Errorf("deliveries %v, want %v", got, want)
	}
	if got := deliveries(server, s2)[r[2].ID.String()]; got != 9 {
		t.Errorf("deliveries %d, want 9", got)
	}
}

// In whatever order they are named: those between which others lie, and one that
// the stream no longer has, keep what is theirs.
func TestBeginAndRenewOfEntriesFarApart(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 10)
	g, other := group(t, c, "a"), group(t, c, "b")
	mine := refs(read(t, g, 2))
	for range 3 {
		read(t, other, 1)
		mine = append(mine, refs(read(t, g, 1))...)
	}
	theirs := refs(read(t, other, 1))[0]
	read(t, g, 1)
	server.Do("XDEL", s1, mine[3].ID.String())
	before := deliveries(server, s1)
	r := []wire.Ref{mine[4], mine[0], theirs, mine[3], mine[1], mine[2]}
	want := []bool{true, true, false, true, true, true}
	if owned, err := g.Begin(t.Context(), r, []int{4, 2, 9, 9, 2, 7}); err != nil || !slices.Equal(owned, want) {
		t.Fatalf("owned %v, %v", owned, err)
	}
	if owned, err := g.Renew(t.Context(), r); err != nil || !slices.Equal(owned, want) {
		t.Fatalf("renewed %v, %v", owned, err)
	}
	after := maps.Clone(before)
	for i, n := range map[int]int64{4: 4, 0: 2, 1: 2, 2: 7} {
		after[mine[i].ID.String()] = n
	}
	if got := deliveries(server, s1); len(got) != 10 || !maps.Equal(got, after) {
		t.Errorf("deliveries %v, want %v", got, after)
	}
}

func TestBeginAndRenewRestartTheLease(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 2)
	g := group(t, c, "a")
	r := refs(read(t, g, 10))
	for name, restart := range map[string]func() ([]bool, error){
		"begin": func() ([]bool, error) { return g.Begin(t.Context(), r[:1], []int{2}) },
		"renew": func() ([]bool, error) { return g.Renew(t.Context(), r[:1]) },
	} {
		server.Do("XCLAIM", s1, "g", "a", "0", r[0].ID.String(), r[1].ID.String(), "IDLE", "60000", "JUSTID")
		if _, err := restart(); err != nil {
			t.Fatal(err)
		}
		for _, p := range server.Do("XPENDING", s1, "g", "-", "+", "10").([]any) {
			p := p.([]any)
			idle := p[2].(int64)
			if first := p[0] == r[0].ID.String(); first && idle > 30000 || !first && idle < 60000 {
				t.Errorf("%s: %v is idle for %d ms", name, p[0], idle)
			}
		}
	}
}

// A zombie is a consumer that went on after its entries were taken over.
func TestZombieIsRefused(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 3)
	zombie, g := group(t, c, "zombie"), group(t, c, "a")
	entries := read(t, zombie, 3)
	r := refs(entries)
	if _, err := g.Reclaim(t.Context(), s1, 0, entries[1].ID, 10); err != nil {
		t.Fatal(err)
	}
	want := []bool{true, false, false}
	before := deliveries(server, s1)
	if got, err := zombie.Renew(t.Context(), r); err != nil || !slices.Equal(got, want) {
		t.Errorf("renew: %v, %v", got, err)
	}
	if got, err := zombie.Begin(t.Context(), r, []int{1, 5, 5}); err != nil || !slices.Equal(got, want) {
		t.Errorf("begin: %v, %v", got, err)
	}
	if got, err := zombie.Bury(t.Context(), delivery.DeadLetter{Entry: entries[1], Attempts: 5}); err != nil || got {
		t.Errorf("bury: %t, %v", got, err)
	}
	if got := deliveries(server, s1); !maps.Equal(got, before) {
		t.Errorf("the zombie changed counts from %v to %v", before, got)
	}
	if got := owners(server, s1); got[r[1].ID.String()] != "a" || got[r[2].ID.String()] != "a" {
		t.Errorf("owners %v", got)
	}
	if n := server.Do("EXISTS", redisstream.DeadLetterKey(s1, "g")); n != int64(0) {
		t.Error("the zombie stored a dead letter")
	}
	// A settled entry is nobody's.
	if err := g.Ack(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if got, err := g.Renew(t.Context(), r[2:]); err != nil || got[0] {
		t.Errorf("renewed a settled entry: %v, %v", got, err)
	}
}

// An entry in hand that was trimmed can still be handled or dead-lettered.
func TestTrimmedEntryInHandStaysOwned(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 2)
	g := group(t, c, "a")
	entries := read(t, g, 2)
	server.Do("XTRIM", s1, "MAXLEN", "0")
	if owned, err := g.Begin(t.Context(), refs(entries), []int{2, 2}); err != nil || !slices.Equal(owned, []bool{true, true}) {
		t.Errorf("begin: %v, %v", owned, err)
	}
	if owned, err := g.Renew(t.Context(), refs(entries)); err != nil || !slices.Equal(owned, []bool{true, true}) {
		t.Errorf("renew: %v, %v", owned, err)
	}
	if owned, err := g.Bury(t.Context(), delivery.DeadLetter{Entry: entries[0], Attempts: 2}); err != nil || !owned {
		t.Errorf("bury: %t, %v", owned, err)
	}
	if err := g.Ack(t.Context(), refs(entries[1:])); err != nil {
		t.Error(err)
	}
	if n := len(owners(server, s1)); n != 0 {
		t.Errorf("%d pending", n)
	}
}

func TestManyEntriesAtOnce(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 2300)
	add(t, c, s2, 700)
	g := group(t, c, "a")
	r := refs(read(t, g, 3000))
	attempts := make([]int, len(r))
	for i := range attempts {
		attempts[i] = 2 + i%3
	}
	owned, err := g.Begin(t.Context(), r, attempts)
	if err != nil || len(owned) != len(r) || slices.Contains(owned, false) {
		t.Fatalf("owned %d of %d, %v", len(owned), len(r), err)
	}
	got := deliveries(server, s1)
	for i, ref := range r[:1000] {
		if got[ref.ID.String()] != int64(attempts[i]) {
			t.Fatalf("%s: %d deliveries, want %d", ref, got[ref.ID.String()], attempts[i])
		}
	}
	if err := g.Ack(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if err := g.Ack(t.Context(), r[:10]); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if pending, unread, err := g.Unsettled(t.Context()); pending != 0 || unread || err != nil {
		t.Errorf("%d pending, unread %t, %v", pending, unread, err)
	}
}

func TestNothingToDoIsNoError(t *testing.T) {
	c, _ := start(t)
	g := group(t, c, "a")
	if owned, err := g.Begin(t.Context(), nil, nil); len(owned) != 0 || err != nil {
		t.Error(owned, err)
	}
	if owned, err := g.Renew(t.Context(), nil); len(owned) != 0 || err != nil {
		t.Error(owned, err)
	}
	if err := g.Ack(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if page, err := g.Own(t.Context(), s1, wire.ID{}, 10); !reflect.DeepEqual(page, delivery.Pending{}) || err != nil {
		t.Error(page, err)
	}
}

func TestBuryKeepsEveryFieldAndSettlesOnce(t *testing.T) {
	c, server := start(t)
	fields := []events.Field{{Name: "b", Value: "\xff\x00"}, {Name: "a", Value: ""}, {Name: "b", Value: "2"}, {Name: "freshet-reason", Value: "forged"}}
	if _, err := c.Add(t.Context(), s1, fields); err != nil {
		t.Fatal(err)
	}
	g := group(t, c, "a")
	e := read(t, g, 1)[0]
	letter := delivery.DeadLetter{
		Entry:       e,
		Attempts:    5,
		Reason:      delivery.ReasonExhausted,
		Detail:      "bad \xff" + strings.Repeat("é", 600),
		FirstFailed: time.Date(2025, 12, 6, 10, 0, 0, 123456789, time.FixedZone("CET", 3600)),
	}
	if owned, err := g.Bury(t.Context(), letter); err != nil || !owned {
		t.Fatalf("owned %t, %v", owned, err)
	}
	if owned, err := g.Bury(t.Context(), letter); err != nil || owned {
		t.Errorf("a second time: owned %t, %v", owned, err)
	}
	letters, err := c.Range(t.Context(), redisstream.DeadLetterKey(s1, "g"), wire.ID{}, 10)
	if err != nil || len(letters) != 1 {
		t.Fatalf("%d letters, %v", len(letters), err)
	}
	want := append(slices.Clone(fields), []events.Field{
		{Name: "freshet-stream", Value: s1},
		{Name: "freshet-id", Value: e.ID.String()},
		{Name: "freshet-group", Value: "g"},
		{Name: "freshet-consumer", Value: "a"},
		{Name: "freshet-attempts", Value: "5"},
		{Name: "freshet-reason", Value: "max_attempts"},
		{Name: "freshet-error", Value: "bad \uFFFD" + strings.Repeat("é", 508)},
		{Name: "freshet-first-failed", Value: "2025-12-06T09:00:00.123Z"},
		{Name: "freshet-last-failed", Value: ""},
	}...)
	if got := letters[0].Fields.List(); !slices.Equal(got, want) {
		t.Errorf("letter\n%q, want\n%q", got, want)
	}
	if n := len(owners(server, s1)); n != 0 {
		t.Errorf("%d pending", n)
	}
}

func TestBuryTakesEntriesOfAnySize(t *testing.T) {
	c, server := start(t)
	many := make([]events.Field, 20000)
	for i := range many {
		many[i] = events.Field{Name: fmt.Sprint(i), Value: "x"}
	}
	for _, fields := range [][]events.Field{many, {{Name: "data", Value: strings.Repeat("x", 8<<20)}}} {
		if _, err := c.Add(t.Context(), s1, fields); err != nil {
			t.Fatal(err)
		}
	}
	g := group(t, c, "a")
	for _, e := range read(t, g, 10) {
		if owned, err := g.Bury(t.Context(), delivery.DeadLetter{Entry: e}); err != nil || !owned {
			t.Errorf("%d fields: owned %t, %v", e.Fields.Len(), owned, err)
		}
	}
	if n := len(owners(server, s1)); n != 0 {
		t.Errorf("%d pending", n)
	}
}

func TestBuryOutOfMemoryLeavesTheEntryPending(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 2)
	g := group(t, c, "a")
	entries := read(t, g, 2)
	server.Do("CONFIG", "SET", "maxmemory", "1")
	letter := delivery.DeadLetter{Entry: entries[0], Attempts: 1, Reason: "permanent"}
	if owned, err := g.Bury(t.Context(), letter); owned || redisstream.ClassOf(err) != redisstream.OutOfMemory {
		t.Errorf("owned %t, class %s: %v", owned, redisstream.ClassOf(err), err)
	}
	if got := owners(server, s1); len(got) != 2 {
		t.Errorf("pending %v", got)
	}
	// Draining goes on meanwhile.
	if owned, err := g.Begin(t.Context(), refs(entries), []int{2, 2}); err != nil || !slices.Equal(owned, []bool{true, true}) {
		t.Errorf("begin: %v, %v", owned, err)
	}
	if owned, err := g.Renew(t.Context(), refs(entries)); err != nil || !slices.Equal(owned, []bool{true, true}) {
		t.Errorf("renew: %v, %v", owned, err)
	}
	if page, err := g.Reclaim(t.Context(), s1, time.Hour, wire.ID{}, 10); err != nil {
		t.Errorf("reclaim: %v, %v", page, err)
	}
	if err := g.Ack(t.Context(), refs(entries[1:])); err != nil {
		t.Errorf("ack: %v", err)
	}
	server.Do("CONFIG", "SET", "maxmemory", "0")
	if owned, err := g.Bury(t.Context(), letter); err != nil || !owned {
		t.Errorf("with memory again: %t, %v", owned, err)
	}
}

func TestScriptsSurviveAFlushOfTheScriptCache(t *testing.T) {
	c, server := start(t)
	add(t, c, s1, 2)
	g := group(t, c, "a")
	r := refs(read(t, g, 2))
	for range 2 {
		if owned, err := g.Renew(t.Context(), r); err != nil || !slices.Equal(owned, []bool{true, true}) {
			t.Errorf("owned %v, %v", owned, err)
		}
		server.Do("SCRIPT", "FLUSH")
	}
}
