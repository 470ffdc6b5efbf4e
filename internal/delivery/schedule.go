package delivery

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// backoff returns the wait after the nth failure in a row: exponential from
// lowest to highest, with full jitter, so that what failed together does not
// come back together.
func backoff(n int, lowest, highest time.Duration) time.Duration {
	return 1 + rand.N(doubled(n, lowest, highest))
}

// retryWait returns the wait after the nth failure in a row of a transport
// call: 50 ms to 2 s, the upper half of it at random.
func retryWait(n int) time.Duration {
	d := doubled(n, 50*time.Millisecond, 2*time.Second)
	return d/2 + rand.N(d/2)
}

// readWait is retryWait for reads. Those of the first ten seconds are made often:
// a server that was replaced is noticed soon.
func readWait(n int) time.Duration {
	if n > 25 {
		return retryWait(n)
	}
	return min(retryWait(n), 400*time.Millisecond)
}

// doubled returns lowest doubled n-1 times, at most highest.
func doubled(n int, lowest, highest time.Duration) time.Duration {
	d := lowest
	for range n - 1 {
		if d >= highest/2 {
			return highest
		}
		d *= 2
	}
	return d
}

// timers run functions of the loop at their times.
type timers struct {
	queue timerQueue
	timer *time.Timer
	set   time.Time // what timer is set to
}

type timed struct {
	at  time.Time
	run func()
}

func (t *timers) add(at time.Time, f func()) { heap.Push(&t.queue, timed{at, f}) }

// wake returns a channel that receives when the next function is due.
func (t *timers) wake() <-chan time.Time {
	if len(t.queue) == 0 {
		return nil
	}
	next := t.queue[0].at
	switch {
	case t.timer == nil:
		t.timer = time.NewTimer(time.Until(next))
	case !next.Equal(t.set):
		t.timer.Reset(time.Until(next))
	}
	t.set = next
	return t.timer.C
}

// run runs all functions that are due.
func (t *timers) run() {
	t.set = time.Time{}
	now := time.Now()
	for len(t.queue) > 0 && !t.queue[0].at.After(now) {
		heap.Pop(&t.queue).(timed).run()
	}
}

type timerQueue []timed

func (q timerQueue) Len() int           { return len(q) }
func (q timerQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q timerQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *timerQueue) Push(x any)        { *q = append(*q, x.(timed)) }
func (q *timerQueue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	(*q)[last] = timed{}
	*q = (*q)[:last]
	return x
}
