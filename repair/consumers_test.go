package repair_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/repair"
)

// owners returns who holds each pending entry of group g, with its delivery
// count.
func (x tools) owners(t *testing.T) (owners []string) {
	t.Helper()
	for _, p := range x.do(t, "XPENDING", created, "g", "-", "+", "1000").([]any) {
		fields := p.([]any)
		owners = append(owners, fmt.Sprintf("%s %s %d", fields[0], fields[1], fields[3]))
	}
	return owners
}

func (x tools) consumers(t *testing.T) (names []string) {
	t.Helper()
	for _, flat := range x.do(t, "XINFO", "CONSUMERS", created, "g").([]any) {
		names = append(names, flat.([]any)[1].(string))
	}
	return names
}

func TestPruneConsumers(t *testing.T) {
	x := openOn(t, redistest.StartWithClock(t))
	x.add(t, created, 260)
	x.do(t, "XGROUP", "CREATE", created, "g", "0")
	x.do(t, "XREADGROUP", "GROUP", "g", "dead", "COUNT", "250", "STREAMS", created, ">")
	x.do(t, "XCLAIM", created, "g", "dead", "0", "7-0", "RETRYCOUNT", "5", "JUSTID")
	x.do(t, "XGROUP", "CREATECONSUMER", created, "g", "\x1b[31midle\n")
	x.do(t, "XDEL", created, "3-0")
	x.server.MoveClock(3 * time.Hour)
	prune := func(cfg repair.PruneConfig) []repair.PrunedConsumer {
		t.Helper()
		cfg.Streams, cfg.Group, cfg.Idle = []string{"crm:*"}, "g", 2*time.Hour
		got, err := x.PruneConsumers(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}

	// Nobody is live: what is held stays where it is.
	got := prune(repair.PruneConfig{DryRun: true})
	if len(got) != 2 || len(x.consumers(t)) != 2 {
		t.Fatalf("dry run: %+v, left %q", got, x.consumers(t))
	}
	got = prune(repair.PruneConfig{})
	if len(got) != 2 || got[0].Name != "\x1b[31midle\n" || !got[0].Removed || got[1].Removed || got[1].Err == nil || got[1].Pending != 250 {
		t.Fatalf("%+v", got)
	}
	if got := x.consumers(t); fmt.Sprint(got) != "[dead]" || len(x.owners(t)) != 250 {
		t.Fatalf("left: %q, %d pending", got, len(x.owners(t)))
	}

	// Somebody is: the entries go to him as they are.
	x.do(t, "XREADGROUP", "GROUP", "g", "live", "COUNT", "1", "STREAMS", created, ">")
	if got := prune(repair.PruneConfig{To: "nobody"}); len(got) != 1 || got[0].Removed || got[0].Err == nil {
		t.Errorf("to nobody: %+v", got)
	}
	got = prune(repair.PruneConfig{})
	if len(got) != 1 || !got[0].Removed || got[0].To != "live" || got[0].Moved != 249 || got[0].Gone != 1 || got[0].Err != nil {
		t.Fatalf("%+v", got)
	}
	owners := x.owners(t)
	if len(owners) != 250 || owners[0] != "1-0 live 1" || owners[5] != "7-0 live 5" || fmt.Sprint(x.consumers(t)) != "[live]" {
		t.Errorf("%d pending: %q, consumers %q", len(owners), owners[:6], x.consumers(t))
	}
	idle := x.do(t, "XPENDING", created, "g", "-", "+", "1").([]any)[0].([]any)[2].(int64)
	if idle < (2 * time.Hour).Milliseconds() {
		t.Errorf("idle for %d ms: who takes over idle entries has to wait", idle)
	}
}

// A consumer that comes back while it is dealt with keeps what it has.
func TestPruneLeavesWhoIsBack(t *testing.T) {
	x := open(t)
	x.add(t, created, 5)
	x.do(t, "XGROUP", "CREATE", created, "g", "0")
	x.do(t, "XREADGROUP", "GROUP", "g", "c", "COUNT", "5", "STREAMS", created, ">")
	got, err := x.PruneConsumers(t.Context(), repair.PruneConfig{Streams: []string{created}, Group: "g", Idle: time.Hour})
	if err != nil || len(got) != 0 || len(x.owners(t)) != 5 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestPruneSaysWhatIsWrong(t *testing.T) {
	x := open(t)
	x.add(t, created, 1)
	x.do(t, "SET", "text", "no stream")
	for _, test := range []struct {
		cfg  repair.PruneConfig
		want error
	}{
		{repair.PruneConfig{Streams: []string{created, deleted}, Group: "g", Idle: time.Hour}, repair.ErrNoGroup},
		{repair.PruneConfig{Streams: []string{created}, Group: "g", Idle: time.Second}, nil},
		{repair.PruneConfig{Streams: []string{created}, Idle: time.Hour}, nil},
		{repair.PruneConfig{Streams: []string{"text"}, Group: "g", Idle: time.Hour}, nil},
	} {
		_, err := x.PruneConsumers(t.Context(), test.cfg)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%+v: %v", test.cfg, err)
		}
	}
}

// A consumer is removed only while it holds nothing and is silent.
func TestRemoveConsumer(t *testing.T) {
	x := openOn(t, redistest.StartWithClock(t))
	x.add(t, created, 2)
	x.do(t, "XGROUP", "CREATE", created, "g", "0")
	x.do(t, "XREADGROUP", "GROUP", "g", "holds", "COUNT", "1", "STREAMS", created, ">")
	x.do(t, "XGROUP", "CREATECONSUMER", created, "g", "silent")
	remove := func(consumer string) bool {
		t.Helper()
		removed, err := x.RemoveConsumer(t.Context(), created, "g", consumer, inspect.DefaultLiveWithin)
		if err != nil {
			t.Fatal(err)
		}
		return removed
	}
	if remove("silent") {
		t.Error("a consumer that may be live was removed")
	}
	x.server.MoveClock(time.Hour)
	x.do(t, "XGROUP", "CREATECONSUMER", created, "g", "new")
	for consumer, want := range map[string]bool{"holds": false, "silent": true, "new": false, "nobody": false} {
		if got := remove(consumer); got != want {
			t.Errorf("%s removed: %t, want %t", consumer, got, want)
		}
	}
	if got := x.consumers(t); fmt.Sprint(got) != "[holds new]" {
		t.Errorf("left: %q", got)
	}
	if _, err := x.RemoveConsumer(t.Context(), created, "g", "holds", time.Second); err == nil {
		t.Error("removed within the time in which a consumer is live")
	}
}
