package inspect_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
)

// minutesAgo is an id of that time.
func minutesAgo(n int) string {
	return strconv.FormatInt(time.Now().Add(-time.Duration(n)*time.Minute).UnixMilli(), 10) + "-0"
}

func streamOf(t *testing.T, s *inspect.Snapshot, key string) inspect.Stream {
	t.Helper()
	at := slices.IndexFunc(s.Streams, func(s inspect.Stream) bool { return s.Key == key })
	if at < 0 {
		t.Fatalf("no stream %s in %+v", key, s)
	}
	return s.Streams[at]
}

func aged(t *testing.T, what string, at, now time.Time, minutes int) {
	t.Helper()
	if age := now.Sub(at) - time.Duration(minutes)*time.Minute; age < 0 || age > 20*time.Second {
		t.Errorf("%s: %v old, want %d minutes", what, now.Sub(at), minutes)
	}
}

func TestSnapshotOfAStream(t *testing.T) {
	i, server, _ := open(t)
	first := add(t, server, users, minutesAgo(90), 1)
	for n := range 50 {
		add(t, server, users, "*", n)
	}
	last := add(t, server, users, "*", 2)
	s := snapshot(t, i, inspect.SnapshotConfig{})
	got := streamOf(t, s, users)
	if got.Length != 52 || got.Added != 52 || got.FirstID != first || got.LastID != last || got.Bytes < 500 {
		t.Errorf("%+v", got)
	}
	aged(t, "the first entry", got.FirstAt, s.At, 90)
	aged(t, "the last entry", got.LastAt, s.At, 0)
	if got.Groups != nil || got.GroupsUnknown != "" || got.HeldBack != nil {
		t.Errorf("nobody reads it: %+v", got)
	}
	if len(s.Streams) != 1 || !slices.Contains(s.Missing, "credit-events") || len(s.Problems) > 0 {
		t.Errorf("streams %d, missing %q, problems %+v", len(s.Streams), s.Missing, s.Problems)
	}
	if s = snapshot(t, i, inspect.SnapshotConfig{Patterns: []string{"none", "no*"}}); len(s.Streams) != 0 || !slices.Equal(s.Missing, []string{"none"}) {
		t.Errorf("%+v", s)
	}
}

func TestSnapshotOfAGroup(t *testing.T) {
	i, server, _ := open(t)
	do(t, server, "XGROUP", "CREATE", users, "g", "0", "MKSTREAM")
	old := add(t, server, users, minutesAgo(90), 1)
	next := add(t, server, users, minutesAgo(60), 2)
	unread := add(t, server, users, minutesAgo(30), 3)
	receive(t, server, users, 2)
	do(t, server, "XREADGROUP", "GROUP", "g", "c", "STREAMS", users, "0") // all that are pending once more
	do(t, server, "XGROUP", "CREATECONSUMER", users, "g", "b")

	oldest := func(want string, pending bool, minutes int) inspect.Group {
		t.Helper()
		s := snapshot(t, i, inspect.SnapshotConfig{})
		g := groupOf(t, s, users)
		if g.Oldest == nil || g.Oldest.ID != want || g.Oldest.Pending != pending {
			t.Fatalf("oldest %+v, want %s, pending %v", g.Oldest, want, pending)
		}
		aged(t, "the oldest", g.Oldest.At, s.At, minutes)
		return g
	}
	g := oldest(old, true, 90)
	if g.Pending != 2 || g.Redelivered != (inspect.Count{N: 2}) || g.MaxDeliveries != 2 || g.Lag.N != 1 || g.Waiting() != (inspect.Count{N: 3}) || g.LastDelivered != next {
		t.Errorf("%+v", g)
	}
	if p := g.OldestPending; p == nil || p.ID != old || p.Consumer != "c" || p.Deliveries != 2 || p.Idle > 20*time.Second || p.Trimmed {
		t.Errorf("oldest pending: %+v", p)
	}
	if g.Live != 2 || g.Dead != 0 || g.Members != 2 || len(g.Consumers) != 2 || g.Consumers[0].Name != "b" || g.Consumers[1].Pending != 2 || !g.Consumers[1].Live {
		t.Errorf("consumers: %+v", g)
	}

	do(t, server, "XTRIM", users, "MAXLEN", "1") // both that are pending
	if g := oldest(old, true, 90); !g.OldestPending.Trimmed || g.Pending != 2 {
		t.Errorf("trimmed and pending: %+v", g)
	}
	do(t, server, "XACK", users, "g", old, next)
	oldest(unread, false, 30)
	receive(t, server, users, 1)
	do(t, server, "XACK", users, "g", unread)
	s := snapshot(t, i, inspect.SnapshotConfig{})
	if g := groupOf(t, s, users); g.Oldest != nil || g.OldestUnknown != "" || g.Pending != 0 || g.OldestPending != nil || !g.Lag.Within(0) {
		t.Errorf("all is settled: %+v", g)
	} else if age, known := s.OldestAge(&g); age != 0 || !known {
		t.Errorf("age of nothing: %v, %v", age, known)
	}
}

// A publisher can give any ids.
func TestSnapshotOfEntriesFromTheFuture(t *testing.T) {
	i, server, _ := open(t)
	do(t, server, "XGROUP", "CREATE", users, "g", "0", "MKSTREAM")
	do(t, server, "XGROUP", "CREATE", deleted, "g", "0", "MKSTREAM")
	add(t, server, users, "99999999999999-0", 1)
	add(t, server, deleted, "18446744073709551615-18446744073709551615", 1)
	s := snapshot(t, i, inspect.SnapshotConfig{})
	for _, stream := range []string{users, deleted} {
		g := groupOf(t, s, stream)
		if age, known := s.OldestAge(&g); age != 0 || !known || g.Lag.N != 1 {
			t.Errorf("%s: age %v, %v, lag %v", stream, age, known, g.Lag)
		}
	}
	receive(t, server, deleted, 1)
	if g := groupOf(t, snapshot(t, i, inspect.SnapshotConfig{}), deleted); !g.Lag.Within(0) || g.Pending != 1 {
		t.Errorf("%+v", g)
	}
	page, err := i.Pending(t.Context(), inspect.PendingConfig{Stream: deleted, Group: "g", After: "18446744073709551615-18446744073709551615"})
	if len(page) != 0 || err != nil {
		t.Errorf("after the last id: %+v, %v", page, err)
	}
}

func TestSnapshotTellsLiveFromDead(t *testing.T) {
	i, server, _ := open(t)
	do(t, server, "XGROUP", "CREATE", users, "g", "0", "MKSTREAM")
	do(t, server, "XGROUP", "CREATECONSUMER", users, "g", "c")
	eventually(t, "a consumer that says nothing is dead", func() bool {
		g := groupOf(t, snapshot(t, i, inspect.SnapshotConfig{LiveWithin: time.Millisecond}), users)
		return g.Live == 0 && g.Dead == 1 && !g.Unserved() && g.LastSeen > 0
	})
	fill(t, server, users, 1)
	if g := groupOf(t, snapshot(t, i, inspect.SnapshotConfig{LiveWithin: time.Millisecond}), users); !g.Unserved() {
		t.Errorf("there is something to do: %+v", g)
	}
	if g := groupOf(t, snapshot(t, i, inspect.SnapshotConfig{}), users); g.Unserved() || g.Live != 1 {
		t.Errorf("%+v", g)
	}
}

// A consumer that has nothing to do on a stream lives if it does on another.
func TestSnapshotOfAConsumerThatWaits(t *testing.T) {
	i, server, _ := open(t)
	for _, stream := range []string{users, deleted} {
		do(t, server, "XGROUP", "CREATE", stream, "g", "0", "MKSTREAM")
		do(t, server, "XGROUP", "CREATECONSUMER", stream, "g", "c")
	}
	do(t, server, "XGROUP", "CREATECONSUMER", users, "g", "another")
	const within = 300 * time.Millisecond
	both := func() (busy, quiet inspect.Group) {
		do(t, server, "XREADGROUP", "GROUP", "g", "c", "STREAMS", users, "0")
		s := snapshot(t, i, inspect.SnapshotConfig{LiveWithin: within})
		return groupOf(t, s, users), groupOf(t, s, deleted)
	}
	eventually(t, "it is silent on the quiet stream, and lives by the other", func() bool {
		_, quiet := both()
		return quiet.Consumers[0].Idle > within && quiet.Live == 1 && quiet.Dead == 0 && quiet.LastSeen < within
	})
	eventually(t, "another is silent on all", func() bool {
		busy, _ := both()
		return busy.Live == 1 && busy.Dead == 1 && !busy.Consumers[0].Live && busy.Consumers[1].Live
	})
	fill(t, server, deleted, 1)
	if _, quiet := both(); quiet.Live != 0 || quiet.Dead != 1 || !quiet.Unserved() {
		t.Errorf("it does not take what there is: %+v", quiet)
	}
}

func TestSnapshotOfMorePendingThanItLooksAt(t *testing.T) {
	i, server, _ := open(t)
	do(t, server, "XGROUP", "CREATE", users, "g", "0", "MKSTREAM")
	fill(t, server, users, 150)
	receive(t, server, users, 150)
	do(t, server, "XCLAIM", users, "g", "c", "0", "3-0", "120-0")
	g := groupOf(t, snapshot(t, i, inspect.SnapshotConfig{}), users)
	if g.Pending != 150 || g.Redelivered.N != 1 || g.Redelivered.String() != ">= 1" {
		t.Errorf("%+v", g)
	}
}

func TestSnapshotOfDeadLetters(t *testing.T) {
	i, server, _ := open(t)
	do(t, server, "XGROUP", "CREATE", users, "g", "0", "MKSTREAM")
	letter := userLetter("g", "7-1", "u-1", "max_attempts", "no")
	letter.as = minutesAgo(10)
	letter.put(t, server)
	letter.as = minutesAgo(5)
	letter.put(t, server)
	add(t, server, "{"+users+"}:retry:g", minutesAgo(7), 1)
	do(t, server, "HSET", "{"+users+"}:state:g", "at", "0-0", "pending", "", "total", "3")
	s := snapshot(t, i, inspect.SnapshotConfig{})
	g := groupOf(t, s, users)
	if g.DeadLetters != 2 || g.Redriven != 1 || g.LostUnread != 3 {
		t.Errorf("%+v", g)
	}
	aged(t, "the newest", g.LastDeadAt, s.At, 5)
	aged(t, "the oldest redriven", g.RedrivenAt, s.At, 7)
	if age, known := s.OldestAge(&g); !known || age != s.At.Sub(g.RedrivenAt) || g.Waiting().N != 1 {
		t.Errorf("what is redriven waits: for %v, %v, %+v", age, known, g.Waiting())
	}
	if len(s.Streams) != 1 {
		t.Errorf("keys of our own are no streams of the suite: %+v", s.Streams)
	}
}

// What a group holds back is what a trim says.
func TestSnapshotAgreesWithATrim(t *testing.T) {
	i, server, _ := open(t)
	client, err := redisstream.Open(t.Context(), redisstream.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	fill(t, server, users, 40)
	do(t, server, "XGROUP", "CREATE", users, "g", "20-0")
	do(t, server, "XGROUP", "CREATE", users, "another", "0")
	check := func() {
		t.Helper()
		trim, err := client.TrimDryRun(t.Context(), users, time.Hour, nil)
		if err != nil {
			t.Fatal(err)
		}
		s := streamOf(t, snapshot(t, i, inspect.SnapshotConfig{}), users)
		lowest := ""
		for _, u := range trim.Groups {
			at := slices.IndexFunc(s.Groups, func(g inspect.Group) bool { return g.Name == u.Group })
			hold := s.Groups[at].Oldest
			switch {
			case hold == nil && u.Lowest.String() != "0-0", hold != nil && (hold.ID != u.Lowest.String() || hold.Pending != u.Pending):
				t.Errorf("group %s: %+v, a trim says %+v", u.Group, hold, u)
			}
			if hold != nil && (lowest == "" || parse(t, hold.ID).Compare(parse(t, lowest)) < 0) {
				lowest = hold.ID
			}
		}
		if hold := s.HeldBack; lowest == "" && hold != nil || lowest != "" && (hold == nil || hold.ID != lowest) {
			t.Errorf("held back at %+v, want %s", hold, lowest)
		}
	}
	check()
	receive(t, server, users, 5)
	check()
	do(t, server, "XREADGROUP", "GROUP", "another", "c", "STREAMS", users, ">")
	check()
	do(t, server, "XACK", users, "g", "21-0", "22-0")
	do(t, server, "XGROUP", "DESTROY", users, "another")
	check()
	do(t, server, "XGROUP", "SETID", users, "g", "0") // pending ahead of what is unread
	check()
}

func TestSnapshotShowsTheRest(t *testing.T) {
	_, server, _ := open(t)
	do(t, server, "XGROUP", "CREATE", users, "g", "0", "MKSTREAM")
	fill(t, server, users, 5)
	receive(t, server, users, 2)
	do(t, server, "SET", "credit-events", "no stream")
	userLetter("g", "7-1", "u-1", "max_attempts", "no").put(t, server)
	for _, test := range []struct {
		denied string
		part   string // that is missing
		check  func(s inspect.Stream, g inspect.Group) bool
	}{
		{"-xinfo|stream", "stream", func(s inspect.Stream, g inspect.Group) bool {
			return s.Length == 5 && s.Added == -1 && g.Lag.N == 3 && g.Lag.Known()
		}},
		{"-xinfo|groups", "groups", func(s inspect.Stream, g inspect.Group) bool { return s.GroupsUnknown != "" && s.Length == 5 }},
		{"-xinfo|consumers", "consumers", func(_ inspect.Stream, g inspect.Group) bool {
			return g.Live == -1 && g.Dead == -1 && !g.Unserved() && g.Pending == 2
		}},
		{"-xpending", "pending entries", func(_ inspect.Stream, g inspect.Group) bool {
			return g.OldestUnknown != "" && g.Oldest == nil && g.Pending == 2 && !g.Redelivered.Known()
		}},
		{"-xrange", "unread entries", func(_ inspect.Stream, g inspect.Group) bool {
			return g.OldestUnknown != "" && g.Lag.String() == "unknown" && g.Live == 1
		}},
		{"-memory|usage", "memory", func(s inspect.Stream, g inspect.Group) bool { return s.Bytes == -1 && g.Lag.N == 3 }},
		{"-time", "clock", func(s inspect.Stream, g inspect.Group) bool { return g.Lag.N == 3 && time.Since(s.FirstAt) > time.Hour }},
		{"-hmget", "losses", func(_ inspect.Stream, g inspect.Group) bool { return g.LostUnread == 0 && g.Lag.N == 3 }},
		{"-xlen", "dead letters", func(s inspect.Stream, g inspect.Group) bool {
			return s.Length == 5 && g.DeadLetters == -1 && g.Redriven == -1
		}},
		{"-xrevrange", "newest dead letter", func(_ inspect.Stream, g inspect.Group) bool { return g.DeadLetters == 1 && g.LastDeadAt.IsZero() }},
		{"-scan", "streams", func(s inspect.Stream, g inspect.Group) bool { return g.Lag.N == 3 }},
	} {
		t.Run(test.denied, func(t *testing.T) {
			do(t, server, "ACL", "SETUSER", "viewer", "reset", "on", ">secret", "~*", "+@all", test.denied)
			i, err := inspect.Open(t.Context(), freshet.Config{URL: strings.Replace(server.URL(), "//", "//viewer:secret@", 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer i.Close()
			s := snapshot(t, i, inspect.SnapshotConfig{Patterns: []string{users, "credit-events", "org*"}})
			var parts []string
			for _, p := range s.Problems {
				parts = append(parts, p.Part)
			}
			if !slices.Contains(parts, test.part) || !slices.ContainsFunc(s.Problems, func(p inspect.Problem) bool {
				return p.Stream == "credit-events" && redisstream.ClassOf(p.Err) == redisstream.WrongType
			}) {
				t.Errorf("problems %+v", s.Problems)
			}
			st := streamOf(t, s, users)
			var g inspect.Group
			if len(st.Groups) > 0 {
				g = st.Groups[0]
			}
			if !test.check(st, g) {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestSnapshotFailsWhereNothingAnswers(t *testing.T) {
	i, server, _ := open(t)
	fill(t, server, users, 1)
	server.Kill()
	if s, err := i.Snapshot(t.Context(), inspect.SnapshotConfig{}); redisstream.ClassOf(err) != redisstream.Unreachable {
		t.Errorf("%+v, %v", s, err)
	}
}

// openCluster starts two masters that share the slots.
func openCluster(t *testing.T) (i *inspect.Inspector, nodes [2]*redistest.Server) {
	t.Helper()
	var bus [2]string
	for n := range nodes {
		port, err := redistest.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		bus[n] = strconv.Itoa(port)
		nodes[n] = redistest.Start(t, "--cluster-enabled", "yes", "--cluster-port", bus[n])
	}
	do(t, nodes[0], "CLUSTER", "ADDSLOTSRANGE", "0", "8191")
	do(t, nodes[1], "CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
	host, port, _ := strings.Cut(nodes[1].Addr(), ":")
	do(t, nodes[0], "CLUSTER", "MEET", host, port, bus[1])
	for _, n := range nodes {
		eventually(t, "the cluster is up", func() bool {
			info, _ := n.Do("CLUSTER", "INFO").(string)
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:2")
		})
	}
	i, err := inspect.Open(t.Context(), freshet.Config{URL: nodes[0].URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the library looks at the cluster's map a second later
		i.Close()
		time.Sleep(1100 * time.Millisecond)
	})
	return i, nodes
}

// A cluster is looked at as a whole: streams are on several of its nodes.
func TestSnapshotOfACluster(t *testing.T) {
	i, nodes := openCluster(t)
	filled := map[string]int{}
	for _, stream := range []string{users, deleted, consumed, "credit-events", "acknowledgments"} {
		for n, node := range nodes {
			if _, moved := node.Do("XGROUP", "CREATE", stream, "g", "0", "MKSTREAM").(redistest.Error); !moved {
				fill(t, node, stream, 7)
				filled[stream] = n
			}
		}
	}
	s := snapshot(t, i, inspect.SnapshotConfig{})
	for stream := range filled {
		if g := groupOf(t, s, stream); g.Lag.N != 7 || len(s.Problems) > 0 {
			t.Errorf("%s: %+v, %+v", stream, g, s.Problems)
		}
	}
}

func TestPendingPages(t *testing.T) {
	i, server, _ := open(t)
	do(t, server, "XGROUP", "CREATE", users, "g", "0", "MKSTREAM")
	fill(t, server, users, 25)
	receive(t, server, users, 20)
	do(t, server, "XREADGROUP", "GROUP", "g", "another", "STREAMS", users, ">")
	do(t, server, "XTRIM", users, "MAXLEN", "23")
	var all []inspect.PendingEntry
	for after := ""; ; after = all[len(all)-1].ID {
		page, err := i.Pending(t.Context(), inspect.PendingConfig{Stream: users, Group: "g", After: after, Limit: 10})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page...)
		if len(page) < 10 {
			break
		}
	}
	for n, p := range all {
		if p.ID != fmt.Sprintf("%d-0", n+1) || p.Trimmed != (n < 2) || (p.Consumer == "another") != (n >= 20) || p.Deliveries != 1 || p.Stream != users || p.Group != "g" {
			t.Errorf("%+v", p)
		}
	}
	if len(all) != 25 {
		t.Errorf("%d entries", len(all))
	}
	page, err := i.Pending(t.Context(), inspect.PendingConfig{Stream: users, Group: "g", Consumer: "another"})
	if len(page) != 5 || err != nil {
		t.Errorf("of one consumer: %+v, %v", page, err)
	}
	for _, cfg := range []inspect.PendingConfig{{Stream: users, Group: "none"}, {Stream: "none", Group: "g"}} {
		if _, err := i.Pending(t.Context(), cfg); !errors.Is(err, inspect.ErrNoGroup) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	for _, cfg := range []inspect.PendingConfig{{Limit: -1}, {Limit: 1001}, {After: "x"}} {
		if _, err := i.Pending(t.Context(), cfg); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
}
