package repair_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inspect"
	"github.com/freshet/freshet/repair"
)

func (x tools) redrive(t *testing.T) repair.RedriveResult {
	t.Helper()
	result, err := x.Redrive(t.Context(), x.refs(t), repair.RedriveConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// Redriven events reach the group that failed and no other, in order over the
// streams, as first attempts and under their identities; failing again they
// are what they were.
func TestRedriveReachesTheGroupThatFailed(t *testing.T) {
	x := open(t)
	for n := range 3 {
		x.publish(t, user(n))
	}
	for n := range 3 {
		x.publish(t, gone(n))
	}
	failing, other := &handler{err: errors.New("no")}, &handler{}
	drain(t, x.consumer("failing", failing))
	drain(t, x.consumer("other", other))
	before := x.letters(t)
	if len(before) != 6 {
		t.Fatalf("%d dead letters", len(before))
	}

	if got := x.redrive(t); got != (repair.RedriveResult{Redriven: 6}) {
		t.Fatalf("%+v", got)
	}
	if stats := drain(t, x.consumer("failing", failing)); stats.DeadLettered != 6 {
		t.Errorf("%+v", stats)
	}
	after := x.letters(t)
	for i, l := range after {
		was := before[i]
		if l.Stream != was.Stream || l.Group != was.Group || l.EntryID != was.EntryID || l.Attempts != 2 ||
			l.Envelope.Identity != was.Envelope.Identity || describe(l) != describe(was) {
			t.Errorf("failed again as %+v, was %+v", l, was)
		}
	}
	if want := []string{"{" + created + "}:dlq:failing", "{" + deleted + "}:dlq:failing"}; len(after) != 6 || !slices.Equal(x.keys(), want) {
		t.Errorf("%d dead letters in %q, want %q", len(after), x.keys(), want)
	}

	x.redrive(t)
	failing.mend()
	drain(t, x.consumer("failing", failing))
	drain(t, x.consumer("other", other))
	if keys := x.keys(); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
	for n := range 3 {
		got := slices.DeleteFunc(failing.list(), func(s string) bool { return s[len("user_created u-")] != byte('0'+n) })
		want := []string{fmt.Sprintf("user_created u-%d attempt 1", n), fmt.Sprintf("user_deleted u-%d attempt 1", n)}
		if !slices.Equal(got, want) {
			t.Errorf("handled %q, want %q", got, want)
		}
	}
	if got := other.list(); len(got) != 6 {
		t.Errorf("the other group handled %q", got)
	}
}

// A consumer that runs already takes what is redriven, also to streams that
// have had no redrive before.
func TestRunningConsumerTakesWhatIsRedriven(t *testing.T) {
	x := open(t)
	h := &handler{err: freshet.Permanent(errors.New("no"))}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	c := x.consumer("g", h)
	go func() { done <- c.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	for n := range 50 {
		x.publish(t, user(n))
		x.publish(t, gone(n))
	}
	eventually(t, "all are dead letters", func() bool { return len(x.refs(t)) == 100 })
	h.mend()
	result, err := x.Redrive(t.Context(), x.refs(t), repair.RedriveConfig{Rate: 500})
	if err != nil || result.Redriven != 100 {
		t.Fatalf("%+v, %v", result, err)
	}
	eventually(t, "all are handled", func() bool { return len(h.list()) == 100 })
	first := map[string]string{}
	for _, s := range h.list() {
		var what, who string
		fmt.Sscan(s, &what, &who)
		if first[who] == "" {
			first[who] = what
		}
	}
	for who, what := range first {
		if what != "user_created" {
			t.Errorf("%s: %s came first", who, what)
		}
	}
	eventually(t, "nothing is left", func() bool { return len(x.keys()) == 0 })
}

// An acknowledgment that is handled again is not acknowledged.
func TestRedrivenAcknowledgmentIsNotAcknowledged(t *testing.T) {
	x := open(t)
	var broken sync.Mutex
	fail := true
	consumer := func() *freshet.Consumer {
		c := x.bus.Consumer(freshet.ConsumerConfig{Group: "g", Acknowledge: true})
		freshet.On(c, func(context.Context, *freshet.Event[events.Acknowledgment]) error {
			broken.Lock()
			defer broken.Unlock()
			if fail {
				return freshet.Permanent(errors.New("no"))
			}
			return nil
		})
		return c
	}
	x.publish(t, events.Acknowledgment{OriginalEventID: "evt_1", Status: events.AckProcessed})
	drain(t, consumer())
	x.redrive(t)
	fail = false
	if stats := drain(t, consumer()); stats.Handled != 1 {
		t.Errorf("%+v", stats)
	}
	if n := x.server.Do("XLEN", "acknowledgments"); n != int64(1) {
		t.Errorf("%v acknowledgments, want the one", n)
	}
}

func TestRedriveKeepsTheOrderOfTheOriginals(t *testing.T) {
	x := open(t)
	// They failed in another order than that in which they were published.
	x.put(t, deleted, "20-0", "n", "1")
	x.put(t, created, "30-0", "n", "2")
	x.put(t, created, "9-5", "n", "3")
	x.put(t, created, "9-10", "n", "4")
	x.put(t, deleted, "10-0", "n", "5")
	x.redrive(t)
	if got, want := x.retries(created), []string{"9-5", "9-10", "30-0"}; !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", created, got, want)
	}
	if got, want := x.retries(deleted), []string{"10-0", "20-0"}; !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", deleted, got, want)
	}
}

func TestTwoRedrivesGiveEachDeadLetterOnce(t *testing.T) {
	x := open(t)
	const n = 500
	for i := range n {
		x.put(t, []string{created, deleted}[i%2], fmt.Sprintf("%d-0", i+1), "n", fmt.Sprint(i))
	}
	refs := x.refs(t)
	results := make([]repair.RedriveResult, 3)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() {
			var err error
			if results[i], err = x.Redrive(t.Context(), refs, repair.RedriveConfig{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	redriven := 0
	for _, r := range results {
		redriven += r.Redriven
		if r.Redriven+r.Gone != n || r.Refused != 0 {
			t.Errorf("%+v", r)
		}
	}
	ids := append(x.retries(created), x.retries(deleted)...)
	slices.Sort(ids)
	if distinct := len(slices.Compact(slices.Clone(ids))); redriven != n || len(ids) != n || distinct != n {
		t.Errorf("%d redriven, %d entries, %d distinct, want %d", redriven, len(ids), distinct, n)
	}
}

func TestRedriveRateAndCancel(t *testing.T) {
	x := open(t)
	for i := range 100 {
		x.put(t, created, fmt.Sprintf("%d-0", i+1), "n", "1")
	}
	refs := x.refs(t)
	began := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	var progress []int
	result, err := x.Redrive(ctx, refs, repair.RedriveConfig{Rate: 100, Progress: func(n int) {
		if progress = append(progress, n); n == 50 {
			cancel()
		}
	}})
	// 50 at 100 a second, of which the first ten come at once.
	if took := time.Since(began); took < 390*time.Millisecond {
		t.Errorf("took %v", took)
	}
	if !errors.Is(err, context.Canceled) || result.Redriven != 50 || !slices.Equal(progress, []int{10, 20, 30, 40, 50}) {
		t.Errorf("%+v, %v, progress %v", result, err, progress)
	}
	if rest := len(x.refs(t)); rest != 50 || len(x.retries(created)) != 50 {
		t.Errorf("%d dead letters, %d redriven", rest, len(x.retries(created)))
	}
	if again := x.redrive(t); again.Redriven != 50 {
		t.Errorf("the rest: %+v", again)
	}
}

// However the server dies, each is a dead letter or redriven, and not both.
func TestRedriveSurvivesTheServer(t *testing.T) {
	x := open(t, "--appendonly", "yes", "--appendfsync", "always")
	const n = 3000
	for i := range n {
		x.put(t, created, fmt.Sprintf("%d-0", i+1), "n", "1")
	}
	refs := x.refs(t)
	killed := make(chan struct{})
	result, err := x.Redrive(t.Context(), refs, repair.RedriveConfig{Progress: func(done int) {
		if done == 1000 {
			go func() {
				x.server.Kill()
				close(killed)
			}()
		}
	}})
	if err == nil || result.Redriven < 1000 {
		t.Fatalf("%+v, %v", result, err)
	}
	<-killed
	x.server.Restart()
	x = openOn(t, x.server)
	left := x.refs(t)
	ids := x.retries(created)
	for _, ref := range left {
		ids = append(ids, ref.EntryID)
	}
	slices.Sort(ids)
	if distinct := len(slices.Compact(slices.Clone(ids))); len(ids) != n || distinct != n {
		t.Errorf("%d redriven and %d dead letters, %d distinct, want %d", len(ids)-len(left), len(left), distinct, n)
	}
	if again, err := x.Redrive(t.Context(), refs, repair.RedriveConfig{}); err != nil || again.Redriven != len(left) {
		t.Errorf("again: %+v, %v, want %d", again, err, len(left))
	}
}

func TestForeignRecordIsRefusedAndStays(t *testing.T) {
	x := open(t)
	x.server.Do("XADD", "{"+created+"}:dlq:g", "*", "eventType", "user_created")
	if got := x.redrive(t); got != (repair.RedriveResult{Refused: 1}) {
		t.Errorf("%+v", got)
	}
	if letters := x.letters(t); len(letters) != 1 || !letters[0].Foreign {
		t.Errorf("left: %+v", letters)
	}
}

func TestDrop(t *testing.T) {
	x := open(t)
	for i := range 250 {
		x.put(t, []string{created, deleted}[i%2], fmt.Sprintf("%d-0", i+1), "n", "1")
	}
	refs := x.refs(t)
	some := append(slices.Clone(refs[:200]), inspect.DeadLetterRef{Stream: created, Group: "g", ID: "1-1"})
	if n, err := x.Drop(t.Context(), some); n != 200 || err != nil {
		t.Errorf("dropped %d, %v", n, err)
	}
	if got := x.refs(t); !slices.Equal(got, refs[200:]) {
		t.Errorf("left %d: %v", len(got), got)
	}
	if n, err := x.Drop(t.Context(), refs[:200]); n != 0 || err != nil {
		t.Errorf("dropped %d again, %v", n, err)
	}
}
