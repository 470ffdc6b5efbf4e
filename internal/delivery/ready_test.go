package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestReady: an engine says why it makes no progress, for as long as it makes
// none, whichever part of it that is.
func TestReady(t *testing.T) {
	down := errors.New("down")
	for _, call := range []string{"Read", "Ack", "Begin"} {
		t.Run(call, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newServer("s")
				c := &client{server: s, name: "c"}
				r := start(t, config(c, newRecorder(t, func(_ context.Context, m *Message) error {
					if m.Attempt == 1 {
						return errHandler // a second attempt is begun by a call
					}
					return nil
				})))
				pass(time.Second)
				if err := r.engine.Ready(); err != nil {
					t.Fatalf("at rest: %v", err)
				}
				c.setFault(func(name string) error {
					if name == call {
						return down
					}
					return nil
				})
				s.publish("s", entity(1), "single")
				pass(5 * time.Second)
				err := r.engine.Ready()
				if !errors.Is(err, down) || !strings.Contains(err.Error(), "since 2000-01-01T00:00:0") {
					t.Errorf("while %s fails: %v", call, err)
				}
				c.setFault(nil)
				pass(time.Minute)
				if err := r.engine.Ready(); err != nil {
					t.Errorf("afterwards: %v", err)
				}
				r.drainCleanly()
				if err := r.engine.Ready(); err == nil {
					t.Error("ready after its end")
				}
			})
		})
	}
}

func TestReadyWhilePaused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newServer("s")
		var down atomic.Bool
		down.Store(true)
		rec := newRecorder(t, func(context.Context, *Message) error {
			if down.Load() {
				return Unavailable(errHandler)
			}
			return nil
		})
		cfg := config(&client{server: s, name: "c"}, rec)
		idle, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if idle.Ready() == nil {
			t.Error("ready before it was started")
		}
		r := start(t, cfg)
		s.publish("s", entity(1), "single")
		pass(time.Minute)
		if err := r.engine.Ready(); !errors.Is(err, errHandler) {
			t.Errorf("while paused: %v", err)
		}
		down.Store(false)
		pass(time.Minute)
		if err := r.engine.Ready(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		r.drainCleanly()
	})
}

// TestReadyOfADeadLoop: a loop that no longer turns is not taken for one that
// has nothing to do.
func TestReadyOfADeadLoop(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := config(&client{server: newServer("s"), name: "c"}, newRecorder(t, nil))
		r := start(t, cfg)
		pass(time.Hour)
		if err := r.engine.Ready(); err != nil {
			t.Errorf("idle for an hour: %v", err)
		}
		stuck := make(chan struct{})
		go r.engine.post(func() { <-stuck })
		pass(cfg.Lease)
		if err := r.engine.Ready(); err == nil || !strings.Contains(err.Error(), "stuck") {
			t.Errorf("ready though the loop is stuck: %v", err)
		}
		close(stuck)
		pass(time.Second)
		if err := r.engine.Ready(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		r.drainCleanly()
	})
}

// TestACauseThatTurnsOutToBeAnotherIsTold, by the log and by Ready; one that
// stays the same is told once.
func TestACauseThatTurnsOutToBeAnotherIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var text bytes.Buffer
		log := slog.New(slog.NewTextHandler(&text, nil))
		var fault trouble
		for n := range 100 {
			err := errors.New("end of file")
			if n > 0 {
				err = errors.New("wrong password")
			}
			fault.begin(log, "reading", err)
			time.Sleep(100 * time.Millisecond)
		}
		if p := fault.now.Load(); p == nil || p.err.Error() != "wrong password" || time.Since(p.since) != 10*time.Second {
			t.Errorf("problem %+v", p)
		}
		for n := range 1000 {
			fault.begin(log, "reading", fmt.Errorf("error %d", n)) // always another
			time.Sleep(100 * time.Millisecond)
		}
		fault.end(log, "reading")
		if lines := strings.Count(text.String(), "\n"); lines < 4 || lines > 8 {
			t.Errorf("%d lines:\n%s", lines, &text)
		}
	})
}
