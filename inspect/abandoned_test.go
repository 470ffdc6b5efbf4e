package inspect_test

import (
	"slices"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/internal/redistest"
)

// A group is served by a consumer that lives on any of its streams, and on a
// stream that it is not on by nobody.
func TestAbandonedGroups(t *testing.T) {
	i, server, _ := open(t)
	add(t, server, users, "*", 1)
	add(t, server, deleted, "*", 1)
	do(t, server, "XGROUP", "CREATE", users, "empty", "0")
	for _, stream := range []string{users, deleted} {
		do(t, server, "XGROUP", "CREATE", stream, "served", "0")
	}
	do(t, server, "XGROUP", "CREATECONSUMER", deleted, "served", "c")
	ask := []inspect.GroupRef{{Stream: users, Group: "served"}, {Stream: users, Group: "empty"}, {Stream: deleted, Group: "empty"}, {Stream: "gone", Group: "served"}}
	got, err := i.Abandoned(t.Context(), ask)
	want := []inspect.Abandoned{{GroupRef: ask[1]}, {GroupRef: ask[2]}, {GroupRef: ask[3]}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestGroupIsAbandonedAfterSomeMinutes(t *testing.T) {
	server := redistest.StartWithClock(t)
	i, err := inspect.Open(t.Context(), freshet.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	server.Do("XGROUP", "CREATE", users, "g", "0", "MKSTREAM")
	server.Do("XGROUP", "CREATECONSUMER", users, "g", "c")
	ask := []inspect.GroupRef{{Stream: users, Group: "g"}}
	server.MoveClock(4 * time.Minute)
	if got, err := i.Abandoned(t.Context(), ask); err != nil || len(got) != 0 {
		t.Errorf("after four minutes: %+v, %v", got, err)
	}
	server.MoveClock(6 * time.Minute)
	if got, err := i.Abandoned(t.Context(), ask); err != nil || len(got) != 1 || got[0].Silent.Round(time.Minute) != 6*time.Minute {
		t.Errorf("after six: %+v, %v", got, err)
	}
}
