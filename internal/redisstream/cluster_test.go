package redisstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/delivery"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/wire"
)

// startCluster starts two masters that share the slots.
func startCluster(t *testing.T) (nodes [2]*redistest.Server) {
	t.Helper()
	var bus [2]string
	for i := range nodes {
		port, err := redistest.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		bus[i] = strconv.Itoa(port)
		nodes[i] = redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", bus[i])
	}
	nodes[0].Do("CLUSTER", "ADDSLOTSRANGE", "0", "8191")
	nodes[1].Do("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
	host, port, _ := strings.Cut(nodes[1].Addr(), ":")
	nodes[0].Do("CLUSTER", "MEET", host, port, bus[1])
	for _, n := range nodes {
		eventually(t, "the cluster is up", func() bool {
			info, _ := n.Do("CLUSTER", "INFO").(string)
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:2")
		})
	}
	return nodes
}

func TestCluster(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	c := open(t, nodes[0].URL()) // a single node tells that it is one of a cluster
	ctx := t.Context()
	streams := []string{s1, s2, "credit-events", "acknowledgments", "hr:sync:role:role_created"}
	var batch []redisstream.Addition
	for n := range 100 {
		for _, s := range streams {
			batch = append(batch, redisstream.Addition{Stream: s, Fields: []events.Field{{Name: "n", Value: strconv.Itoa(n)}}})
		}
	}
	for _, r := range c.AddBatch(ctx, batch) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	for _, n := range nodes {
		if n.Do("DBSIZE") == int64(0) {
			t.Fatal("all streams are on one node")
		}
	}
	if keys, err := c.Keys(ctx, []string{"*"}); err != nil || len(keys) != len(streams) {
		t.Errorf("keys %q, %v", keys, err)
	}

	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Patterns: []string{"*"}})
	perStream := map[string][]wire.Entry{}
	var all []wire.Entry
	for {
		entries := read(t, g, 30)
		if len(entries) == 0 {
			break
		}
		all = append(all, entries...)
		for _, e := range entries {
			perStream[e.Stream] = append(perStream[e.Stream], e)
		}
	}
	for _, s := range streams {
		for i, e := range perStream[s] {
			if e.Fields.List()[0].Value != strconv.Itoa(i) {
				t.Fatalf("%s: entry %d is number %s", s, i, e.Fields.List()[0].Value)
			}
		}
	}
	if len(all) != len(batch) {
		t.Fatalf("read %d of %d", len(all), len(batch))
	}
	owned, err := g.Begin(ctx, refs(all), slices.Repeat([]int{2}, len(all)))
	if err != nil || slices.Contains(owned, false) {
		t.Fatalf("begin: %v", err)
	}
	for _, s := range streams {
		if owned, err := g.Bury(ctx, delivery.DeadLetter{Entry: perStream[s][0], Attempts: 2}); err != nil || !owned {
			t.Errorf("bury on %s: %t, %v", s, owned, err)
		}
	}
	if err := g.Ack(ctx, refs(all)); err != nil {
		t.Fatal(err)
	}
	if pending, unread, err := g.Unsettled(ctx); pending != 0 || unread || err != nil {
		t.Errorf("%d pending, unread %t, %v", pending, unread, err)
	}
	if token, ok, err := c.AcquireLease(ctx, "g", "a", time.Minute); !ok || err != nil {
		t.Errorf("lease: %d, %t, %v", token, ok, err)
	}

	// A blocked read of both nodes ends when one has an entry.
	done := make(chan []wire.Entry)
	go func() {
		entries, atOnce, err := g.Read(ctx, g.Streams(), 10, 10*time.Second)
		if err != nil || atOnce {
			t.Errorf("%v; a read of two nodes says that it looked at them at once: %t", err, atOnce)
		}
		done <- entries
	}()
	began := time.Now()
	want := add(t, c, "credit-events", 1)
	if got := ids(<-done); !slices.Equal(got, want) || time.Since(began) > 2*time.Second {
		t.Errorf("after %v: %v, want %v", time.Since(began), got, want)
	}
}

// What is kept of a group lies in the slot of its stream, but not of a stream of
// retries.
func TestClusterConsumersAreRemovedFromRetries(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	c := open(t, nodes[0].URL())
	ctx := t.Context()
	g, other := group(t, c, "a"), group(t, c, "b")
	_, letter := bury(t, c, g, s1, someFields)
	redrive(t, c, s1, letter)
	retries := redisstream.RetryKey(s1, "g")
	for _, each := range []*redisstream.Group{g, other} {
		redisstream.MakeResolveDue(each)
		read(t, each, 10)
		if !slices.Contains(each.Streams(), retries) {
			t.Fatalf("streams %q", each.Streams())
		}
	}
	if entries := read(t, g, 10); len(entries) > 0 {
		if err := g.Ack(ctx, refs(entries)); err != nil {
			t.Fatal(err)
		}
	}
	removed := 0
	eventually(t, "the other is removed", func() bool {
		n, err := g.Prune(ctx, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		removed += n
		return removed > 0
	})
	if _, err := c.RemoveConsumer(ctx, retries, "g", "b", time.Millisecond); err != nil {
		t.Error(err)
	}
	if err := g.Leave(ctx); err != nil {
		t.Error(err)
	}
}

// What is kept beside a name with braces is in another slot: that is an error,
// and not the end of the process.
func TestClusterNamesWithBraces(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	c := open(t, nodes[0].URL())
	for _, stream := range []string{"a}b", "x{y}z", ""} {
		if _, err := c.RemoveConsumer(t.Context(), stream, "g", "a", time.Second); err == nil {
			t.Errorf("%q: a consumer was removed", stream)
		}
		if _, err := c.Rewind(t.Context(), stream, "g", wire.ID{}, redisstream.Behind{}); err == nil || !strings.Contains(err.Error(), "braces") {
			t.Errorf("%q: rewind: %v", stream, err)
		}
	}
	if _, _, err := c.AcquireLease(t.Context(), "}x", "a", time.Second); err == nil || !strings.Contains(err.Error(), "braces") {
		t.Errorf("lease: %v", err)
	}
}

// A read of several nodes is a command to each. What comes to a stream after its
// node has answered is older than what another node finds later, and is handled
// before it.
func TestClusterOrderOverNodes(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	c := open(t, nodes[0].URL())
	var on [2]string // a stream of each node
	for _, s := range []string{s1, s2, "credit-events", "acknowledgments"} {
		for i, n := range nodes {
			if n.Do("EXISTS", s) == int64(0) {
				on[i] = s
			}
		}
	}
	g := groupOf(t, c, redisstream.GroupConfig{Consumer: "a", Explicit: on[:]})
	var handled lockedIDs
	route := &delivery.Route{Name: "all", Handle: func(_ context.Context, m *delivery.Message) error {
		handled.add(m.Entry.ID)
		return nil
	}}
	engine, err := delivery.New(delivery.Config{
		Transport: g,
		Decode: func(e *wire.Entry) (*events.Envelope, *wire.Refusal) {
			return &events.Envelope{Stream: e.Stream, ID: e.ID.String(), Tenant: "t", Entity: events.Entity{Type: "user", ID: "u"}}, nil
		},
		Route:           func(*events.Envelope) (*delivery.Route, delivery.Disposition) { return route, delivery.Handle },
		Concurrency:     4,
		MaxInFlight:     100,
		MaxAttempts:     5,
		HandlerTimeout:  10 * time.Second,
		Lease:           30 * time.Second,
		BackoffMin:      100 * time.Millisecond,
		BackoffMax:      time.Second,
		Block:           time.Second,
		DrainTimeout:    10 * time.Second,
		OutageThreshold: 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- engine.Run(ctx) }()

	var want []wire.ID
	publish := func(stream string) {
		for len(want) > 0 && time.Now().UnixMilli() <= int64(want[len(want)-1].Ms) {
			time.Sleep(100 * time.Microsecond) // ids of one millisecond may be in any order
		}
		want = append(want, add(t, c, stream, 1)...)
	}
	for range 20 {
		blocked(t, nodes[0], 1)
		blocked(t, nodes[1], 1)
		publish(on[0])
		blocked(t, nodes[0], 0) // its part of the read is over
		publish(on[0])
		publish(on[1])
		eventually(t, "all are handled", func() bool { return len(handled.all()) == len(want) })
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := handled.all(); !slices.Equal(got, want) {
		t.Errorf("handled %v, want %v", got, want)
	}
}

// lockedIDs are noted by one goroutine and looked at by another.
type lockedIDs struct {
	mu  sync.Mutex
	ids []wire.ID
}

func (l *lockedIDs) add(id wire.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids = append(l.ids, id)
}

func (l *lockedIDs) all() []wire.ID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.ids)
}

// What anybody may have named is no reason to read nothing.
func TestClusterKeysWithBracesAreNotRead(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	c := open(t, nodes[0].URL())
	for _, key := range []string{"crm:sync:{x}", "crm:sync:a}b"} {
		add(t, c, key, 1)
	}
	want := add(t, c, s1, 1)
	g := redisstream.NewGroup(c, redisstream.GroupConfig{Group: "g", Consumer: "a", Patterns: []string{"crm:sync:*"}})
	if err := g.Setup(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := g.Streams(); !slices.Equal(got, []string{s1}) {
		t.Errorf("subscribed to %q", got)
	}
	if got := ids(read(t, g, 10)); !slices.Equal(got, want) {
		t.Errorf("%v was read, want %v", got, want)
	}
}

func TestClusterSlotThatMovesIsNoLoss(t *testing.T) {
	t.Parallel()
	nodes := startCluster(t)
	c := open(t, nodes[0].URL())
	g := group(t, c, "a")
	add(t, c, s1, 3)
	inHand := read(t, g, 2)

	slot := strconv.FormatInt(nodes[0].Do("CLUSTER", "KEYSLOT", s1).(int64), 10)
	from, to := nodes[0], nodes[1]
	if from.Do("EXISTS", s1) != int64(1) {
		from, to = to, from
	}
	host, port, _ := strings.Cut(to.Addr(), ":")
	fromID, toID := from.Do("CLUSTER", "MYID").(string), to.Do("CLUSTER", "MYID").(string)
	read(t, g, 1) // the third, so that the next read blocks
	done := make(chan error, 1)
	go func() {
		for { // what the engine does: go on after errors
			entries, _, err := g.Read(t.Context(), g.Streams(), 10, time.Second)
			if len(entries) > 0 || t.Context().Err() != nil {
				done <- err
				return
			}
		}
	}()
	for _, step := range []struct {
		node    *redistest.Server
		command []string
	}{
		{to, []string{"CLUSTER", "SETSLOT", slot, "IMPORTING", fromID}},
		{from, []string{"CLUSTER", "SETSLOT", slot, "MIGRATING", toID}},
		{from, []string{"MIGRATE", host, port, s1, "0", "5000"}},
		{to, []string{"CLUSTER", "SETSLOT", slot, "NODE", toID}},
	} {
		if reply := step.node.Do(step.command...); reply != "OK" {
			t.Fatalf("%v: %v", step.command, reply)
		}
	}
	// What the group keeps of the stream may have been written to the slot late.
	for reply := any(""); reply != "OK"; {
		for _, key := range from.Do("CLUSTER", "GETKEYSINSLOT", slot, "10").([]any) {
			from.Do("MIGRATE", host, port, key.(string), "0", "5000", "REPLACE")
		}
		if reply = from.Do("CLUSTER", "SETSLOT", slot, "NODE", toID); reply != "OK" && !strings.Contains(fmt.Sprint(reply), "still hold keys") {
			t.Fatal(reply)
		}
	}
	add(t, c, s1, 1)
	err := <-done
	eventually(t, "another server answers, and may know less, and a read says so", func() bool {
		if err == nil {
			_, _, err = g.Read(t.Context(), g.Streams(), 10, 10*time.Millisecond)
		}
		return err != nil
	})
	if !errors.Is(err, delivery.ErrLost) {
		t.Errorf("another server answers, and may know less, but reads say %v", err)
	}
	if g.Losses() != (redisstream.Losses{}) {
		t.Errorf("losses: %+v", g.Losses())
	}
	if owned, err := g.Renew(t.Context(), refs(inHand)); err != nil || !slices.Equal(owned, []bool{true, true}) {
		t.Errorf("entries in hand: %v, %v", owned, err)
	}
}
