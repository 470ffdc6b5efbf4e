package redisstream

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/freshet/freshet/internal/wire"
)

// stalled is a queue whose batches are answered when they are let go.
type stalled struct {
	*sendQueue
	sent  chan []string // the streams of a batch that has begun
	letGo chan struct{}
	close context.CancelFunc
}

func stall(senders int, slow time.Duration) *stalled {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stalled{sent: make(chan []string, 100), letGo: make(chan struct{}), close: cancel}
	s.sendQueue = &sendQueue{senders: senders, slow: slow, timeout: time.Minute, idle: time.Minute, closed: ctx.Done(), send: func(_ string, batch []*adding) {
		var streams []string
		for _, a := range batch {
			streams = append(streams, a.Stream)
		}
		s.sent <- streams
		<-s.letGo
		for _, a := range batch {
			a.done <- AddResult{ID: wire.ID{Ms: uint64(a.Stream[0])}}
		}
	}}
	return s
}

// put has an entry for each stream added, all by one call.
func (s *stalled) put(ctx context.Context, streams ...string) []*adding {
	adds := make([]*adding, len(streams))
	for i, stream := range streams {
		adds[i] = s.adding(ctx, stream, nil)
	}
	s.submit("", adds...)
	return adds
}

// holds waits until there are so many senders.
func (s *stalled) holds(t *testing.T, want int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		got := 0
		if k := s.keys[""]; k != nil {
			got = k.senders
		}
		s.mu.Unlock()
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d senders, want %d", got, want)
		}
	}
}

func TestWhatWaitsGoesTogether(t *testing.T) {
	s := stall(2, 0)
	ctx := t.Context()
	first := s.put(ctx, "a")[0]
	<-s.sent
	second := s.put(ctx, "b")[0]
	<-s.sent
	ended, cancel := context.WithCancel(ctx)
	cancelled := s.put(ended, "x")[0]
	waiting := append(s.put(ctx, "c"), s.put(ctx, "d")...)
	cancel()
	if r := s.result(ended, cancelled); !errors.Is(r.Err, context.Canceled) || !NotSent(r.Err) {
		t.Errorf("left before it was sent: %v", r.Err)
	}
	s.letGo <- struct{}{}
	if got := <-s.sent; len(got) != 2 || got[0] != "c" || got[1] != "d" {
		t.Errorf("sent together: %q", got)
	}
	// Of those that are on their way, one is left.
	ended, cancel = context.WithCancel(ctx)
	cancel()
	if r := s.result(ended, waiting[0]); !errors.Is(r.Err, context.Canceled) || NotSent(r.Err) {
		t.Errorf("left after it was sent: %v", r.Err)
	}
	close(s.letGo)
	for _, a := range []*adding{first, second, waiting[1]} {
		want := uint64(a.Stream[0])
		if r := s.result(ctx, a); r.Err != nil || r.ID.Ms != want {
			t.Errorf("%c: %+v", rune(want), r)
		}
	}
	if r := s.add(ended, "", "y", nil); !NotSent(r.Err) || len(s.sent) > 0 {
		t.Errorf("with a context that has ended: %v", r.Err)
	}
	s.holds(t, 2)
	s.close()
	s.holds(t, 0)
	if r := s.add(ctx, "", "z", nil); r.Err != nil {
		t.Errorf("after the end: %v", r.Err)
	}
	s.holds(t, 0)
}

// What one call adds is one batch, though a sender is free at once.
func TestOneCallIsOneBatch(t *testing.T) {
	s := stall(2, 0)
	defer s.close()
	close(s.letGo)
	for range 100 {
		adds := s.put(t.Context(), "a", "b", "c")
		if got := <-s.sent; len(got) != 3 {
			t.Fatalf("sent together: %q", got)
		}
		for _, a := range adds {
			s.result(t.Context(), a)
		}
	}
}

// While no batch comes back, others are begun now and then.
func TestStalledSendersAreNotWaitedFor(t *testing.T) {
	s := stall(1, 50*time.Millisecond)
	defer s.close()
	ctx := t.Context()
	adds := s.put(ctx, "a")
	<-s.sent
	for range 3 {
		time.Sleep(60 * time.Millisecond)
		adds = append(adds, s.put(ctx, "b")...)
		<-s.sent
	}
	s.holds(t, 4)
	close(s.letGo)
	for _, a := range adds {
		if r := s.result(ctx, a); r.Err != nil {
			t.Error(r.Err)
		}
	}
	s.holds(t, 1)
	if r := s.add(ctx, "", "c", nil); r.Err != nil {
		t.Error(r.Err)
	}
}

// Senders that have nothing to send for long leave nothing behind.
func TestIdleSendersLeave(t *testing.T) {
	q := &sendQueue{senders: 2, timeout: time.Minute, idle: 20 * time.Millisecond, closed: t.Context().Done(), send: func(_ string, batch []*adding) {
		for _, a := range batch {
			a.done <- AddResult{}
		}
	}}
	for range 3 {
		for _, key := range []string{"a", "b", "a"} {
			if r := q.add(t.Context(), key, key, nil); r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		left := func() bool {
			q.mu.Lock()
			defer q.mu.Unlock()
			return len(q.keys) == 0
		}
		for deadline := time.Now().Add(10 * time.Second); !left(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("keys are left that nobody sends to")
			}
		}
	}
}
