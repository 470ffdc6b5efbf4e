package redisstream_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/wire"
)

func TestInfoOfStreamsAndGroups(t *testing.T) {
	c, server := start(t)
	ctx := t.Context()
	g := group(t, c, "a")
	added := add(t, c, s1, 5)
	first := read(t, g, 2)
	server.Do("XDEL", s1, added[4].String())
	server.Do("SET", "text", "no stream")
	keys := []string{s1, "none", "text"}

	infos := c.StreamInfos(ctx, keys)
	want := redisstream.StreamInfo{Length: 4, Added: 5, First: added[0], Last: added[3], LastGenerated: added[4], MaxDeleted: added[4]}
	if infos[0].Err != nil || infos[0].Value != want {
		t.Errorf("%+v, want %+v", infos[0], want)
	}
	if !errors.Is(infos[1].Err, redisstream.ErrNoStream) || redisstream.ClassOf(infos[2].Err) != redisstream.WrongType {
		t.Errorf("no stream: %v; another type: %v", infos[1].Err, infos[2].Err)
	}
	groups := c.GroupInfos(ctx, keys)
	if got := groups[0].Value; len(got) != 1 || got[0] != (redisstream.GroupInfo{Name: "g", Consumers: 1, Pending: 2, LastDelivered: added[1], Read: 2, Lag: -1}) {
		t.Errorf("groups %+v, %v", groups[0].Value, groups[0].Err)
	}
	if redisstream.ClassOf(groups[1].Err) != redisstream.NoGroup {
		t.Errorf("groups of no stream: %v", groups[1].Err)
	}
	ref := redisstream.GroupRef{Stream: s1, Group: "g"}
	consumers := c.Consumers(ctx, []redisstream.GroupRef{ref, {Stream: s1, Group: "none"}})
	if got := consumers[0].Value; len(got) != 1 || got[0].Name != "a" || got[0].Pending != 2 || got[0].Idle > 20*time.Second {
		t.Errorf("consumers %+v, %v", got, consumers[0].Err)
	}
	if redisstream.ClassOf(consumers[1].Err) != redisstream.NoGroup {
		t.Errorf("consumers of no group: %v", consumers[1].Err)
	}
	pages := c.PendingPages(ctx, []redisstream.PendingPage{
		{GroupRef: ref, Count: 1}, {GroupRef: ref, Count: 9, After: first[0].ID}, {GroupRef: ref, Count: 9, Consumer: "b"},
		{GroupRef: ref, Count: 9, After: wire.ID{Ms: ^uint64(0), Seq: ^uint64(0)}},
	})
	for n, want := range [][]wire.ID{{added[0]}, {added[1]}, {}, {}} {
		var got []wire.ID
		for _, p := range pages[n].Value {
			if got = append(got, p.ID); p.Consumer != "a" || p.Deliveries != 1 {
				t.Errorf("%+v", p)
			}
		}
		if pages[n].Err != nil || !slices.Equal(got, want) {
			t.Errorf("page %d: %v, %v, want %v", n, got, pages[n].Err, want)
		}
	}
	ids := c.IDsAfter(ctx, []redisstream.Position{{Stream: s1, After: added[1]}, {Stream: "none"}, {Stream: "text"}}, 9)
	if !slices.Equal(ids[0].Value.IDs, added[2:4]) || ids[0].Value.Bytes != 4 || len(ids[1].Value.IDs) != 0 || ids[2].Err == nil {
		t.Errorf("%+v", ids)
	}
	newest := c.NewestIDs(ctx, keys)
	if !slices.Equal(newest[0].Value.IDs, added[3:4]) || newest[1].Err != nil || len(newest[1].Value.IDs) != 0 || newest[2].Err == nil {
		t.Errorf("%+v", newest)
	}
	counts := c.EntryCounts(ctx, keys)
	if counts[0].Value != 4 || counts[1].Value != 0 || counts[1].Err != nil || counts[2].Err == nil {
		t.Errorf("%+v", counts)
	}
}
