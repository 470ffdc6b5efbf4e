package repair_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/repair"
)

const day = 24 * time.Hour

// aged adds n entries so old to a stream.
func (x tools) aged(t *testing.T, stream string, age time.Duration, n int) {
	t.Helper()
	for i := range n {
		id := fmt.Sprintf("%d-%d", time.Now().Add(-age).UnixMilli(), i)
		if err, failed := x.server.Do("XADD", stream, id, "eventType", "user_created").(redistest.Error); failed {
			t.Fatal(err)
		}
	}
}

func (x tools) trim(t *testing.T, cfg repair.TrimConfig) repair.TrimReport {
	t.Helper()
	cfg.OlderThan = 30 * day
	report, err := x.Trim(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestTrimReportsEachStream(t *testing.T) {
	x := open(t)
	x.aged(t, created, 40*day, 10)
	x.aged(t, created, day, 2)
	x.aged(t, deleted, 50*day, 5)
	x.aged(t, "telemetry", 45*day, 3) // none of the suite's
	x.put(t, created, "1-0", "a", "b")
	for _, group := range []string{"first", "leftover"} {
		x.server.Do("XGROUP", "CREATE", created, group, "0")
	}
	x.server.Do("XREADGROUP", "GROUP", "first", "c", "COUNT", "8", "STREAMS", created, ">") // and has not acknowledged
	dry := x.trim(t, repair.TrimConfig{DryRun: true})
	if n := x.server.Do("XLEN", deleted); n != int64(5) {
		t.Fatalf("a dry run left %v of 5", n)
	}
	report := x.trim(t, repair.TrimConfig{})
	if len(report.Streams) != 2 || len(report.Memory) != 0 {
		t.Fatalf("%+v", report)
	}
	for i, got := range report.Streams {
		if dry.Streams[i].Removed != got.Removed || len(dry.Streams[i].Holding) != len(got.Holding) {
			t.Errorf("planned %+v, done %+v", dry.Streams[i], got)
		}
	}
	held, free := report.Streams[0], report.Streams[1]
	if held.Stream != created || held.Length != 12 || held.Removed != 0 || held.Groups != 2 || held.Err != nil || roughly(held.Oldest.Age) != 40 {
		t.Errorf("%+v", held)
	}
	if len(held.Holding) != 2 {
		t.Fatalf("held back by %+v", held.Holding)
	}
	for _, h := range held.Holding {
		want := repair.Hold{Group: "leftover", Lowest: held.Oldest}
		if h.Group == "first" {
			want = repair.Hold{Group: "first", Lowest: held.Oldest, Pending: true, Consumers: 1}
		}
		want.Lowest.Age, want.LastSeen = h.Lowest.Age, h.LastSeen
		if h != want || roughly(h.Lowest.Age) != 40 || h.Served() != (h.Group == "first") {
			t.Errorf("%+v, served: %t", h, h.Served())
		}
	}
	if free.Stream != deleted || free.Removed != 5 || free.Oldest.ID != "" || free.Groups != 0 {
		t.Errorf("%+v", free)
	}
	if keys := x.keys(); len(keys) != 1 {
		t.Errorf("dead letters in %q", keys)
	}

	x.server.Do("XGROUP", "DESTROY", created, "leftover")
	x.server.Do("XGROUP", "DELCONSUMER", created, "first", "c") // whose entries are settled with that
	drain(t, x.consumer("first", &handler{}))
	if got := x.trim(t, repair.TrimConfig{Streams: []string{"crm:sync:*"}}).Streams[0]; got.Removed != 10 || len(got.Holding) != 0 {
		t.Errorf("after the mending: %+v", got)
	}
	if got := x.trim(t, repair.TrimConfig{Streams: []string{"tele*"}}).Streams; len(got) != 1 || got[0].Removed != 3 {
		t.Errorf("by a pattern: %+v", got)
	}
}

// What a group that somebody destroyed has not read is lost to it when it is
// trimmed: its consumer creates it again where it was.
func TestTrimHeedsGroupsThatWereDestroyed(t *testing.T) {
	x := open(t)
	x.aged(t, created, 50*day, 3)
	drain(t, x.consumer("first", &handler{}))
	x.aged(t, created, 40*day, 5)
	x.server.Do("XGROUP", "DESTROY", created, "first")
	for _, dry := range []bool{true, false} {
		got := x.trim(t, repair.TrimConfig{Streams: []string{created}, DryRun: dry}).Streams[0]
		if got.Removed != 3 || len(got.Holding) != 1 || !got.Holding[0].Gone || got.Holding[0].Group != "first" || got.Holding[0].Served() || got.Holding[0].Lowest.ID != got.Oldest.ID {
			t.Errorf("dry run %t: %+v", dry, got)
		}
	}
	var h handler
	c := x.consumer("first", &h)
	drain(t, c)
	if s := c.Stats(); s.LostUnread != 0 || s.Handled+s.DeadLettered != 5 {
		t.Errorf("%+v", s)
	}
	if got := x.trim(t, repair.TrimConfig{Streams: []string{created}}).Streams[0]; got.Removed != 5 || len(got.Holding) != 0 {
		t.Errorf("once it is there again: %+v", got)
	}

	x.aged(t, created, 35*day, 2)
	x.server.Do("XGROUP", "DESTROY", created, "first")
	x.server.Do("DEL", redisstream.StateKey(created, "first"))
	if got := x.trim(t, repair.TrimConfig{Streams: []string{created}}).Streams[0]; got.Removed != 2 || len(got.Holding) != 0 {
		t.Errorf("once it is forgotten: %+v", got)
	}
}

func roughly(d time.Duration) int { return int((d + time.Hour) / day) }

// A group whose consumers have been silent for long is served by nobody.
func TestHoldServed(t *testing.T) {
	for _, tc := range []struct {
		hold   repair.Hold
		served bool
	}{
		{repair.Hold{}, false},
		{repair.Hold{Consumers: 1, LastSeen: 4 * time.Minute}, true},
		{repair.Hold{Consumers: 1, LastSeen: 6 * time.Minute}, false},
	} {
		if got := tc.hold.Served(); got != tc.served {
			t.Errorf("%+v: %t", tc.hold, got)
		}
	}
}

func TestTrimGoesOnWhereOneStreamFails(t *testing.T) {
	x := open(t)
	x.server.Do("SET", created, "no stream")
	x.aged(t, deleted, 40*day, 4)
	report := x.trim(t, repair.TrimConfig{Streams: []string{created, deleted, "crm:none"}})
	if len(report.Streams) != 3 {
		t.Fatalf("%+v", report)
	}
	missing, bad, good := report.Streams[0], report.Streams[1], report.Streams[2]
	if !errors.Is(missing.Err, repair.ErrNoStream) || redisstream.ClassOf(bad.Err) != redisstream.WrongType {
		t.Errorf("%v, %v", missing.Err, bad.Err)
	}
	if good.Removed != 4 || good.Err != nil {
		t.Errorf("%+v", good)
	}
	if _, err := x.Trim(t.Context(), repair.TrimConfig{}); err == nil {
		t.Error("without an age everything would go")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Trim(ctx, repair.TrimConfig{OlderThan: day}); !errors.Is(err, context.Canceled) {
		t.Errorf("when told to stop: %v", err)
	}
}

// Ids that are no times are as old, or as young, as they can be.
func TestTrimOfIDsThatAreNoTimes(t *testing.T) {
	x := open(t)
	for _, id := range []string{"0-1", "18446744073709551615-1"} {
		x.server.Do("XADD", created, id, "a", "b")
	}
	got := x.trim(t, repair.TrimConfig{}).Streams[0]
	if got.Removed != 1 || got.Oldest != (repair.Age{ID: "18446744073709551615-1"}) {
		t.Errorf("%+v", got)
	}
}

func TestTrimWarnsBeforeMemoryIsFull(t *testing.T) {
	x := open(t)
	payload := strings.Repeat("x", 1000)
	x.server.Do("EVAL", `for i = 1, 4000 do redis.call('XADD', KEYS[1], '*', 'data', ARGV[1]) end`, "1", created, payload)
	x.aged(t, deleted, day, 1)
	set := func(name string, value any) { x.server.Do("CONFIG", "SET", name, fmt.Sprint(value)) }
	var used int64
	for line := range strings.Lines(x.server.Do("INFO", "memory").(string)) {
		fmt.Sscanf(line, "used_memory:%d", &used)
	}
	set("maxmemory", 2*used)
	if report := x.trim(t, repair.TrimConfig{}); len(report.Memory) != 0 {
		t.Errorf("half full: %+v", report.Memory)
	}
	set("maxmemory", used*10/9)
	report := x.trim(t, repair.TrimConfig{})
	if len(report.Memory) != 1 || report.Memory[0].Max != used*10/9 || report.Memory[0].Used < used/2 || report.Memory[0].Policy != "noeviction" {
		t.Errorf("nine tenths full: %+v", report.Memory)
	}
	if l := report.Largest; len(l) != 2 || l[0].Stream != created || l[0].Bytes < 3_000_000 || l[1].Stream != deleted {
		t.Errorf("largest: %+v", l)
	}
}
