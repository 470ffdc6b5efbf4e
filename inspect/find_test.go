package inspect_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
)

const (
	userCreated = "crm:sync:user:user_created"
	userDeleted = "crm:sync:user:user_deleted"
)

// bench is a bus to look at.
type bench struct {
	*inspect.Inspector
	server *redistest.Server
	bus    *freshet.Bus
}

func openBench(t *testing.T) bench {
	t.Helper()
	server := redistest.Start(t)
	cfg := freshet.Config{URL: server.URL(), App: "crm", Log: slog.New(slog.DiscardHandler)}
	i, err := inspect.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	bus, err := freshet.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bus.Close)
	return bench{i, server, bus}
}

// do is a command that must not fail.
func (b bench) do(t *testing.T, args ...string) any {
	t.Helper()
	reply := b.server.Do(args...)
	if err, failed := reply.(redistest.Error); failed {
		t.Fatalf("%q: %v", args, err)
	}
	return reply
}

func (b bench) find(t *testing.T, id string, cfg inspect.FindConfig) (found []string, search *inspect.Search) {
	t.Helper()
	search, err := b.FindEvents(t.Context(), id, cfg)
	if err != nil {
		t.Fatalf("%q: %v", id, err)
	}
	return refsOf(search.Found), search
}

func refsOf(items []inspect.Item) (refs []string) {
	for _, i := range items {
		refs = append(refs, i.Envelope.Stream+"/"+i.Envelope.ID)
	}
	return refs
}

func TestFindEvents(t *testing.T) {
	b := openBench(t)
	put := func(stream, id string, fields ...string) {
		b.do(t, append([]string{"XADD", stream, id, "eventType", "user_created", "tenantId", "acme"}, fields...)...)
	}
	put(userCreated, "1000-0", "eventId", "evt-1", "userId", "u-1", "data", "{}")
	put(userDeleted, "1000-0", "messageId", "evt-1", "userId", "u-1", "data", "{}")
	put(userCreated, "2000-0", "eventId", `"evt-2"`, "userId", `"u-1"`, "data", `"{}"`) // era v0
	put(userCreated, "3000-0", "data", `{"note":"evt-2 is meant"}`)
	put(userCreated, "4000-0", "eventId", "\x1b[31mé\"\\", "data", "not JSON")
	b.do(t, "SET", "text", "no stream")
	for n := range 1200 {
		put("crm:sync:other:thing", fmt.Sprintf("%d-0", 1000+n), "eventId", fmt.Sprint("other-", n))
	}
	put("crm:sync:other:thing", "1735987200500-0", "eventId", "evt_1735987200000_a1")
	put("crm:sync:other:thing", "1735987200501-0", "eventId", "0194314b-3b00-7d11-9c5e-0a1b2c3d4e5f")
	for _, test := range []struct {
		id   string
		want []string
	}{
		{"1000-0", []string{"crm:sync:other:thing/1000-0", userCreated + "/1000-0", userDeleted + "/1000-0"}},
		{userCreated + "/1000-0", []string{userCreated + "/1000-0"}},
		{"evt-1", []string{userCreated + "/1000-0", userDeleted + "/1000-0"}},
		{"evt-2", []string{userCreated + "/2000-0"}},
		{"\x1b[31mé\"\\", []string{userCreated + "/4000-0"}},
		{"other-0", []string{"crm:sync:other:thing/1000-0"}},
		{"other-1199", []string{"crm:sync:other:thing/2199-0"}},
		{"evt_1735987200000_a1", []string{"crm:sync:other:thing/1735987200500-0"}},
		{"0194314b-3b00-7d11-9c5e-0a1b2c3d4e5f", []string{"crm:sync:other:thing/1735987200501-0"}},
		{"nobody", nil},
		{"9-9", nil},
	} {
		got, search := b.find(t, test.id, inspect.FindConfig{})
		if !slices.Equal(got, test.want) || len(search.Stopped)+len(search.Problems) != 0 {
			t.Errorf("%q: %q, %+v, want %q", test.id, got, search, test.want)
		}
	}

	got, search := b.find(t, "other-0", inspect.FindConfig{Limit: 700})
	if len(got) != 0 || len(search.Stopped) != 1 || search.Stopped[0].Stream != "crm:sync:other:thing" || search.Stopped[0].ID != "1502-0" {
		t.Errorf("within a limit: %q, %+v", got, search)
	}
	got, search = b.find(t, "other-0", inspect.FindConfig{Limit: 700, Until: time.UnixMilli(1300)})
	if len(got) != 1 || len(search.Stopped) != 0 {
		t.Errorf("up to a time: %q, %+v", got, search)
	}
	if got, _ := b.find(t, "other-0", inspect.FindConfig{Since: time.UnixMilli(1001)}); len(got) != 0 {
		t.Errorf("since a time: %q", got)
	}
	for _, id := range []string{"1000-0", "evt-1"} {
		got, search := b.find(t, id, inspect.FindConfig{Patterns: []string{userCreated, "text", "not:there"}})
		if !slices.Equal(got, []string{userCreated + "/1000-0"}) || len(search.Problems) != 1 || search.Problems[0].Stream != "text" {
			t.Errorf("%q on some streams: %q, %+v", id, got, search)
		}
	}
	if _, err := b.FindEvents(t.Context(), "", inspect.FindConfig{}); err == nil {
		t.Error("no id: no error")
	}
}

// An event's way is told for each group of its stream.
func TestWays(t *testing.T) {
	b := openBench(t)
	publish := func(p events.Payload) inspect.Item {
		t.Helper()
		receipt, err := b.bus.Publish(t.Context(), "acme", p)
		if err != nil {
			t.Fatal(err)
		}
		found, _ := b.FindEvents(t.Context(), receipt.EventID, inspect.FindConfig{}) // entries of other streams may have its id
		if len(found.Found) != 1 {
			t.Fatalf("%+v: %+v", receipt, found)
		}
		return found.Found[0]
	}
	user := func(n int) events.Payload {
		return events.UserCreated{UserID: fmt.Sprint("u-", n), Email: "u@example.com", CreatedAt: time.Unix(1, 0)}
	}
	drain := func(group string, err error) {
		t.Helper()
		c := b.bus.Consumer(freshet.ConsumerConfig{Group: group, MaxAttempts: 1, Acknowledge: true})
		freshet.On(c, func(context.Context, *freshet.Event[events.UserCreated]) error { return err })
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		if err := c.Drain(ctx); err != nil {
			t.Fatal(err)
		}
	}
	first := publish(user(1))
	drain("settles", nil)
	drain("fails", errors.New("no"))
	second := publish(user(2))
	b.do(t, "XGROUP", "CREATE", userCreated, "holds", "0")
	b.do(t, "XREADGROUP", "GROUP", "holds", "\x1bc", "COUNT", "2", "STREAMS", userCreated, ">")
	third := publish(user(3))

	states := func(i inspect.Item) string {
		t.Helper()
		ways, problems, err := b.Ways(t.Context(), []inspect.Item{i}, 0)
		if err != nil || len(problems) != 0 {
			t.Fatal(problems, err)
		}
		text := ""
		for _, w := range ways[0] {
			text += fmt.Sprintf("%s %s %s %d; ", w.Group, w.State, w.Consumer, w.Deliveries)
			if (w.Letter != nil) != (w.State == inspect.DeadLettered) {
				t.Errorf("%+v", w)
			}
		}
		return text
	}
	consumer := b.do(t, "XRANGE", "{"+userCreated+"}:dlq:fails", "-", "+").([]any)[0].([]any)[1].([]any)
	name := consumer[slices.Index(consumer, any("freshet-consumer"))+1].(string)
	for _, test := range []struct {
		item inspect.Item
		want string
	}{
		{first, "fails dead_lettered " + name + " 0; holds pending \x1bc 1; settles settled  0; "},
		{second, "fails unread  0; holds pending \x1bc 1; settles unread  0; "},
		{third, "fails unread  0; holds unread  0; settles unread  0; "},
	} {
		if got := states(test.item); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}

	acks, stopped, err := b.Acknowledgments(t.Context(), first.Envelope, 0)
	if err != nil || stopped || len(acks) != 2 || acks[0].Status != "processed" || acks[1].Status != "failed" {
		t.Errorf("acknowledgments: %+v, %v, %v", acks, stopped, err)
	}
	if acks, _, err := b.Acknowledgments(t.Context(), second.Envelope, 0); err != nil || len(acks) != 0 {
		t.Errorf("acknowledgments of the second: %+v, %v", acks, err)
	}

	// Redriven, and delivered so; then trimmed.
	retry := "{" + userCreated + "}:retry:fails"
	b.do(t, "XADD", retry, "*", "eventType", "user_created", "freshet-stream", userCreated, "freshet-id", first.Envelope.ID)
	if got := states(first); got[:len("fails redriven")] != "fails redriven" {
		t.Errorf("redriven: %q", got)
	}
	b.do(t, "XGROUP", "CREATE", retry, "fails", "0")
	b.do(t, "XREADGROUP", "GROUP", "fails", "c", "STREAMS", retry, ">")
	if got := states(first); got[:len("fails retrying c 1")] != "fails retrying c 1" {
		t.Errorf("retrying: %q", got)
	}
	b.do(t, "XTRIM", userCreated, "MAXLEN", "0")
	b.do(t, "DEL", retry)
	if got, want := states(first), "fails dead_lettered "+name+" 0; holds trimmed \x1bc 1; settles settled  0; "; got != want {
		t.Errorf("trimmed: %q", got)
	}
	if got, want := states(third), "fails trimmed  0; holds trimmed  0; settles trimmed  0; "; got != want {
		t.Errorf("trimmed unread: %q", got)
	}
}

func TestTraceEvents(t *testing.T) {
	b := openBench(t)
	for n, stream := range []string{userCreated, userDeleted, userCreated} {
		b.do(t, "XADD", stream, fmt.Sprintf("%d-0", 10-n), "eventType", "user_created", "tenantId", "acme", "userId", "u-1",
			"data", "{}", "metadata", `{"correlationId":"req-7"}`)
		if n == 0 {
			b.do(t, "DEL", stream) // ids of a stream only grow
		}
	}
	b.do(t, "XADD", userCreated, "20-0", "eventType", "user_created", "data", `{"note":"req-7"}`, "metadata", `{"correlationId":"req-77"}`)
	search, err := b.TraceEvents(t.Context(), "req-7", inspect.FindConfig{})
	if want := []string{userCreated + "/8-0", userDeleted + "/9-0"}; err != nil || !slices.Equal(refsOf(search.Found), want) {
		t.Errorf("%q, %v", refsOf(search.Found), err)
	}
	search, err = b.TraceEvents(t.Context(), "req-7", inspect.FindConfig{Since: time.UnixMilli(9)})
	if err != nil || len(search.Found) != 1 {
		t.Errorf("since a time: %q, %v", refsOf(search.Found), err)
	}
}
