package inspect_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
)

// fill adds n entries with the ids from 1-0 on.
func fill(t *testing.T, s *redistest.Server, stream string, n int) {
	t.Helper()
	do(t, s, "EVAL", `for i = 1, tonumber(ARGV[1]) do redis.call('XADD', KEYS[1], i .. '-0', 'eventType', 'user_created') end`, "1", stream, strconv.Itoa(n))
}

// do is Do of a command that must not fail.
func do(t *testing.T, s *redistest.Server, args ...string) any {
	t.Helper()
	reply := s.Do(args...)
	if err, failed := reply.(redistest.Error); failed {
		t.Fatalf("%.80q: %v", args, err)
	}
	return reply
}

// receive reads n entries as consumer c of group g, and settles none.
func receive(t *testing.T, s *redistest.Server, stream string, n int) {
	t.Helper()
	do(t, s, "XREADGROUP", "GROUP", "g", "c", "COUNT", strconv.Itoa(n), "STREAMS", stream, ">")
}

func snapshot(t *testing.T, i *inspect.Inspector, cfg inspect.SnapshotConfig) *inspect.Snapshot {
	t.Helper()
	s, err := i.Snapshot(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// groupOf returns group g of a stream.
func groupOf(t *testing.T, s *inspect.Snapshot, stream string) inspect.Group {
	t.Helper()
	for _, st := range s.Streams {
		for _, g := range st.Groups {
			if st.Key == stream && g.Name == "g" {
				return g
			}
		}
	}
	t.Fatalf("no group g of %s in %+v", stream, s)
	return inspect.Group{}
}

func TestLag(t *testing.T) {
	const notTold, deletedAhead, wrong = "does not know it, as after", "were deleted", "number is wrong"
	for _, test := range []struct {
		name  string
		setup func(do func(...string), fill, receive func(int))
		want  int64
		least bool
		why   string
		lost  int64
	}{
		{name: "at the end", setup: func(do func(...string), fill, receive func(int)) { fill(5); receive(5) }},
		{name: "an empty stream", setup: func(func(...string), func(int), func(int)) {}},
		{name: "all gone", setup: func(do func(...string), fill, receive func(int)) {
			fill(5)
			receive(5)
			do("XTRIM", users, "MAXLEN", "0")
		}},
		{name: "created at the end", setup: func(do func(...string), fill, receive func(int)) {
			fill(5)
			do("XGROUP", "SETID", users, "g", "$")
		}},
		{name: "set to the end without the server's count", setup: func(do func(...string), fill, receive func(int)) {
			fill(5)
			do("XGROUP", "SETID", users, "g", "5-0")
		}},
		{name: "before the beginning", setup: func(do func(...string), fill, receive func(int)) { fill(5) }, want: 5},
		{name: "in the middle", setup: func(do func(...string), fill, receive func(int)) { fill(5); receive(2) }, want: 3},
		{name: "set to an id", setup: func(do func(...string), fill, receive func(int)) { fill(9); do("XGROUP", "SETID", users, "g", "2-0") }, want: 7},
		{name: "deleted ahead", setup: func(do func(...string), fill, receive func(int)) {
			fill(9)
			receive(2)
			do("XDEL", users, "4-0", "9-0")
		}, want: 5, lost: 2},
		{name: "trimmed unread, nothing read since", setup: func(do func(...string), fill, receive func(int)) {
			fill(21)
			receive(5)
			do("XTRIM", users, "MAXLEN", "3")
		}, want: 3, lost: 13},
		{name: "trimmed unread, some read since", setup: func(do func(...string), fill, receive func(int)) {
			fill(21)
			receive(5)
			do("XTRIM", users, "MAXLEN", "3")
			receive(1)
		}, want: 2, lost: 13},
		{name: "trimmed unread, all read since", setup: func(do func(...string), fill, receive func(int)) {
			fill(21)
			receive(5)
			do("XTRIM", users, "MAXLEN", "3")
			receive(9)
		}, want: 0, lost: 13},
		{name: "much, and the server knows", setup: func(do func(...string), fill, receive func(int)) { fill(5000); receive(1) }, want: 4999},
		{name: "much before the beginning", setup: func(do func(...string), fill, receive func(int)) { fill(5000) }, want: 5000},
		{name: "much, set to an id", setup: func(do func(...string), fill, receive func(int)) {
			fill(5000)
			do("XGROUP", "SETID", users, "g", "2-0")
		}, want: 1000, least: true, why: notTold},
		{name: "some, set to an id", setup: func(do func(...string), fill, receive func(int)) {
			fill(1000)
			do("XGROUP", "SETID", users, "g", "2-0")
		}, want: 998},
		{name: "much, deleted ahead", setup: func(do func(...string), fill, receive func(int)) {
			fill(5000)
			receive(1)
			do("XDEL", users, "4000-0")
		}, want: 1000, least: true, why: deletedAhead},
		{name: "much, and the server is wrong", setup: func(do func(...string), fill, receive func(int)) {
			fill(5000)
			do("XTRIM", users, "MAXLEN", "=", "2000")
			receive(1)
			do("XGROUP", "SETID", users, "g", "3001-0", "ENTRIESREAD", "7")
		}, want: 1000, least: true, why: wrong},
	} {
		t.Run(test.name, func(t *testing.T) {
			i, server, _ := open(t)
			do(t, server, "XGROUP", "CREATE", users, "g", "0", "MKSTREAM")
			test.setup(func(args ...string) { do(t, server, args...) },
				func(n int) { fill(t, server, users, n) }, func(n int) { receive(t, server, users, n) })
			g := groupOf(t, snapshot(t, i, inspect.SnapshotConfig{}), users)
			if g.Lag.N != test.want || g.Lag.AtLeast != test.least || !strings.Contains(g.Lag.Unknown, test.why) || (g.Lag.Unknown == "") != (test.why == "") {
				t.Errorf("lag %+v, want %d, at least %v: %q", g.Lag, test.want, test.least, test.why)
			}
			if g.LostUnread != test.lost {
				t.Errorf("lost %d, want %d", g.LostUnread, test.lost)
			}
		})
	}
}

// After its server has read its data from disk, a group's counts are gone.
func TestLagAfterARestart(t *testing.T) {
	i, server, _ := open(t, "--appendonly", "yes", "--appendfsync", "always")
	do(t, server, "XGROUP", "CREATE", users, "g", "0", "MKSTREAM")
	do(t, server, "XGROUP", "CREATE", deleted, "g", "0", "MKSTREAM")
	fill(t, server, users, 3000)
	fill(t, server, deleted, 10)
	receive(t, server, users, 10)
	receive(t, server, deleted, 4)
	server.Restart()
	eventually(t, "the server is back", func() bool { _, err := i.Snapshot(t.Context(), inspect.SnapshotConfig{}); return err == nil })
	s := snapshot(t, i, inspect.SnapshotConfig{})
	if lag := groupOf(t, s, users).Lag; lag.Known() || lag.N != 1000 || !lag.AtLeast || lag.String() != ">= 1000" {
		t.Errorf("much: %+v", lag)
	}
	if lag := groupOf(t, s, deleted).Lag; lag.N != 6 || !lag.Known() {
		t.Errorf("little: %+v", lag)
	}
	s = snapshot(t, i, inspect.SnapshotConfig{CountTo: 5000})
	if lag := groupOf(t, s, users).Lag; lag.N != 2990 || !lag.Known() {
		t.Errorf("counted to 5000: %+v", lag)
	}
}

// What is read to count a lag is bounded also where entries are large.
func TestLagOfLargeEntries(t *testing.T) {
	i, server, _ := open(t)
	do(t, server, "XGROUP", "CREATE", users, "g", "0", "MKSTREAM")
	do(t, server, "EVAL", `local big = string.rep('x', 100000) for i = 1, 400 do redis.call('XADD', KEYS[1], i .. '-0', 'n', big) end`, "1", users)
	do(t, server, "XGROUP", "SETID", users, "g", "2-0")
	lag := groupOf(t, snapshot(t, i, inspect.SnapshotConfig{}), users).Lag
	if lag.N != 100 || !lag.AtLeast || !strings.Contains(lag.Unknown, "too large") {
		t.Errorf("%+v", lag)
	}
}

func ExampleCount() {
	fmt.Println(inspect.Count{N: 12})
	fmt.Println(inspect.Count{N: 1000, AtLeast: true, Unknown: "the server does not know it"})
	unknown := inspect.Count{Unknown: "no permission to read the stream"}
	fmt.Println(unknown, unknown.Within(1_000_000))
	// Output:
	// 12
	// >= 1000
	// unknown false
}
