package inspect_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/freshet/freshet/inspect"
)

func TestRatesBetweenSnapshots(t *testing.T) {
	i, server, _ := open(t)
	do(t, server, "XGROUP", "CREATE", users, "g", "0", "MKSTREAM")
	fill(t, server, users, 20)
	receive(t, server, users, 10)
	before := snapshot(t, i, inspect.SnapshotConfig{})
	for range 6 {
		add(t, server, users, "*", 1)
	}
	do(t, server, "XACK", users, "g", "1-0", "2-0", "3-0", "4-0")
	do(t, server, "XGROUP", "CREATE", users, "another", "0")
	add(t, server, deleted, "*", 1)
	after := snapshot(t, i, inspect.SnapshotConfig{})
	after.At = before.At.Add(2 * time.Second)

	r := inspect.RatesBetween(before, after)
	if r.Over != 2*time.Second || r.In[users] != (inspect.Rate{PerSecond: 3}) {
		t.Errorf("%+v", r)
	}
	if got := r.Settled[inspect.GroupRef{Stream: users, Group: "g"}]; got != (inspect.Rate{PerSecond: 2}) {
		t.Errorf("settled: %+v", got)
	}
	for what, unknown := range map[string]string{
		"a new stream":      r.In[deleted].Unknown,
		"a new group":       r.Settled[inspect.GroupRef{Stream: users, Group: "another"}].Unknown,
		"no time":           inspect.RatesBetween(before, before).In[users].Unknown,
		"a stream set back": inspect.RatesBetween(after, before).In[users].Unknown,
	} {
		if unknown == "" {
			t.Errorf("%s: a rate is known", what)
		}
	}
	after.Streams[0].Groups[0].Lag = inspect.Count{Unknown: "a reason"}
	after.Streams[0].Groups[1].Lag = inspect.Count{Unknown: "a reason"}
	if got := inspect.RatesBetween(before, after).Settled[inspect.GroupRef{Stream: users, Group: "g"}]; !strings.Contains(got.Unknown, "a reason") {
		t.Errorf("of an unknown lag: %+v", got)
	}
}

func ExampleRatesBetween() {
	before := &inspect.Snapshot{
		At:      time.Unix(0, 0),
		Streams: []inspect.Stream{{Key: "credit-events", Added: 100, Groups: []inspect.Group{{Name: "crm-copy", Lag: inspect.Count{N: 50}}}}},
	}
	after := &inspect.Snapshot{
		At:      time.Unix(10, 0),
		Streams: []inspect.Stream{{Key: "credit-events", Added: 150, Groups: []inspect.Group{{Name: "crm-copy", Lag: inspect.Count{N: 20}, Pending: 10}}}},
	}
	rates := inspect.RatesBetween(before, after)
	fmt.Println("published:", rates.In["credit-events"].PerSecond)
	fmt.Println("settled:", rates.Settled[inspect.GroupRef{Stream: "credit-events", Group: "crm-copy"}].PerSecond)
	// Output:
	// published: 5
	// settled: 7
}
