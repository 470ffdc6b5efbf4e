package delivery

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Engine consumes a group until it is told to stop. Make one with New and
// call Run once.
//
// One goroutine, the loop of Run, owns all state. What has to wait, or takes
// long, runs on goroutines of its own that touch nothing of the engine: calls
// of the transport and the decoding hand the loop a function to run with the
// result, calls of handlers go through the lists of the workers.
type Engine struct {
	cfg   Config
	log   *slog.Logger
	stats counters
	ran   atomic.Bool

	made     time.Time
	beat     atomic.Int64 // when the loop last turned, since made; -1 once it has ended
	draining atomic.Bool
	paused   trouble

	aborted context.Context // ends by Abort
	abort   context.CancelCauseFunc

	life     context.Context // ends with Run; of every call
	handling context.Context // ends with a drain that lasted too long; of handlers
	cancel   context.CancelCauseFunc
	results  chan func()
	over     chan struct{}  // closed when the loop takes no more results
	tasks    sync.WaitGroup // goroutines that hand in a result
	decoding sync.Mutex     // for Config.Decode and Route are called from one goroutine at a time

	// What follows is the loop's.

	working int // transport calls under way
	timers  timers
	inHand  int // entries: read and not settled
	lanes   lanes
	ready   []starter // lanes and batchers that wait for a slot
	batches map[*Route]*batcher
	calls   calls
	workers *workers
	owed    int // entries that are done but not acknowledged yet
	reader  reader
	outage  outage
	acks    acks
	drain   drain

	beginning, burying, announcing, renewing trouble
}

// New checks the configuration and returns an engine that has not started.
// The error names the rule that is broken.
func New(cfg Config) (*Engine, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	e := &Engine{
		cfg:     cfg,
		log:     cfg.Log,
		made:    time.Now(),
		results: make(chan func(), 64),
		over:    make(chan struct{}),
		lanes:   newLanes(),
		batches: map[*Route]*batcher{},
		outage:  outage{failing: map[laneKey]bool{}},
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	e.workers = newWorkers(cfg.Concurrency, func(w *worker) { e.tasks.Go(func() { e.work(w) }) })
	e.aborted, e.abort = context.WithCancelCause(context.Background())
	return e, nil
}

// Run consumes until ctx ends, then finishes what is in hand and ready within
// Config.DrainTimeout. It returns nil, or an error that says how many entries
// it could not finish in time; those stay pending, as do entries that wait
// for a retry. With Config.StopWhenDrained it also returns nil when everything
// is settled. Failures of the transport do not end it.
//
// Handlers do not see ctx end, only its values: their contexts end at the
// handler timeout, and when a drain has taken too long.
func (e *Engine) Run(ctx context.Context) error {
	if e.ran.Swap(true) {
		return errors.New("delivery: Run called twice")
	}
	var end context.CancelCauseFunc
	e.life, end = context.WithCancelCause(context.WithoutCancel(ctx))
	e.handling, e.cancel = context.WithCancelCause(e.life)
	stopWatching := context.AfterFunc(e.aborted, func() { end(context.Cause(e.aborted)) })
	defer stopWatching()

	err := e.loop(ctx)

	e.beat.Store(-1)
	end(errEnded)
	e.workers.close()
	close(e.over)
	e.awaitTasks(lastWait)
	return err
}

// Abort ends Run at once, with cause: handlers are cancelled and nothing more
// is settled, because another consumer has the group now. What is in hand
// stays pending.
func (e *Engine) Abort(cause error) { e.abort(cause) }

// Stats returns the counts so far. It may be called at any time.
func (e *Engine) Stats() Stats { return e.stats.load() }

var errEnded = errors.New("the consumer has stopped")

// lastWait is how long cancelled handlers are waited for.
const lastWait = time.Second

func (e *Engine) loop(ctx context.Context) error {
	e.startReading()
	e.after(e.cfg.Lease/3, e.renew)
	stop := ctx.Done()
	for {
		e.beat.Store(int64(max(1, time.Since(e.made))))
		e.callsEnded()
		e.fetch()
		e.dispatch()
		if done, err := e.finished(); done {
			return err
		}
		select {
		case f := <-e.results:
			f()
			e.runResults()
		case <-e.workers.news:
		case <-e.timers.wake():
			e.timers.run()
		case <-stop:
			stop = nil
			e.startDrain()
		case <-e.life.Done():
			return context.Cause(e.life)
		}
	}
}

// runResults runs the results that have come in meanwhile.
func (e *Engine) runResults() {
	for range cap(e.results) {
		select {
		case f := <-e.results:
			f()
		default:
			return
		}
	}
}

// async makes a call of the transport on a goroutine of its own, and runs
// what it returns in the loop.
func (e *Engine) async(call func() (then func())) {
	e.working++
	e.tasks.Go(func() {
		then := call()
		e.post(func() {
			e.working--
			then()
		})
	})
}

// post hands the loop a function to run.
func (e *Engine) post(f func()) {
	select {
	case e.results <- f:
	case <-e.over:
	}
}

// after has the loop run f after d.
func (e *Engine) after(d time.Duration, f func()) { e.timers.add(time.Now().Add(d), f) }

// transportContext bounds a call of the transport, so that a connection that
// died silently costs a retry and not the lease.
func (e *Engine) transportContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(e.life, e.patience())
}

func (e *Engine) patience() time.Duration {
	return max(time.Second, min(e.cfg.Lease/6, 10*time.Second))
}

func (e *Engine) awaitTasks(atMost time.Duration) {
	done := make(chan struct{})
	go func() {
		e.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(atMost):
	}
}

// counters are the Stats while they change.
type counters struct {
	handled, ignored, filtered, deadLettered, retried, lostTrimmed atomic.Int64
}

func (c *counters) load() Stats {
	return Stats{
		Handled:      c.handled.Load(),
		Ignored:      c.ignored.Load(),
		Filtered:     c.filtered.Load(),
		DeadLettered: c.deadLettered.Load(),
		Retried:      c.retried.Load(),
		LostTrimmed:  c.lostTrimmed.Load(),
	}
}
