package repair_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/repair"
)

// do is a command that must not fail.
func (x tools) do(t *testing.T, args ...string) any {
	t.Helper()
	reply := x.server.Do(args...)
	if err, failed := reply.(redistest.Error); failed {
		t.Fatalf("%q: %v", args, err)
	}
	return reply
}

// add puts entries with the ids 1-0, 2-0, … on a stream.
func (x tools) add(t *testing.T, stream string, count int) {
	t.Helper()
	for n := range count {
		x.do(t, "XADD", stream, fmt.Sprintf("%d-0", n+1), "eventType", "user_created", "tenantId", "acme",
			"userId", fmt.Sprint("u-", n), "data", `{"email":"a@example.com"}`)
	}
}

// info returns what XINFO GROUPS says of a group.
func (x tools) info(t *testing.T, stream, group string) map[string]any {
	t.Helper()
	for _, flat := range x.do(t, "XINFO", "GROUPS", stream).([]any) {
		m := map[string]any{}
		for i, list := 0, flat.([]any); i < len(list); i += 2 {
			m[list[i].(string)] = list[i+1]
		}
		if m["name"] == group {
			return m
		}
	}
	return nil
}

func TestCreateGroup(t *testing.T) {
	x := open(t)
	x.add(t, created, 10)
	x.do(t, "SET", "text", "no stream")
	create := func(cfg repair.CreateGroupConfig) (bool, error) { return x.CreateGroup(t.Context(), cfg) }
	for _, test := range []struct {
		group, start, at string
		lag              any
	}{
		{"first", "", "0-0", int64(10)},
		{"beginning", repair.Beginning, "0-0", int64(10)},
		{"new", repair.New, "10-0", int64(0)},
		{"from four", "4-0", "3-18446744073709551615", int64(7)},
		{"\x1b[31m {hostile}\n", "11", "10-18446744073709551615", int64(0)},
	} {
		done, err := create(repair.CreateGroupConfig{Stream: created, Group: test.group, Start: test.start})
		if err != nil || !done {
			t.Fatalf("%q: %v, %v", test.group, done, err)
		}
		if info := x.info(t, created, test.group); info["last-delivered-id"] != test.at || info["lag"] != test.lag {
			t.Errorf("%q: %v", test.group, info)
		}
		if done, err = create(repair.CreateGroupConfig{Stream: created, Group: test.group}); err != nil || done {
			t.Errorf("%q again: %v, %v", test.group, done, err)
		}
		if info := x.info(t, created, test.group); info["last-delivered-id"] != test.at {
			t.Errorf("%q again: %v", test.group, info)
		}
	}
	if _, err := create(repair.CreateGroupConfig{Stream: "nobody:knows", Group: "g"}); !errors.Is(err, repair.ErrNoStream) {
		t.Errorf("a stream that is not there: %v", err)
	}
	if x.do(t, "EXISTS", "nobody:knows") != int64(0) {
		t.Error("the stream was created")
	}
	for _, cfg := range []repair.CreateGroupConfig{
		{Stream: "nobody:knows", Group: "g", MakeStream: true},
		{Stream: deleted, Group: "g", Start: "5-0"}, // of the catalogue
	} {
		if done, err := create(cfg); err != nil || !done {
			t.Errorf("%+v: %v, %v", cfg, done, err)
		}
	}
	for _, cfg := range []repair.CreateGroupConfig{
		{Stream: created}, {Stream: created, Group: "g", Start: "yesterday"},
		{Stream: "text", Group: "g"}, {Stream: "text", Group: "g", Start: "5-0"}, {Stream: "{" + created + "}:dlq:g", Group: "g", MakeStream: true},
	} {
		if done, err := create(cfg); err == nil || done {
			t.Errorf("%+v: %v, %v", cfg, done, err)
		}
	}
}

func TestRewindGroup(t *testing.T) {
	x := open(t)
	x.add(t, created, 20)
	x.do(t, "XGROUP", "CREATE", created, "g", "0")
	x.do(t, "XREADGROUP", "GROUP", "g", "c", "COUNT", "15", "STREAMS", created, ">")
	ack := []string{"XACK", created, "g"}
	for n := range 14 {
		ack = append(ack, fmt.Sprintf("%d-0", n+1))
	}
	x.do(t, ack...)

	cfg := repair.RewindConfig{Stream: created, Group: "g", To: "6-0", DryRun: true}
	got, err := x.RewindGroup(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got.Again.String() != "10" || got.Unread.String() != "5" || got.First != "6-0" || got.Pending != 1 || got.Trimmed ||
		got.LastDelivered != "15-0" || got.Sampled != 10 || got.Types["user_created"] != 10 || got.Tenants["acme"] != 10 {
		t.Errorf("dry run: %+v", got)
	}
	if info := x.info(t, created, "g"); info["last-delivered-id"] != "15-0" {
		t.Errorf("moved by a dry run: %v", info)
	}
	cfg.DryRun = false
	if _, err := x.RewindGroup(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if info := x.info(t, created, "g"); info["last-delivered-id"] != "5-18446744073709551615" || info["entries-read"] != int64(5) || info["lag"] != int64(15) {
		t.Errorf("moved: %v", info)
	}
	if _, err := x.RewindGroup(t.Context(), repair.RewindConfig{Stream: created, Group: "g", To: "9-0"}); !errors.Is(err, repair.ErrNotBack) {
		t.Errorf("ahead: %v", err)
	}
	if info := x.info(t, created, "g"); info["last-delivered-id"] != "5-18446744073709551615" {
		t.Errorf("moved ahead: %v", info)
	}

	x.do(t, "XTRIM", created, "MINID", "3-0")
	got, err = x.RewindGroup(t.Context(), repair.RewindConfig{Stream: created, Group: "g", To: "1-0"})
	if err != nil || !got.Trimmed || got.First != "3-0" || got.Again.String() != "3" {
		t.Errorf("trimmed: %+v, %v", got, err)
	}
	if info := x.info(t, created, "g"); info["lag"] != int64(18) {
		t.Errorf("trimmed: %v", info)
	}
}

func TestRewindCountsNoFurtherThanAsked(t *testing.T) {
	x := open(t)
	x.do(t, "EVAL", `for i = 1, 5000 do redis.call('XADD', KEYS[1], i .. '-0', 'a', 'b') end`, "1", created)
	x.do(t, "XGROUP", "CREATE", created, "g", "4500-0")
	got, err := x.RewindGroup(t.Context(), repair.RewindConfig{Stream: created, Group: "g", To: repair.Beginning, CountTo: 2000})
	if err != nil || got.Again.String() != ">= 2000" || got.Unread.String() != "500" {
		t.Fatalf("%+v, %v", got, err)
	}
	if info := x.info(t, created, "g"); info["lag"] != int64(5000) { // of the beginning the server knows
		t.Errorf("%v", info)
	}
}

func TestRewindSaysWhatIsMissing(t *testing.T) {
	x := open(t)
	x.add(t, created, 1)
	x.do(t, "SET", "text", "no stream")
	for _, test := range []struct {
		stream, to string
		want       error
	}{
		{created, "0-1", repair.ErrNoGroup}, {deleted, "0-1", repair.ErrNoStream}, {"text", "0-1", nil}, {created, "", nil}, {created, "soon", nil},
	} {
		_, err := x.RewindGroup(t.Context(), repair.RewindConfig{Stream: test.stream, Group: "g", To: test.to})
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// logs is a log that several goroutines write.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A consumer at work whose group is moved back handles again what comes, says
// so, and takes it for no loss.
func TestRewindUnderAConsumerAtWork(t *testing.T) {
	for _, to := range []string{repair.Beginning, "the third"} {
		t.Run(to, func(t *testing.T) {
			x := open(t)
			var log logs
			bus, err := freshet.Open(t.Context(), freshet.Config{URL: x.server.URL(), Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer bus.Close()
			x.bus = bus
			for n := range 10 {
				x.publish(t, user(n))
			}
			var h handler
			c := x.consumer("g", &h)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- c.Run(ctx) }()
			settled := func() bool { i := x.info(t, created, "g"); return i != nil && i["pending"] == int64(0) }
			eventually(t, "the ten are handled", func() bool { return len(h.list()) == 10 && settled() })

			again := 10
			if to != repair.Beginning {
				to = x.do(t, "XRANGE", created, "-", "+").([]any)[2].([]any)[0].(string)
				again = 8
			}
			got, err := x.RewindGroup(t.Context(), repair.RewindConfig{Stream: created, Group: "g", To: to})
			if err != nil || got.Again.String() != fmt.Sprint(again) {
				t.Fatalf("%+v, %v", got, err)
			}
			x.publish(t, user(10))
			eventually(t, "they are handled again", func() bool { return len(h.list()) == 10+again+1 && settled() })
			eventually(t, "the consumer says so", func() bool { return strings.Contains(log.String(), "moved back by an operator") })
			state := func(field string) any { return x.do(t, "HGET", "{"+created+"}:state:g", field) }
			eventually(t, "it has looked again", func() bool { return state("at") == x.info(t, created, "g")["last-delivered-id"] })
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if s := c.Stats(); s.LostAcks+s.LostUnread+s.LostTrimmed+s.GroupsRecreated+s.StreamsSetBack != 0 {
				t.Errorf("taken for a loss: %+v\n%s", s, log.String())
			}
			if info := x.info(t, created, "g"); info["lag"] != int64(0) {
				t.Errorf("%v", info)
			}
			if total := state("total"); total != nil {
				t.Errorf("lost unread: %v", total)
			}
		})
	}
}

// A group that is destroyed after it was moved back begins where it was moved
// to.
func TestRewoundGroupIsCreatedAgainThere(t *testing.T) {
	x := open(t)
	for n := range 6 {
		x.publish(t, user(n))
	}
	var h handler
	drain(t, x.consumer("g", &h))
	if _, err := x.RewindGroup(t.Context(), repair.RewindConfig{Stream: created, Group: "g", To: repair.Beginning}); err != nil {
		t.Fatal(err)
	}
	x.do(t, "XGROUP", "DESTROY", created, "g")
	drain(t, x.consumer("g", &h))
	if got := h.list(); len(got) != 12 {
		t.Errorf("handled %d, want 12", len(got))
	}
}

func TestDeleteGroup(t *testing.T) {
	x := open(t)
	for n := range 5 {
		x.publish(t, user(n))
	}
	failing := &handler{err: errors.New("no")}
	drain(t, x.consumer("g", failing)) // five dead letters
	x.do(t, "XGROUP", "CREATE", created, "other", "0")
	for n := range 3 {
		x.publish(t, user(5+n))
	}
	del := func(cfg repair.DeleteGroupConfig) (*repair.DeletedGroup, error) {
		cfg.Stream, cfg.Group = created, "g"
		return x.DeleteGroup(t.Context(), cfg)
	}
	held := func(cfg repair.DeleteGroupConfig, why string) {
		t.Helper()
		got, err := del(cfg)
		if refused := (*repair.HeldError)(nil); !errors.As(err, &refused) || got.Deleted || !strings.Contains(err.Error(), why) {
			t.Errorf("%+v: %+v, %v; want %q", cfg, got, err, why)
		}
		if x.info(t, created, "g") == nil {
			t.Fatalf("%+v: deleted", cfg)
		}
	}
	held(repair.DeleteGroupConfig{}, "unread")
	x.do(t, "XREADGROUP", "GROUP", "g", "gone", "COUNT", "2", "STREAMS", created, ">")
	held(repair.DeleteGroupConfig{Unread: true, DiscardPending: 2}, "1 consumers are at work")

	// As if the consumer had died long ago.
	x.server = redistest.StartWithClock(t)
	x = openOn(t, x.server)
	for n := range 5 {
		x.publish(t, user(n))
	}
	drain(t, x.consumer("g", failing))
	for n := range 3 {
		x.publish(t, user(5+n))
	}
	x.do(t, "XREADGROUP", "GROUP", "g", "gone", "COUNT", "2", "STREAMS", created, ">")
	x.server.MoveClock(time.Hour)
	held(repair.DeleteGroupConfig{}, "2 entries are pending")
	held(repair.DeleteGroupConfig{Unread: true}, "2 entries are pending")
	held(repair.DeleteGroupConfig{Unread: true, DiscardPending: 3}, "2 entries are pending")
	held(repair.DeleteGroupConfig{DiscardPending: 2}, "pending")
	want := repair.DeletedGroup{Stream: created, Group: "g", Pending: 2, DeadLetters: 5}
	want.Unread.N = 1
	got, err := del(repair.DeleteGroupConfig{DryRun: true, Unread: true, DiscardPending: 2})
	if err != nil || *got != want {
		t.Errorf("dry run: %+v, %v", got, err)
	}
	want.Deleted = true
	got, err = del(repair.DeleteGroupConfig{Unread: true, DiscardPending: 2})
	if err != nil || *got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if x.info(t, created, "g") != nil || x.do(t, "EXISTS", "{"+created+"}:state:g", "{"+created+"}:retry:g") != int64(0) {
		t.Error("something is left")
	}
	if len(x.letters(t)) != 5 || x.do(t, "XLEN", created) != int64(8) {
		t.Error("dead letters or entries are gone")
	}
	if _, err := del(repair.DeleteGroupConfig{}); !errors.Is(err, repair.ErrNoGroup) {
		t.Errorf("again: %v", err)
	}
}

// What was redriven to a group is not settled, and never removed.
func TestDeleteGroupLeavesWhatWasRedriven(t *testing.T) {
	x := open(t)
	x.publish(t, user(1))
	drain(t, x.consumer("g", &handler{err: errors.New("no")}))
	x.redrive(t)
	cfg := repair.DeleteGroupConfig{Stream: created, Group: "g"}
	if got, err := x.DeleteGroup(t.Context(), cfg); err == nil || got.Redriven != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	cfg.Unread = true
	if got, err := x.DeleteGroup(t.Context(), cfg); err != nil || !got.Deleted || got.Redriven != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if n := x.do(t, "XLEN", "{"+created+"}:retry:g"); n != int64(1) {
		t.Errorf("redriven entries left: %v", n)
	}
	var h handler
	drain(t, x.consumer("g", &h))
	if len(h.list()) < 1 {
		t.Error("a group of the name does not get it")
	}
}
