package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/freshet/freshet/internal/wire"
)

// The model: whatever is published, however handlers end, whatever calls of
// the transport are lost, and however often the consumer is killed, every
// entry is handled, dead-lettered or still pending; an entity's events are
// handled one at a time and begin in order.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := drawScript(rt)
		var broken error
		bubble(t, func(t *testing.T) { broken = s.play(t) })
		if broken != nil {
			rt.Fatal(broken)
		}
	})
}

type script struct {
	publishes  []publish
	kills      []time.Duration // after which the running engine is killed, one by one
	faults     map[int]bool    // which calls of the transport fail; odd ones after their effect
	concurrent int
	inFlight   int
	takeOver   bool
}

type publish struct {
	at       time.Duration
	stream   string
	entity   string
	kind     string
	outcomes []string // of its attempts; then it succeeds
}

func drawScript(t *rapid.T) script {
	streams := []string{"s1", "s2", "s3"}
	ms := func(label string, most int) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(t, label)) * time.Millisecond
	}
	var s script
	for range rapid.IntRange(1, 40).Draw(t, "n") {
		s.publishes = append(s.publishes, publish{
			at:       ms("at", 3000),
			stream:   rapid.SampledFrom(streams).Draw(t, "stream"),
			entity:   rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "entity"),
			kind:     rapid.SampledFrom([]string{"single", "single", "batch", "batch", "skip", "bad"}).Draw(t, "kind"),
			outcomes: rapid.SliceOfN(rapid.SampledFrom([]string{"ok", "fail", "slow", "permanent", "unavailable", "panic", "later"}), 0, 4).Draw(t, "outcomes"),
		})
	}
	slices.SortStableFunc(s.publishes, func(a, b publish) int { return int(a.at - b.at) })
	for range rapid.IntRange(0, 3).Draw(t, "kills") {
		s.kills = append(s.kills, ms("kill", 2000))
	}
	s.faults = map[int]bool{}
	for _, n := range rapid.SliceOfN(rapid.IntRange(0, 120), 0, 8).Draw(t, "faults") {
		s.faults[n] = true
	}
	s.concurrent = rapid.IntRange(1, 4).Draw(t, "concurrency")
	s.inFlight = rapid.IntRange(3, 30).Draw(t, "inFlight")
	s.takeOver = rapid.Bool().Draw(t, "takeOver")
	return s
}

var errModel = errors.New("no luck")

func (s script) play(t *testing.T) error {
	srv := newServer("s1", "s2", "s3")
	outcomes := map[wire.Ref][]string{}
	tries := map[wire.Ref]int{}
	succeeded := map[wire.Ref]bool{}
	dead := context.Background()

	var published []wire.Ref
	kinds := map[wire.Ref]string{}
	all := make(chan struct{})
	defer func() { <-all }()
	go func() {
		defer close(all)
		began := time.Now()
		for _, p := range s.publishes {
			time.Sleep(p.at - time.Since(began))
			ref := srv.publish(p.stream, p.entity, p.kind)
			srv.mu.Lock()
			outcomes[ref] = p.outcomes
			kinds[ref] = p.kind
			published = append(published, ref)
			srv.mu.Unlock()
		}
	}()

	var rec *recorder
	handle := func(alive context.Context) func(ctx context.Context, m *Message) error {
		return func(ctx context.Context, m *Message) error {
			ref := m.Entry.Ref()
			srv.mu.Lock()
			n := tries[ref]
			tries[ref]++
			outcome := "ok"
			if n < len(outcomes[ref]) {
				outcome = outcomes[ref][n]
			}
			srv.mu.Unlock()
			if alive.Err() != nil {
				return errModel // the process is dead: nothing it does has an effect
			}
			switch outcome {
			case "fail":
				return errModel
			case "slow":
				select {
				case <-time.After(700 * time.Millisecond):
				case <-ctx.Done():
					return ctx.Err()
				}
			case "permanent":
				return Permanent(errModel)
			case "unavailable":
				return Unavailable(errModel)
			case "later":
				return RetryAfter(errModel, 300*time.Millisecond)
			case "panic":
				panic("no luck")
			}
			srv.mu.Lock()
			succeeded[ref] = true
			srv.mu.Unlock()
			return nil
		}
	}

	calls, exceeded, twice := 0, false, false
	run := func(name string, life time.Duration) error {
		alive, kill := context.WithCancel(dead)
		defer kill()
		rec = newRecorder(t, handle(alive))
		c := &client{server: srv, name: name, bound: s.inFlight}
		c.fault = func(string) error {
			srv.mu.Lock()
			defer srv.mu.Unlock()
			if alive.Err() != nil {
				return errNetwork
			}
			calls++
			if s.faults[calls] {
				return errNetwork
			}
			return nil
		}
		obs := &observer{}
		defer func() {
			// After a lost reply more is pending than in hand.
			exceeded = exceeded || c.over && len(s.faults) == 0
			told := map[wire.Ref]bool{}
			for _, st := range obs.settled {
				ref := st.Message.Entry.Ref()
				twice = twice || told[ref]
				told[ref] = true
			}
		}()
		cfg := config(c, rec)
		cfg.Observer = obs
		cfg.Concurrency, cfg.MaxInFlight = s.concurrent, s.inFlight
		cfg.HandlerTimeout, cfg.Lease = 500*time.Millisecond, 2*time.Second
		cfg.BackoffMax = time.Second
		cfg.TakeOver = s.takeOver
		cfg.StopWhenDrained = life == 0
		r := start(t, cfg)
		defer r.stop()
		if life == 0 {
			return r.wait()
		}
		time.Sleep(life)
		kill()
		r.engine.Abort(errModel)
		if err := r.wait(); !errors.Is(err, errModel) {
			return fmt.Errorf("aborted Run returned: %w", err)
		}
		return s.checkOrder(rec)
	}
	for i, life := range s.kills {
		if err := run(fmt.Sprintf("c%d", i), life+time.Millisecond); err != nil {
			return err
		}
	}
	<-all
	if err := run("last", 0); err != nil {
		return err
	}
	if err := s.checkOrder(rec); err != nil {
		return err
	}

	if exceeded {
		return errors.New("more in hand than MaxInFlight")
	}
	if twice {
		return errors.New("an engine settled an entry twice")
	}
	if n := srv.pendingCount(); n > 0 {
		return fmt.Errorf("%d entries pending after all was said to be settled", n)
	}
	buried := map[wire.Ref]int{}
	for _, l := range srv.letters {
		buried[l.Entry.Ref()]++
	}
	for _, ref := range published {
		switch n := buried[ref]; {
		case n > 1:
			return fmt.Errorf("%v has %d dead letters", ref, n)
		case kinds[ref] == "bad" && n == 0:
			return fmt.Errorf("%v was refused and has no dead letter", ref)
		case kinds[ref] == "skip" || kinds[ref] == "bad":
		case n == 0 && !succeeded[ref]:
			return fmt.Errorf("%v was neither handled nor dead-lettered", ref)
		}
	}
	return nil
}

// checkOrder checks that no event of an entity was handled after a newer one,
// unless in the same batch or after its failure. Entries that were pending
// with another consumer may come late, but not when they are taken over.
func (s script) checkOrder(rec *recorder) error {
	all := rec.attempts()
	calls := map[int]map[wire.Ref]bool{}
	for _, a := range all {
		if calls[a.call] == nil {
			calls[a.call] = map[wire.Ref]bool{}
		}
		calls[a.call][a.ref] = true
	}
	late := map[wire.Ref]bool{}
	for i, a := range all {
		if _, seen := late[a.ref]; !seen {
			late[a.ref] = a.attempt > 1 && !s.takeOver
		}
		for _, b := range all[:i] {
			if !late[a.ref] && a.entity == b.entity && compareRefs(a.ref, b.ref) < 0 && !calls[b.call][a.ref] {
				return fmt.Errorf("%v of %s was handled after %v", a.ref, a.entity, b.ref)
			}
		}
	}
	return nil
}

func compareRefs(a, b wire.Ref) int {
	return cmp.Or(a.ID.Compare(b.ID), cmp.Compare(a.Stream, b.Stream))
}
