package web

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/freshet/freshet/inspect"
)

// TestWatchEndsAfterTheLastViewer: while a page is open the server is looked at
// every five seconds; half a minute after the last one it is left alone, and
// what was seen is forgotten.
func TestWatchEndsAfterTheLastViewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := newWatch()
		var looks atomic.Int64
		go w.keep(ctx, func(context.Context) (*inspect.Diagnosis, error) {
			looks.Add(1)
			return &inspect.Diagnosis{}, nil
		})
		expect := func(want int64, when string) {
			t.Helper()
			synctest.Wait()
			if n := looks.Swap(0); n != want {
				t.Errorf("%s: looked %d times, want %d", when, n, want)
			}
		}

		time.Sleep(time.Hour)
		expect(0, "before anybody came")

		for range 6 { // a page that refreshes itself for a minute
			<-w.ask()
			time.Sleep(10 * time.Second)
		}
		time.Sleep(time.Millisecond) // beside the ticks
		expect(13, "while a page is open, from the first second to the last")

		time.Sleep(watchWhile - 10*time.Second)
		expect(3, "until half a minute after the page asked last")
		time.Sleep(24 * time.Hour)
		expect(0, "afterwards")
		w.mu.Lock()
		if w.Diagnosis != nil || !w.At.IsZero() {
			t.Error("what was seen is kept")
		}
		w.mu.Unlock()

		<-w.ask()
		time.Sleep(watchEvery - time.Millisecond)
		expect(1, "when somebody comes back, until the next is due")
		time.Sleep(2 * time.Millisecond)
		expect(1, "when the next is due")
	})
}
