package redisstream_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/redisstream"
	"github.com/freshet/freshet/internal/redistest"
	"github.com/freshet/freshet/internal/wire"
)

// clockTrial is a group in which one consumer is alive and holds an entry,
// another is dead and holds one, and a third looks for entries to take over.
type clockTrial struct {
	server      *redistest.Server
	live, heirs *redisstream.Group
	held        []wire.Ref // by the live one
	orphans     []wire.ID  // of the dead one
	log         logBuffer
}

const clockLease = 800 * time.Millisecond

func newClockTrial(t *testing.T) *clockTrial {
	t.Helper()
	k := &clockTrial{server: redistest.StartWithClock(t)}
	c := open(t, k.server.URL())
	ids := add(t, c, s1, 6)
	k.live = group(t, c, "live")
	k.held = refs(read(t, k.live, 3))
	read(t, group(t, c, "dead"), 3)
	k.orphans = ids[3:]
	k.heirs = groupOf(t, c, redisstream.GroupConfig{Consumer: "heir", Explicit: []string{s1}, Log: k.log.logger()})
	return k
}

// sweep takes over what has been idle for a lease, and returns it.
func (k *clockTrial) sweep(t *testing.T, g *redisstream.Group) []wire.ID {
	t.Helper()
	page, err := g.Reclaim(t.Context(), s1, clockLease, wire.ID{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	return ids(page.Entries)
}

// inherited waits until all orphans are taken over, and nothing else, while
// the live consumer renews what it holds, and returns how long it took.
func (k *clockTrial) inherited(t *testing.T, g *redisstream.Group) time.Duration {
	t.Helper()
	start := time.Now()
	var got []wire.ID
	renewed := time.Time{}
	eventually(t, "the orphans are taken over", func() bool {
		if time.Since(renewed) > clockLease/3 {
			if owned, err := k.live.Renew(t.Context(), k.held); err != nil || slices.Contains(owned, false) {
				t.Fatalf("the live consumer lost an entry: %v, %v", owned, err)
			}
			renewed = time.Now()
		}
		got = append(got, k.sweep(t, g)...)
		return len(got) >= len(k.orphans)
	})
	if !slices.Equal(got, k.orphans) {
		t.Errorf("taken over: %v, want %v", got, k.orphans)
	}
	return time.Since(start)
}

func TestTrapS19ClockSetForward(t *testing.T) {
	k := newClockTrial(t)
	k.sweep(t, k.heirs)
	k.server.MoveClock(time.Hour)
	if got := k.sweep(t, k.heirs); len(got) > 0 {
		t.Fatalf("taken over at once: %v", got)
	}
	if took := k.inherited(t, k.heirs); took < clockLease*9/10 || took > clockLease*2 {
		t.Errorf("took %v at a lease of %v", took, clockLease)
	}
	if n := strings.Count(k.log.String(), "clock was set forward"); n != 1 {
		t.Errorf("said %d times: %s", n, k.log.String())
	}
}

func TestTrapS19ClockSetBack(t *testing.T) {
	for _, started := range []string{"before", "after"} {
		t.Run("consumer started "+started, func(t *testing.T) {
			k := newClockTrial(t)
			if started == "before" {
				k.sweep(t, k.heirs)
			}
			counts := deliveries(k.server, s1)
			k.server.MoveClock(-time.Hour)
			if took := k.inherited(t, k.heirs); took > clockLease*2 {
				t.Errorf("took %v at a lease of %v", took, clockLease)
			}
			if got := deliveries(k.server, s1); !maps.Equal(got, counts) {
				t.Errorf("deliveries went from %v to %v", counts, got)
			}
		})
	}
}

// A clock that was wrong for a while leaves delivery times of that while.
func TestTrapS19ClockSetForwardAndBack(t *testing.T) {
	k := newClockTrial(t)
	k.sweep(t, k.heirs)
	k.server.MoveClock(time.Hour)
	k.server.Do("XCLAIM", s1, "g", "dead", "0", k.orphans[0].String(), k.orphans[1].String(), k.orphans[2].String(), "JUSTID")
	k.server.MoveClock(0)
	if took := k.inherited(t, k.heirs); took > clockLease*2 {
		t.Errorf("took %v at a lease of %v", took, clockLease)
	}
}

// What was trimmed is not dropped from the pending list unsaid.
func TestTrapS19ClockSetBackKeepsTrimmedEntriesCountable(t *testing.T) {
	k := newClockTrial(t)
	k.server.MoveClock(-time.Hour)
	k.server.Do("XDEL", s1, k.orphans[1].String())
	page, err := k.heirs.Reclaim(t.Context(), s1, clockLease, wire.ID{}, 100)
	if err != nil || len(page.Trimmed) != 1 || page.Trimmed[0].ID != k.orphans[1] {
		t.Errorf("%+v, %v", page, err)
	}
}

// A server that was frozen, or is far away, is no clock that was set.
func TestTrapS19FrozenServerIsNoClockSetForward(t *testing.T) {
	k := newClockTrial(t)
	k.sweep(t, k.heirs)
	k.server.Stop()
	time.AfterFunc(clockLease/2, k.server.Cont)
	k.sweep(t, k.heirs)
	if strings.Contains(k.log.String(), "clock") {
		t.Error(k.log.String())
	}
	k.inherited(t, k.heirs)
}
