package redisstream_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/wire"
)

const day = 24 * time.Hour

// aged adds n entries to a stream, the first so old and each a millisecond
// younger than the one before.
func aged(t *testing.T, s *redistest.Server, stream string, age time.Duration, n int) (ids []wire.ID) {
	t.Helper()
	ms := uint64(time.Now().Add(-age).UnixMilli())
	for i := range n {
		id := wire.ID{Ms: ms + uint64(i)}
		if err, failed := s.Do("XADD", stream, id.String(), "n", strconv.Itoa(i)).(redistest.Error); failed {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// deliver creates a group and delivers n entries to its consumer c.
func deliver(s *redistest.Server, stream, group string, n int) {
	s.Do("XGROUP", "CREATE", stream, group, "0")
	if n > 0 {
		s.Do("XREADGROUP", "GROUP", group, "c", "COUNT", strconv.Itoa(n), "STREAMS", stream, ">")
	}
}

func acknowledge(s *redistest.Server, stream, group string, ids ...wire.ID) {
	for _, id := range ids {
		s.Do("XACK", stream, group, id.String())
	}
}

func trim(t *testing.T, c *redisstream.Client, stream string, age time.Duration) redisstream.Retention {
	t.Helper()
	planned, err := c.TrimDryRun(t.Context(), stream, age, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Trim(t.Context(), stream, age, nil)
	if err != nil {
		t.Fatal(err)
	}
	if planned.Removed != got.Removed || planned.Oldest != got.Oldest || planned.Length != got.Length || fmt.Sprint(planned.Groups) != fmt.Sprint(got.Groups) {
		t.Errorf("%s: planned %+v, done %+v", stream, planned, got)
	}
	return got
}

func length(s *redistest.Server, stream string) int64 {
	n, _ := s.Do("XLEN", stream).(int64)
	return n
}

func TestTrimRemovesWhatEveryGroupHasSettled(t *testing.T) {
	for _, tc := range []struct {
		name    string
		groups  func(s *redistest.Server, old []wire.ID)
		removed int64
		lowest  string // group, index of its lowest unsettled entry, state
	}{
		{"no group", func(*redistest.Server, []wire.ID) {}, 250, ""},
		{"all settled", func(s *redistest.Server, old []wire.ID) {
			deliver(s, s1, "a", 250)
			acknowledge(s, s1, "a", old...)
		}, 250, ""},
		{"unread", func(s *redistest.Server, old []wire.ID) {
			deliver(s, s1, "a", 120)
			acknowledge(s, s1, "a", old[:120]...)
		}, 120, "a 120 unread"},
		{"never read", func(s *redistest.Server, _ []wire.ID) { deliver(s, s1, "a", 0) }, 0, "a 0 unread"},
		{"pending, with later ones settled", func(s *redistest.Server, old []wire.ID) {
			deliver(s, s1, "a", 250)
			acknowledge(s, s1, "a", old[:33]...)
			acknowledge(s, s1, "a", old[34:]...)
		}, 33, "a 33 pending"},
		{"the slowest of several", func(s *redistest.Server, old []wire.ID) {
			deliver(s, s1, "a", 250)
			acknowledge(s, s1, "a", old...)
			deliver(s, s1, "b", 210)
			acknowledge(s, s1, "b", old[:201]...)
			deliver(s, s1, "c", 220)
			acknowledge(s, s1, "c", old[:220]...)
		}, 201, "b 201 pending"},
		{"set back behind what is pending", func(s *redistest.Server, old []wire.ID) {
			deliver(s, s1, "a", 250)
			acknowledge(s, s1, "a", old[:200]...)
			s.Do("XGROUP", "SETID", s1, "a", old[49].String())
		}, 50, "a 50 unread"},
		{"at the end of all ids", func(s *redistest.Server, _ []wire.ID) {
			s.Do("XGROUP", "CREATE", s1, "a", "18446744073709551615-18446744073709551615")
		}, 250, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := start(t)
			old := aged(t, s, s1, 40*day, 250)
			young := aged(t, s, s1, 20*day, 7)
			tc.groups(s, old)
			got := trim(t, c, s1, 30*day)
			if got.Removed != tc.removed || got.Length != 257 || length(s, s1) != 257-tc.removed {
				t.Errorf("%d removed of %d, %d left, want %d removed", got.Removed, got.Length, length(s, s1), tc.removed)
			}
			if want := append(old, young...)[tc.removed]; got.Oldest != want {
				t.Errorf("the oldest is %s, want %s", got.Oldest, want)
			}
			if tc.lowest == "" {
				return
			}
			name, rest, _ := strings.Cut(tc.lowest, " ")
			at, state, _ := strings.Cut(rest, " ")
			index, _ := strconv.Atoi(at)
			found := false
			for _, g := range got.Groups {
				if g.Group == name {
					found = g.Lowest == old[index] && g.Pending == (state == "pending")
				}
			}
			if !found {
				t.Errorf("%+v, want %s", got.Groups, tc.lowest)
			}
		})
	}
}

// What is younger than the age stays though everything is settled, and the
// group's lag is what it was: nothing was lost.
func TestTrimLosesNothing(t *testing.T) {
	c, s := start(t)
	old := aged(t, s, s1, 40*day, 50)
	aged(t, s, s1, day, 10)
	deliver(s, s1, "g", 55)
	acknowledge(s, s1, "g", old...)
	before := group(t, c, "other")
	trim(t, c, s1, 30*day)
	g := group(t, c, "c")
	if n := len(read(t, g, 100)); n != 5 {
		t.Errorf("%d unread entries after the trim, want 5", n)
	}
	if n := len(deliveries(s, s1)); n != 10 {
		t.Errorf("%d pending entries, want 10", n)
	}
	for _, g := range []*redisstream.Group{before, g} {
		if losses := g.Losses(); losses != (redisstream.Losses{}) {
			t.Errorf("losses: %+v", losses)
		}
	}
}

// Far more than one step removes, of small and of large nodes.
func TestTrimInManySteps(t *testing.T) {
	for _, args := range [][]string{nil, {"--stream-node-max-entries", "7"}, {"--stream-node-max-entries", "0", "--stream-node-max-bytes", "0"}} {
		c, s := start(t, args...)
		s.Do("EVAL", `for i = 1, 45005 do redis.call('XADD', KEYS[1], i .. '-1', 'n', i) end`, "1", s1)
		aged(t, s, s1, day, 3)
		got := trim(t, c, s1, 30*day)
		if got.Removed != 45005 || got.Length != 45008 || length(s, s1) != 3 {
			t.Errorf("%q: %+v, %d left", args, got, length(s, s1))
		}
	}
}

// A server that takes nothing more can be trimmed: that is when it matters.
func TestTrimWhenOutOfMemory(t *testing.T) {
	c, s := start(t)
	old := aged(t, s, s1, 40*day, 500)
	s.Do("CONFIG", "SET", "maxmemory", "1")
	if _, refused := s.Do("XADD", s1, "*", "a", "b").(redistest.Error); !refused {
		t.Fatal("the server takes more")
	}
	got, err := c.Trim(t.Context(), s1, 30*day, nil)
	if err != nil || got.Removed != int64(len(old)) {
		t.Errorf("%+v, %v", got, err)
	}
	if again, err := c.Trim(t.Context(), s1, 30*day, nil); err != nil || again.Removed != 0 || again.Oldest != (wire.ID{}) {
		t.Errorf("again: %+v, %v", again, err)
	}
}

func TestTrimRefuses(t *testing.T) {
	c, s := start(t)
	s.Do("SET", s2, "text")
	dead := redisstream.DeadLetterKey(s1, "g")
	aged(t, s, dead, 40*day, 1)
	for stream, check := range map[string]func(error) bool{
		s1:                            func(err error) bool { return errors.Is(err, redisstream.ErrNoStream) },
		s2:                            func(err error) bool { return redisstream.ClassOf(err) == redisstream.WrongType },
		dead:                          func(err error) bool { return strings.Contains(err.Error(), "never trimmed") },
		redisstream.RetryKey(s1, "g"): func(err error) bool { return strings.Contains(err.Error(), "never trimmed") },
		"freshet:{g}:settings":        func(err error) bool { return strings.Contains(err.Error(), "never trimmed") },
	} {
		for _, f := range []func() error{
			func() error { _, err := c.Trim(t.Context(), stream, day, nil); return err },
			func() error { _, err := c.TrimDryRun(t.Context(), stream, day, nil); return err },
		} {
			if err := f(); err == nil || !check(err) {
				t.Errorf("%s: %v", stream, err)
			}
		}
	}
	if length(s, dead) != 1 {
		t.Error("a dead letter was removed")
	}
}

// Groups appear at the beginning of a stream that is being trimmed. Whatever
// there is when one appears, it gets.
func TestTrimLeavesNewGroupsWhatIsThere(t *testing.T) {
	c, s := start(t, "--stream-node-max-entries", "1") // a step removes a hundred
	s.Do("EVAL", `for i = 1, 20000 do redis.call('XADD', KEYS[1], i .. '-1', 'n', i) end`, "1", s1)
	ended := make(chan error, 1)
	go func() {
		_, err := c.Trim(t.Context(), s1, 30*day, nil)
		ended <- err
	}()
	eventually(t, "the trim is under way", func() bool { return length(s, s1) < 20000 })
	created := s.Do("EVAL", `redis.call('XGROUP', 'CREATE', KEYS[1], 'late', '0') return redis.call('XLEN', KEYS[1])`, "1", s1)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if created == int64(0) {
		t.Fatal("all was removed before there was a group")
	}
	if left := length(s, s1); left != created {
		t.Errorf("%d entries are left of the %v that there were when the group was created", left, created)
	}
}

func TestLastSeen(t *testing.T) {
	c, s := start(t)
	aged(t, s, s1, day, 3)
	deliver(s, s1, "g", 0)
	if _, n, err := c.LastSeen(t.Context(), s1, "g"); n != 0 || err != nil {
		t.Errorf("without consumers: %d, %v", n, err)
	}
	deliver(s, s1, "g", 1)
	s.Do("XGROUP", "CREATECONSUMER", s1, "g", "another")
	if idle, n, err := c.LastSeen(t.Context(), s1, "g"); n != 2 || err != nil || idle > 10*time.Second {
		t.Errorf("%v, %d, %v", idle, n, err)
	}
	if _, _, err := c.LastSeen(t.Context(), s1, "none"); redisstream.ClassOf(err) != redisstream.NoGroup {
		t.Errorf("no group: %v", err)
	}
}

func TestMemoryUsage(t *testing.T) {
	c, s := start(t)
	aged(t, s, s1, day, 3000)
	sizes := c.MemoryUsage(t.Context(), []string{s2, s1})
	if sizes[0].Value != 0 || sizes[0].Err != nil || sizes[1].Value < 3000 {
		t.Errorf("%v", sizes)
	}
}
