package freshet_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/internal/redistest"
)

func TestExclusiveConsumersHandOver(t *testing.T) {
	bus, server := start(t)
	var order seen
	var fences [4]atomic.Int64 // of each user's event
	consumer := func(name string) running {
		cfg := quick("g")
		cfg.Exclusive = true
		cfg.Lease = 3 * time.Second
		c := open(t, server).Consumer(cfg)
		onUser(c, func(e *freshet.Event[events.UserCreated]) error {
			fences[e.Data.UserID[5]-'0'].Store(e.Fence)
			order.add(name + " " + e.Data.UserID)
			return nil
		})
		return runConsumer(t, c)
	}
	first := consumer("first")
	publish(t, bus, user(1))
	eventually(t, "first handles", func() bool { return order.count() == 1 })
	second := consumer("second")
	eventually(t, "second is ready, standing by", func() bool { return second.Ready() == nil })
	publish(t, bus, user(2))
	eventually(t, "first still handles", func() bool { return order.count() == 2 })
	if err := first.stop(); err != nil {
		t.Fatal(err)
	}
	publish(t, bus, user(3))
	eventually(t, "second took over", func() bool { return order.count() == 3 })
	want := []string{"first user-1", "first user-2", "second user-3"}
	if got := order.list(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if one, two, three := fences[1].Load(), fences[2].Load(), fences[3].Load(); one == 0 || two != one || three <= two {
		t.Errorf("fences %d, %d, %d: must grow with the takeover and only then", one, two, three)
	}
}

// A consumer that is cut off from the server cannot see another take over, so
// it must have stopped by then.
func TestExclusiveConsumerThatIsCutOffStopsBeforeAnotherTakesOver(t *testing.T) {
	direct, server := start(t)
	var cut atomic.Bool
	behind, err := freshet.Open(t.Context(), freshet.Config{URL: "redis://" + startProxy(t, server, &cut), App: "cut-off", Log: slog.New(testLog{t})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(behind.Close)
	const lease = 3 * time.Second
	var over atomic.Bool
	consumer := func(bus *freshet.Bus) (running, *span) {
		cfg := quick("g")
		cfg.Exclusive, cfg.Lease, cfg.HandlerTimeout = true, lease, lease-1
		c := bus.Consumer(cfg)
		var active span
		freshet.On(c, func(ctx context.Context, _ *freshet.Event[events.UserCreated]) error {
			active.extend()
			if !over.Load() {
				select { // until the handler timeout, unless stopped
				case <-ctx.Done():
				case <-time.After(lease * 2 / 3):
				}
			}
			active.extend()
			return ctx.Err()
		})
		return runConsumer(t, c), &active
	}
	for n := range 100 {
		publish(t, direct, user(n))
	}
	_, first := consumer(behind)
	eventually(t, "the first handles", first.begun)
	stolen := stolenTime(t, server)
	cut.Store(true)
	since := time.Now()
	_, second := consumer(direct)
	eventually(t, "the second takes over", second.begun)
	over.Store(true)
	lost := stolen()
	if _, end := first.get(); end.After(since.Add(lease + lost)) {
		t.Errorf("the first was active for %v, longer than the lease, and the machine stood still for %v", end.Sub(since), lost)
	}
	begin, _ := second.get()
	if _, end := first.get(); !end.Before(begin) {
		t.Errorf("the first was active until %v after the second began", end.Sub(begin))
	}
	if took := begin.Sub(since); took > lease+lost {
		t.Errorf("the second began after %v, later than the lease, and the machine stood still for %v", took, lost)
	}
}

// stolenTime returns a function that tells for how long a busy machine has
// kept this process, or the server, from running since.
func stolenTime(t *testing.T, server *redistest.Server) (stolen func() time.Duration) {
	t.Helper()
	conn, err := redistest.Dial(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	const pause = 10 * time.Millisecond
	told, stop, done := make(chan time.Duration), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for sum := time.Duration(0); ; {
			began := time.Now()
			select {
			case <-stop:
				return
			case told <- sum:
			case <-time.After(pause):
				conn.Do("PING")
				sum += time.Since(began) - pause
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
		conn.Close()
	})
	return func() time.Duration {
		time.Sleep(2 * pause) // what stands still now is counted then
		return <-told
	}
}

// span is the time from the first to the last call of a handler.
type span struct {
	mu         sync.Mutex
	begin, end time.Time
}

func (s *span) extend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end = time.Now()
	if s.begin.IsZero() {
		s.begin = s.end
	}
}

func (s *span) get() (begin, end time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begin, s.end
}

func (s *span) begun() bool {
	begin, _ := s.get()
	return !begin.IsZero()
}

// startProxy returns the address of a proxy before the server that passes
// nothing on while cut is set.
func startProxy(t *testing.T, server *redistest.Server, cut *atomic.Bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	pass := func(to, from net.Conn) {
		defer to.Close()
		_, _ = io.Copy(writerFunc(func(b []byte) (int, error) {
			if cut.Load() {
				return len(b), nil
			}
			return to.Write(b)
		}), from)
	}
	wg.Go(func() {
		for {
			down, err := listener.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", server.Addr())
			if err != nil {
				down.Close()
				continue
			}
			wg.Go(func() { pass(up, down) })
			wg.Go(func() { pass(down, up) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		wg.Wait()
	})
	return listener.Addr().String()
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }
