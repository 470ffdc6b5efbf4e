package delivery

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

type key struct{}

// limits are the ways to a context of a call: before anybody waited for it, and
// after.
func limits(t *testing.T, test func(t *testing.T, parent func(error), l *limited)) {
	for name, ask := range map[string]func(*limited){
		"not waited for": func(*limited) {},
		"waited for":     func(l *limited) { l.Done() },
		"with a child": func(l *limited) {
			_, cancel := context.WithCancel(l)
			t.Cleanup(cancel)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, cancel := context.WithCancelCause(context.WithValue(t.Context(), key{}, "value"))
				defer cancel(nil)
				l := limit(parent, time.Second)
				defer l.end()
				if deadline, ok := l.Deadline(); !ok || time.Until(deadline) != time.Second || l.Err() != nil || l.Value(key{}) != "value" {
					t.Errorf("deadline %v, error %v, value %v", deadline, l.Err(), l.Value(key{}))
				}
				ask(l)
				if l.Err() != nil {
					t.Errorf("ended before its time: %v", l.Err())
				}
				test(t, cancel, l)
			})
		})
	}
}

// ended checks how a context has ended, and that it stays so.
func ended(t *testing.T, l *limited, want, cause error) {
	t.Helper()
	synctest.Wait()
	for range 2 {
		if err := l.Err(); !errors.Is(err, want) {
			t.Errorf("error %v, want %v", err, want)
		}
		select {
		case <-l.Done():
		default:
			t.Error("not done")
		}
		if got := context.Cause(l); !errors.Is(got, cause) {
			t.Errorf("cause %v, want %v", got, cause)
		}
		l.end()
		time.Sleep(time.Minute)
	}
}

func TestContextOfACallEndsAtItsDeadline(t *testing.T) {
	limits(t, func(t *testing.T, _ func(error), l *limited) {
		time.Sleep(time.Second)
		ended(t, l, context.DeadlineExceeded, context.DeadlineExceeded)
	})
}

func TestContextOfACallEndsWithTheCall(t *testing.T) {
	limits(t, func(t *testing.T, _ func(error), l *limited) {
		l.end()
		ended(t, l, context.Canceled, context.Canceled)
	})
}

func TestContextOfACallEndsWithTheConsumer(t *testing.T) {
	limits(t, func(t *testing.T, cancel func(error), l *limited) {
		cancel(errDrainTimeout)
		ended(t, l, context.Canceled, errDrainTimeout)
	})
}
