package delivery

import (
	"context"
	"sync"
	"time"
)

// limited is a context with a deadline whose timer is made only when somebody
// waits for it: most handlers end long before, and never ask.
type limited struct {
	parent   context.Context
	deadline time.Time

	mu     sync.Mutex
	err    error           // how it has ended, as far as anybody asked
	inner  context.Context // made by the first Done
	cancel context.CancelFunc
}

// limit returns a context that ends with its parent, after d, and when end is
// called, which must be. The parent has no deadline.
func limit(parent context.Context, d time.Duration) *limited {
	return &limited{parent: parent, deadline: time.Now().Add(d)}
}

// contexts makes contexts of calls, several with one allocation. None is used
// twice: whoever keeps one must find that it has ended.
type contexts struct{ unused []limited }

func (c *contexts) next(parent context.Context, deadline time.Time) *limited {
	if len(c.unused) == 0 {
		c.unused = make([]limited, 16)
	}
	l := &c.unused[0]
	c.unused = c.unused[1:]
	l.parent, l.deadline = parent, deadline
	return l
}

func (l *limited) Deadline() (time.Time, bool) { return l.deadline, true }

func (l *limited) Done() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.inner == nil {
		l.inner, l.cancel = context.WithDeadline(l.parent, l.deadline)
		if l.err != nil {
			l.cancel()
		}
	}
	return l.inner.Done()
}

func (l *limited) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.err != nil:
	case l.inner != nil:
		l.err = l.inner.Err()
	case l.parent.Err() != nil:
		l.err = l.parent.Err()
	case !time.Now().Before(l.deadline):
		l.err = context.DeadlineExceeded
	}
	return l.err
}

func (l *limited) Value(key any) any {
	l.mu.Lock()
	inner := l.inner
	l.mu.Unlock()
	if inner != nil {
		return inner.Value(key)
	}
	return l.parent.Value(key)
}

// end ends the context, and frees what it has made.
func (l *limited) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.inner != nil:
		l.cancel()
	case l.err == nil:
		l.err = context.Canceled
	}
}
