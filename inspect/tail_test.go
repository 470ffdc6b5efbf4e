package inspect_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	users    = "crm:sync:user:user_created"
	deleted  = "crm:sync:user:user_deleted"
	consumed = "crm:sync:credits:credit_consumed"
)

// log collects what the inspector logs.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func open(t *testing.T, args ...string) (*inspect.Inspector, *redistest.Server, *log) {
	t.Helper()
	server := redistest.Start(t, args...)
	lines := &log{}
	i, err := inspect.Open(t.Context(), freshet.Config{URL: server.URL(), Log: slog.New(slog.NewTextHandler(lines, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i, server, lines
}

// add adds an entry of user n, under an id or "*", and returns its id.
func add(t *testing.T, s *redistest.Server, stream, id string, n int) string {
	t.Helper()
	typ := stream[strings.LastIndexByte(stream, ':')+1:]
	return xadd(t, s, stream, id, "messageId", fmt.Sprintf("m-%d", n), "eventType", typ, "tenantId", tenantOf(n), "entityType", "user",
		"entityId", fmt.Sprint(n), "timestamp", "2025-12-04T10:00:00.000Z", "data", fmt.Sprintf(`{"userId":"%d","entityId":"e","amount":1}`, n))
}

func tenantOf(n int) string {
	if n%2 == 0 {
		return "even"
	}
	return "odd"
}

func xadd(t *testing.T, s *redistest.Server, stream, id string, fields ...string) string {
	t.Helper()
	reply := s.Do(append([]string{"XADD", stream, id}, fields...)...)
	if err, failed := reply.(redistest.Error); failed {
		t.Fatal(err)
	}
	return reply.(string)
}

// collect tails to the end and returns the ids in the order shown.
func collect(t *testing.T, i *inspect.Inspector, cfg inspect.TailConfig) (items []inspect.Item) {
	t.Helper()
	cfg.ExitAtEnd = true
	err := i.Tail(t.Context(), cfg, func(item inspect.Item) error {
		items = append(items, item)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return items
}

func ids(items []inspect.Item) (ids []string) {
	for _, i := range items {
		ids = append(ids, i.Envelope.ID)
	}
	return ids
}

// following is a tail that runs until the test ends.
type following struct {
	mu    sync.Mutex
	items []inspect.Item
	stop  func() error
}

func follow(t *testing.T, i *inspect.Inspector, cfg inspect.TailConfig) *following {
	t.Helper()
	f := &following{}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = i.Tail(ctx, cfg, func(item inspect.Item) error {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.items = append(f.items, item)
			return nil
		})
	}()
	f.stop = func() error { cancel(); <-done; return err }
	t.Cleanup(func() {
		if err := f.stop(); err != nil {
			t.Errorf("Tail: %v", err)
		}
	})
	return f
}

func (f *following) ids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return ids(f.items)
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func TestTailMergesStreamsById(t *testing.T) {
	i, server, _ := open(t)
	// A dense stream of more than a page, a sparse one across it, one that
	// ends before the others begin.
	var want []string
	for n := 1; n <= 250; n++ {
		want = append(want, add(t, server, users, fmt.Sprintf("%d-0", 1000+10*n), n))
	}
	for n := 1; n <= 25; n++ {
		want = append(want, add(t, server, deleted, fmt.Sprintf("%d-0", 1005+100*n), n))
	}
	want = append(want, add(t, server, consumed, "5-0", 1), add(t, server, consumed, "5-1", 1))
	slices.SortFunc(want, func(a, b string) int { return parse(t, a).Compare(parse(t, b)) })
	if got := ids(collect(t, i, inspect.TailConfig{From: "0"})); !slices.Equal(got, want) {
		t.Errorf("got %d ids %v\nwant %d ids %v", len(got), got, len(want), want)
	}
}

// What comes to a stream after its node has answered is shown before what
// another node finds later.
func TestTailOfAClusterShowsInOrder(t *testing.T) {
	i, nodes := openCluster(t)
	var on [2]string // a stream of each node
	for _, stream := range []string{users, deleted, consumed, "credit-events"} {
		for n, node := range nodes {
			if node.Do("EXISTS", stream) == int64(0) {
				on[n] = stream
			}
		}
	}
	var want []string
	publish := func(n int) {
		for len(want) > 0 && uint64(time.Now().UnixMilli()) <= parse(t, want[len(want)-1]).Ms {
			time.Sleep(100 * time.Microsecond) // ids of one millisecond may be in any order
		}
		want = append(want, add(t, nodes[n], on[n], "*", 1))
	}
	blocked := func(node, n int) {
		t.Helper()
		info := fmt.Sprintf("blocked_clients:%d\r\n", n)
		eventually(t, info, func() bool { return strings.Contains(nodes[node].Do("INFO", "clients").(string), info) })
	}
	f := follow(t, i, inspect.TailConfig{Patterns: on[:]})
	for range 20 {
		blocked(0, 1)
		blocked(1, 1)
		publish(0)
		blocked(0, 0) // its part of the read is over
		publish(0)
		publish(1)
		eventually(t, "all are shown", func() bool { return len(f.ids()) == len(want) })
	}
	if got := f.ids(); !slices.Equal(got, want) {
		t.Errorf("shown %v, want %v", got, want)
	}
}

func parse(t *testing.T, id string) wire.ID {
	t.Helper()
	parsed, err := wire.ParseID(id)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func TestTailBegins(t *testing.T) {
	i, server, _ := open(t)
	old := fmt.Sprintf("%d-0", time.Now().Add(-time.Hour).UnixMilli())
	for n, id := range []string{"1-0", "2-0", "2-1", "3-0", old} {
		add(t, server, users, id, n)
	}
	recent := add(t, server, users, "*", 9)
	all := []string{"1-0", "2-0", "2-1", "3-0", old, recent}
	for from, want := range map[string][]string{
		"0":   all,
		"2":   all[1:],
		"2-1": all[2:],
		"2-7": all[3:],
		"$":   nil,
		"":    nil,
	} {
		if got := ids(collect(t, i, inspect.TailConfig{From: from})); !slices.Equal(got, want) {
			t.Errorf("from %q: got %v, want %v", from, got, want)
		}
	}
	for _, bad := range []string{"yesterday", "15m", "1-2-3", "-1"} {
		if err := (inspect.TailConfig{From: bad}).Validate(); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("from %q: got %v, want a refusal that names it", bad, err)
		}
	}
}

func TestTailShowsWhatComes(t *testing.T) {
	t.Parallel()
	i, server, _ := open(t)
	add(t, server, users, "*", 1)
	f := follow(t, i, inspect.TailConfig{Patterns: []string{"crm:*", "hr:sync:role:role_created"}})
	// Publish until the tail is there to see it; "$" shows nothing older.
	var published []string
	eventually(t, "the first new entry is shown", func() bool {
		published = append(published, add(t, server, users, "*", 2))
		return len(f.ids()) > 0
	})
	want := published[slices.Index(published, f.ids()[0]):]
	want = append(want,
		add(t, server, users, "*", 3),
		xadd(t, server, "hr:sync:role:role_created", "*", "eventType", "role.created"), // a key that did not exist
		add(t, server, deleted, "*", 4), // a new stream, found by its pattern
		add(t, server, deleted, "*", 5),
	)
	eventually(t, "everything is shown", func() bool { return len(f.ids()) >= len(want) })
	got := f.ids()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	begin := time.Now()
	if err := f.stop(); err != nil || time.Since(begin) > time.Second {
		t.Errorf("stopped with %v after %v", err, time.Since(begin))
	}
}

func TestTailToTheEndIsNotOutrun(t *testing.T) {
	i, server, _ := open(t)
	for n := range 300 {
		add(t, server, users, "*", n)
	}
	shown := 0
	err := i.Tail(t.Context(), inspect.TailConfig{From: "0", ExitAtEnd: true}, func(inspect.Item) error {
		add(t, server, users, "*", shown)
		shown++
		return nil
	})
	if err != nil || shown != 300 {
		t.Errorf("showed %d entries, %v; want the 300 that were there", shown, err)
	}
}

func TestTailShowsWhatDoesNotDecode(t *testing.T) {
	i, server, _ := open(t)
	xadd(t, server, users, "1-0", "eventType", "user_created", "tenantId", "acme", "data", "{not json")
	xadd(t, server, users, "2-0", "nothing", "known")
	xadd(t, server, users, "3-0", "eventType", "user_renamed", "tenantId", "acme", "data", `{"userId":"1"}`)
	add(t, server, users, "4-0", 1)
	items := collect(t, i, inspect.TailConfig{From: "0"})
	if len(items) != 4 {
		t.Fatalf("showed %d of 4 entries", len(items))
	}
	if r := items[0].Refusal; r == nil || r.Reason != "bad_json" || !strings.HasPrefix(r.Detail, "data") || items[0].Envelope.Tenant != "acme" {
		t.Errorf("bad JSON: %+v, %+v", r, items[0].Envelope)
	}
	if r := items[1].Refusal; r == nil || r.Reason != "missing_field" || r.Detail != "eventType" {
		t.Errorf("no event type: %+v", r)
	}
	if e := items[2]; e.Refusal != nil || e.Envelope.Type != nil || string(e.Envelope.Data) != `{"userId":"1"}` {
		t.Errorf("unknown type: %+v, %+v", e.Refusal, e.Envelope)
	}
	if items[3].Refusal != nil {
		t.Errorf("good entry: %+v", items[3].Refusal)
	}
}

func TestTailLeavesOut(t *testing.T) {
	i, server, _ := open(t)
	for n := 1; n <= 4; n++ {
		add(t, server, users, fmt.Sprintf("%d-0", n), n)
	}
	add(t, server, deleted, "5-0", 5)
	xadd(t, server, deleted, "6-0", "eventType", "user.deleted", "tenantId", "odd", "data", "{")
	xadd(t, server, deleted, "7-0", "nothing", "known")
	for _, test := range []struct {
		name string
		cfg  inspect.TailConfig
		want []string
	}{
		{"tenant", inspect.TailConfig{Tenants: []string{"odd"}}, []string{"1-0", "3-0", "5-0", "6-0", "7-0"}},
		{"two tenants", inspect.TailConfig{Tenants: []string{"odd", "even"}}, []string{"1-0", "2-0", "3-0", "4-0", "5-0", "6-0", "7-0"}},
		{"type", inspect.TailConfig{Types: []string{"user_deleted"}}, []string{"5-0", "6-0", "7-0"}},
		{"type on the wire", inspect.TailConfig{Types: []string{"user.deleted"}}, []string{"6-0", "7-0"}},
		{"both", inspect.TailConfig{Types: []string{"user_created"}, Tenants: []string{"even"}}, []string{"2-0", "4-0", "7-0"}},
		{"pattern", inspect.TailConfig{Patterns: []string{"*deleted"}}, []string{"5-0", "6-0", "7-0"}},
		{"limit", inspect.TailConfig{Limit: 2, Tenants: []string{"even"}}, []string{"2-0", "4-0"}},
	} {
		test.cfg.From = "0"
		if got := ids(collect(t, i, test.cfg)); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

func TestTailLeavesOutWhatIsNoStream(t *testing.T) {
	i, server, log := open(t)
	server.Do("SET", "credit-events", "a string")
	add(t, server, users, "1-0", 1)
	if got := ids(collect(t, i, inspect.TailConfig{From: "0"})); !slices.Equal(got, []string{"1-0"}) {
		t.Errorf("got %v", got)
	}
	if !strings.Contains(log.String(), "credit-events") {
		t.Errorf("log does not name the key: %s", log)
	}
}

func TestTailSaysThatNothingMatches(t *testing.T) {
	i, _, lines := open(t)
	collect(t, i, inspect.TailConfig{}) // an empty bus is nobody's mistake
	if lines.String() != "" {
		t.Errorf("logged %s", lines)
	}
	collect(t, i, inspect.TailConfig{Patterns: []string{"crm:snyc:*"}})
	if !strings.Contains(lines.String(), "no stream matches") || !strings.Contains(lines.String(), "crm:snyc:*") {
		t.Errorf("logged %q", lines)
	}
}

func TestTailEndsWithTheErrorOfShow(t *testing.T) {
	i, server, _ := open(t)
	add(t, server, users, "1-0", 1)
	full := errors.New("disk full")
	err := i.Tail(t.Context(), inspect.TailConfig{From: "0"}, func(inspect.Item) error { return full })
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

func TestTailSurvivesTheServer(t *testing.T) {
	t.Parallel()
	i, server, log := open(t, "--appendonly", "yes", "--appendfsync", "always")
	want := []string{add(t, server, users, "*", 1)}
	f := follow(t, i, inspect.TailConfig{From: "0"})
	eventually(t, "the first entry is shown", func() bool { return len(f.ids()) == 1 })
	server.Kill()
	eventually(t, "the loss is logged", func() bool { return strings.Contains(log.String(), "connection lost") })
	server.Restart()
	want = append(want, add(t, server, users, "*", 2), add(t, server, users, "*", 3))
	eventually(t, "what was published after the restart is shown", func() bool { return len(f.ids()) == 3 })
	if got := f.ids(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := strings.Count(log.String(), "connection lost"); n != 1 {
		t.Errorf("one loss is logged %d times:\n%s", n, log)
	}
}
