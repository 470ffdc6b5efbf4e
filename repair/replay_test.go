package repair_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/freshet/freshet/repair"
)

// story publishes three users, deletes two of them, and returns the ids of all
// entries in order.
func (x tools) story(t *testing.T) (ids []string) {
	t.Helper()
	for n := range 3 {
		x.publish(t, user(n))
	}
	for n := range 2 {
		x.publish(t, gone(n))
	}
	for _, stream := range []string{created, deleted} {
		for _, e := range x.do(t, "XRANGE", stream, "-", "+").([]any) {
			ids = append(ids, e.([]any)[0].(string))
		}
	}
	return ids
}

func (x tools) replay(t *testing.T, group string, cfg repair.ReplayConfig) repair.ReplayResult {
	t.Helper()
	got, err := x.Replay(t.Context(), x.inspector, group, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestReplayReachesOneGroup(t *testing.T) {
	x := open(t)
	x.story(t)
	var one, other handler
	drain(t, x.consumer("one", &one))
	drain(t, x.consumer("other", &other))

	if got := x.replay(t, "one", repair.ReplayConfig{DryRun: true}); got.Sent != 5 || len(x.keys()) != 0 {
		t.Errorf("dry run: %+v, %q", got, x.keys())
	}
	if got := x.replay(t, "one", repair.ReplayConfig{}); got.Sent != 5 || got.NotDecoded+got.Gone+len(got.NotRead) != 0 {
		t.Errorf("%+v", got)
	}
	drain(t, x.consumer("one", &one))
	drain(t, x.consumer("other", &other))
	if len(other.list()) != 5 {
		t.Errorf("the other group handled %q", other.list())
	}
	for n := range 2 {
		mine := slices.DeleteFunc(one.list(), func(s string) bool { return s[len("user_created u-")] != byte('0'+n) })
		want := []string{fmt.Sprintf("user_created u-%d attempt 1", n), fmt.Sprintf("user_deleted u-%d attempt 1", n)}
		if !slices.Equal(mine, append(want, want...)) {
			t.Errorf("handled %q", mine)
		}
	}
	if keys := x.keys(); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
}

func TestReplaySelects(t *testing.T) {
	x := open(t)
	ids := x.story(t)
	if _, err := x.bus.Publish(t.Context(), "globex", user(7)); err != nil {
		t.Fatal(err)
	}
	x.do(t, "XADD", created, "*", "eventType", "user_created", "data", "no JSON")
	x.do(t, "XGROUP", "CREATE", created, "g", "$")
	for _, test := range []struct {
		what string
		cfg  repair.ReplayConfig
		want []string // of user_created
	}{
		{"type", repair.ReplayConfig{Types: []string{"user_created"}, Tenants: []string{"acme"}}, ids[:3]},
		{"entity", repair.ReplayConfig{Entities: []string{"u-1"}}, ids[1:2]},
		{"range", repair.ReplayConfig{Since: ids[1], Until: ids[2]}, ids[1:3]},
		{"one", repair.ReplayConfig{Since: ids[1], Until: ids[1]}, ids[1:2]},
		{"rest", repair.ReplayConfig{After: repair.Position{ID: ids[1], Stream: created}, Until: ids[2]}, ids[2:3]},
		{"same id, earlier stream", repair.ReplayConfig{After: repair.Position{ID: ids[1], Stream: "a"}, Until: ids[2]}, ids[1:3]},
	} {
		x.do(t, "DEL", "{"+created+"}:retry:g")
		got := x.replay(t, "g", test.cfg)
		if sent := x.retries(created); !slices.Equal(sent, test.want) || got.Sent != len(test.want) {
			t.Errorf("%s: %+v, sent %q, want %q", test.what, got, sent, test.want)
		}
	}
	got := x.replay(t, "g", repair.ReplayConfig{DryRun: true})
	if got.Sent != 4 || got.NotDecoded != 1 || got.NotRead[deleted] != 2 {
		t.Errorf("what is left out: %+v", got)
	}
}

// A replay that dies in the middle, and goes on behind the last position that
// it told, leaves nothing out, and repeats little.
func TestReplayGoesOn(t *testing.T) {
	x := open(t)
	var want []string
	for n := range 350 {
		x.publish(t, user(n))
		if n%7 == 0 {
			x.publish(t, gone(n))
		}
	}
	for _, e := range x.do(t, "XRANGE", created, "-", "+").([]any) {
		want = append(want, e.([]any)[0].(string))
	}
	x.do(t, "XGROUP", "CREATE", created, "g", "$")
	x.do(t, "XGROUP", "CREATE", deleted, "g", "$")
	died := errors.New("died")
	var told repair.Position
	var runs int
	for {
		steps := 0
		_, err := x.Replay(t.Context(), x.inspector, "g", repair.ReplayConfig{After: told, Progress: func(r repair.ReplayResult) error {
			if steps++; steps == 20 {
				return died // before the position could be kept
			}
			told = r.At
			return nil
		}})
		if runs++; err == nil {
			break
		}
		if !errors.Is(err, died) {
			t.Fatal(err)
		}
	}
	sent := x.retries(created)
	if runs < 3 || len(sent) > len(want)+runs*100 {
		t.Errorf("%d runs sent %d of %d", runs, len(sent), len(want))
	}
	seen := map[string]bool{}
	var first []string
	for _, id := range sent {
		if !seen[id] {
			seen[id] = true
			first = append(first, id)
		}
	}
	if !slices.Equal(first, want) {
		t.Errorf("%d entries sent, %d wanted, or out of order", len(first), len(want))
	}
}

func TestReplayKeepsToTheRate(t *testing.T) {
	x := open(t)
	for n := range 30 {
		x.publish(t, user(n))
	}
	x.do(t, "XGROUP", "CREATE", created, "g", "$")
	start := time.Now()
	x.replay(t, "g", repair.ReplayConfig{Rate: 100})
	if took := time.Since(start); took < 190*time.Millisecond {
		t.Errorf("30 at 100 a second took %s", took)
	}
}

func TestReplaySaysWhatIsWrong(t *testing.T) {
	x := open(t)
	x.story(t)
	if _, err := x.Replay(t.Context(), x.inspector, "nobody", repair.ReplayConfig{}); !errors.Is(err, repair.ErrNoGroup) {
		t.Errorf("a group that there is not: %v", err)
	}
	x.do(t, "XGROUP", "CREATE", created, "g", "$")
	x.do(t, "SET", "{"+created+"}:retry:g", "no stream")
	if got, err := x.Replay(t.Context(), x.inspector, "g", repair.ReplayConfig{}); err == nil || got.Sent != 0 {
		t.Errorf("a retry key that is no stream: %+v, %v", got, err)
	}
	for _, cfg := range []repair.ReplayConfig{{Since: "x"}, {Until: "x"}, {After: repair.Position{ID: "x"}}, {Since: "5-0", Until: "4-0"}} {
		if _, err := x.Replay(t.Context(), x.inspector, "g", cfg); err == nil {
			t.Errorf("%+v: no error", cfg)
		}
	}
	unserved, err := x.Unserved(t.Context(), "g", []string{created, deleted})
	if err != nil || !slices.Equal(unserved, []string{created}) {
		t.Errorf("%q, %v", unserved, err)
	}
}
