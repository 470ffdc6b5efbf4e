package redisstream_test

import (
	"slices"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

func TestKeysResolvesGlobsAgainstStreamsOnly(t *testing.T) {
	c, server := start(t)
	for _, s := range []string{s1, s2, "hr:sync:role:role_created", "credit-events", "a/b", redisstream.DeadLetterKey(s1, "g"), redisstream.RetryKey(s1, "g"), "freshet:log"} {
		add(t, c, s, 1)
	}
	server.Do("SET", "crm:sync:user:text", "no stream")
	for _, tc := range []struct{ patterns, want []string }{
		{[]string{"crm:*"}, []string{s1, s2}},
		{[]string{"*:sync:*", "crm:*", "credit-events"}, []string{s1, s2, "credit-events", "hr:sync:role:role_created"}},
		{[]string{"*"}, []string{s1, s2, "a/b", "credit-events", "hr:sync:role:role_created"}},
		{[]string{"credit-event?"}, []string{"credit-events"}},
		{[]string{"[ch]r*:user_created"}, []string{s1}},
		{[]string{`credit\-events`}, []string{"credit-events"}},
		{[]string{"not there", "b", "b"}, []string{"b", "not there"}},
		{[]string{"{*"}, nil},
		{[]string{redisstream.DeadLetterKey(s1, "g")}, []string{redisstream.DeadLetterKey(s1, "g")}},
		{[]string{"[broken"}, nil},
		{nil, nil},
	} {
		slices.Sort(tc.want)
		got, err := c.Keys(t.Context(), tc.patterns)
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%q: %q, %v, want %q", tc.patterns, got, err, tc.want)
		}
	}
}

func TestKeysFindsAllOfManyStreams(t *testing.T) {
	c, server := start(t)
	for n := range 3000 {
		server.Do("SET", "other:"+time.Duration(n).String(), "x")
	}
	batch := make([]redisstream.Addition, 2500)
	for i := range batch {
		batch[i] = redisstream.Addition{Stream: "app:" + time.Duration(i).String(), Fields: someFields}
	}
	c.AddBatch(t.Context(), batch)
	if keys, err := c.Keys(t.Context(), []string{"app:*"}); err != nil || len(keys) != len(batch) {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

func TestRangePagesAndLast(t *testing.T) {
	c, _ := start(t)
	if last, err := c.Last(t.Context(), s1); err != nil || last != (wire.ID{}) {
		t.Errorf("last of no stream: %s, %v", last, err)
	}
	want := add(t, c, s1, 25)
	var got []wire.ID
	for after := (wire.ID{}); ; after = got[len(got)-1] {
		page, err := c.Range(t.Context(), s1, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		got = append(got, ids(page)...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if last, err := c.Last(t.Context(), s1); err != nil || last != want[24] {
		t.Errorf("last %s, %v, want %s", last, err, want[24])
	}
}

func TestReadAfterWaitsForSeveralStreams(t *testing.T) {
	c, server := start(t)
	first := add(t, c, s1, 3)
	got, _, err := c.ReadAfter(t.Context(), []redisstream.Position{{s1, first[0]}, {s2, wire.ID{}}}, 10, 0)
	if err != nil || !slices.Equal(ids(got), first[1:]) {
		t.Fatalf("got %v, %v, want %v", got, err, first[1:])
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		got, _, err = c.ReadAfter(t.Context(), []redisstream.Position{{s1, first[2]}, {s2, wire.ID{}}}, 10, 10*time.Second)
	}()
	blocked(t, server, 1)
	add(t, c, s2, 1)
	if <-done; err != nil || len(got) != 1 || got[0].Stream != s2 {
		t.Errorf("got %v, %v", got, err)
	}
	got, _, err = c.ReadAfter(t.Context(), []redisstream.Position{{s1, first[2]}}, 10, 10*time.Millisecond)
	if err != nil || len(got) != 0 {
		t.Errorf("nothing new: %v, %v", got, err)
	}
}
