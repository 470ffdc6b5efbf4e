package redisstream_test

import (
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/wire"
)

// The development server runs on miniredis where there is no redis-server.
func TestMiniredisSuffices(t *testing.T) {
	server := miniredis.RunT(t)
	c := open(t, "redis://"+server.Addr())
	ctx := t.Context()
	fields := []events.Field{{Name: "b", Value: "1"}, {Name: "a", Value: "\xff"}, {Name: "b", Value: ""}}
	for range 4 {
		if _, err := c.Add(ctx, s1, fields); err != nil {
			t.Fatal(err)
		}
	}
	if keys, err := c.Keys(ctx, []string{"crm:*"}); err != nil || !slices.Equal(keys, []string{s1}) {
		t.Errorf("keys %q, %v", keys, err)
	}
	dead, g := group(t, c, "dead"), group(t, c, "a")
	if _, unread, err := g.Unsettled(ctx); !unread || err != nil {
		t.Errorf("unread %t, %v", unread, err)
	}
	entries := read(t, dead, 3)
	if len(entries) != 3 || !slices.Equal(entries[0].Fields.List(), fields) {
		t.Fatalf("read %v", entries)
	}
	page, err := g.Reclaim(ctx, s1, 0, wire.ID{}, 10)
	if err != nil || !slices.Equal(ids(page.Entries), ids(entries)) || page.Entries[0].Fields != events.FieldsOf(fields...) {
		t.Fatalf("reclaim %+v, %v", page, err)
	}
	if owned, err := dead.Begin(ctx, refs(entries[:1]), []int{2}); err != nil || owned[0] {
		t.Errorf("zombie began: %v, %v", owned, err)
	}
	if owned, err := g.Begin(ctx, refs(entries), []int{2, 2, 3}); err != nil || !slices.Equal(owned, []bool{true, true, true}) {
		t.Errorf("begin %v, %v", owned, err)
	}
	if owned, err := g.Renew(ctx, refs(entries)); err != nil || !slices.Equal(owned, []bool{true, true, true}) {
		t.Errorf("renew %v, %v", owned, err)
	}
	own, err := g.Own(ctx, s1, wire.ID{}, 10)
	if err != nil || !slices.Equal(own.Deliveries, []int{2, 2, 3}) {
		t.Errorf("own %+v, %v", own, err)
	}
	if owned, err := g.Bury(ctx, delivery.DeadLetter{Entry: entries[0], Attempts: 2}); err != nil || !owned {
		t.Errorf("bury %t, %v", owned, err)
	}
	if err := g.Ack(ctx, refs(entries[1:])); err != nil {
		t.Error(err)
	}
	if got := read(t, g, 10); len(got) != 1 {
		t.Errorf("read %v", got)
	} else if err := g.Ack(ctx, refs(got)); err != nil {
		t.Error(err)
	}
	if pending, unread, err := g.Unsettled(ctx); pending != 0 || unread || err != nil {
		t.Errorf("%d pending, unread %t, %v", pending, unread, err)
	}
	if _, err := g.Prune(ctx, -1); err != nil {
		t.Errorf("prune: %v", err)
	}
	if err := g.Leave(ctx); err != nil {
		t.Errorf("leave: %v", err)
	}
	token, ok, err := c.AcquireLease(ctx, "g", "a", time.Minute)
	if err != nil || !ok {
		t.Errorf("lease %d, %t, %v", token, ok, err)
	}
	if ok, err := c.RenewLease(ctx, "g", token, time.Minute); err != nil || !ok {
		t.Errorf("renew lease %t, %v", ok, err)
	}
	if err := c.ReleaseLease(ctx, "g", token); err != nil {
		t.Error(err)
	}
	if v, err := c.Setting(ctx, "g", "tenants", "*", false); err != nil || v != "*" {
		t.Errorf("setting %q, %v", v, err)
	}

	done := make(chan []wire.Entry)
	go func() {
		got, _, err := g.Read(ctx, g.Streams(), 10, 10*time.Second)
		if err != nil {
			t.Error(err)
		}
		done <- got
	}()
	want := add(t, c, s2, 1)
	if got := ids(<-done); !slices.Equal(got, want) {
		t.Errorf("blocked read %v, want %v", got, want)
	}
}
