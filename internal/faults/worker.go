package faults

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	_ "modernc.org/sqlite"

	"github.com/freshet/freshet"
	"github.com/freshet/freshet/inbox"
)

// workerConfig says what a worker does. A worker is a process of its own, so
// that it can be killed: a consumer of load that writes each effect to a
// journal, and once to a table by way of the inbox.
type workerConfig struct {
	URL, Group string
	Journal    string // file
	Table      string // SQLite file; "": none

	Lease, HandlerTimeout, BackoffMin, BackoffMax, DrainTimeout time.Duration
	Concurrency, MaxInFlight, MaxAttempts                       int

	Work     time.Duration // that a handler takes
	Gate     string        // file; handlers wait until it exists
	DieAfter int           // the worker kills itself after so many effects, before it acknowledges the last
	Poison   string        // user whose events fail
	PoisonBy failing       // how
	Down     string        // file; while it exists, all handlers fail...
	DownBy   failing       // ...like this

	Vitals string // file to which the worker writes what it needs
}

// failing is how a handler fails.
type failing string

const (
	byError       failing = "error"
	byPermanent   failing = "permanent"
	byUnavailable failing = "unavailable"
	byPanic       failing = "panic"
)

func (f failing) fail() error {
	err := errors.New("on purpose")
	switch f {
	case byPermanent:
		return freshet.Permanent(err)
	case byUnavailable:
		return freshet.Unavailable(err)
	case byPanic:
		panic(err)
	}
	return err
}

// Work is the process of a worker, to its end. config is what the suite that
// started it says.
func Work(ctx context.Context, config string) error {
	w := &working{}
	if err := json.Unmarshal([]byte(config), &w.cfg); err != nil {
		return err
	}
	w.journal.path = w.cfg.Journal
	if w.cfg.Table != "" {
		var err error
		if w.db, err = openTable(ctx, w.cfg.Table); err != nil {
			return err
		}
		defer w.db.Close()
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	bus, err := freshet.Open(ctx, freshet.Config{URL: w.cfg.URL, App: "worker", Log: log})
	switch {
	case ctx.Err() != nil:
		return nil // told to end while it connected
	case err != nil:
		return err
	}
	defer bus.Close()
	c := bus.Consumer(freshet.ConsumerConfig{
		Group: w.cfg.Group, Streams: loadStreams,
		Lease: w.cfg.Lease, HandlerTimeout: w.cfg.HandlerTimeout,
		BackoffMin: w.cfg.BackoffMin, BackoffMax: w.cfg.BackoffMax, DrainTimeout: w.cfg.DrainTimeout,
		Concurrency: w.cfg.Concurrency, MaxInFlight: w.cfg.MaxInFlight, MaxAttempts: w.cfg.MaxAttempts,
	})
	on(c, w.handle)
	if w.cfg.Vitals != "" {
		go func() {
			if err := recordVitals(ctx, w.cfg.Vitals); err != nil {
				log.Error("vitals", "error", err)
			}
		}()
	}
	err = c.Run(ctx)
	log.Info("counts", "stats", c.Stats())
	return err
}

// working is a worker at work.
type working struct {
	cfg     workerConfig
	journal journal
	db      *sql.DB

	mu      sync.Mutex
	effects int
}

func (w *working) handle(ctx context.Context, d *freshet.Delivery) error {
	if err := w.journal.add(d, false); err != nil {
		return err
	}
	switch {
	case w.cfg.Poison != "" && d.Entity.ID == w.cfg.Poison:
		return w.cfg.PoisonBy.fail()
	case exists(w.cfg.Down):
		return w.cfg.DownBy.fail()
	}
	if err := w.wait(ctx); err != nil {
		return err
	}
	if err := w.journal.add(d, true); err != nil {
		return err
	}
	if w.db != nil {
		if err := once(ctx, w.db, d); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.effects++; w.effects == w.cfg.DieAfter {
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			return err
		}
		select {}
	}
	return nil
}

// wait takes the time that the work takes.
func (w *working) wait(ctx context.Context) error {
	for work := w.cfg.Work; work > 0 || w.cfg.Gate != "" && !exists(w.cfg.Gate); work = 0 {
		select {
		case <-time.After(max(work, 5*time.Millisecond)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func exists(path string) bool {
	if path == "" {
		return false
	}
	_, err := os.Stat(path)
	return err == nil
}

// openTable opens the table of effects that happen once.
func openTable(ctx context.Context, path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(15000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if err := inbox.Migrate(ctx, db); err == nil {
		_, err = db.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS effects (identity TEXT NOT NULL)`)
		if err == nil {
			return db, nil
		}
	}
	db.Close()
	return nil, fmt.Errorf("table of effects: %w", err)
}

// once writes an effect, unless it was written before.
func once(ctx context.Context, db *sql.DB, d *freshet.Delivery) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // fails after the commit
	first, err := inbox.Once(ctx, tx, d.Envelope)
	if err != nil || !first {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO effects (identity) VALUES ($1)`, d.Identity); err != nil {
		return err
	}
	return tx.Commit()
}

// tableCount returns how many rows of effects each identity has.
func (t *trial) tableCount(path string) map[string]int {
	db, err := openTable(t.ctx, path)
	t.must(err)
	defer db.Close()
	rows, err := db.QueryContext(t.ctx, `SELECT identity, count(*) FROM effects GROUP BY identity`)
	t.must(err)
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var id string
		var n int
		t.must(rows.Scan(&id, &n))
		counts[id] = n
	}
	t.must(rows.Err())
	return counts
}

// onceEach checks that the table has each effect of the journal, and once.
func (t *trial) onceEach(table string, j *journal) {
	counts := t.tableCount(table)
	for id, n := range counts {
		t.check(n == 1, "event %s is in the table %d times", id, n)
	}
	for id := range j.count() {
		t.check(counts[id] > 0, "event %s is not in the table", id)
	}
}

// worker is a process that the trial has started.
type worker struct {
	cmd      *exec.Cmd
	log      output
	starting sync.Mutex
	end      chan struct{} // closed when it has ended
}

// worker starts a worker. It is killed at the end of the trial.
func (t *trial) worker(cfg workerConfig) *worker {
	w := t.unstarted(cfg)
	t.must(w.start())
	return w
}

// unstarted is worker for those who need to know it before it does anything.
func (t *trial) unstarted(cfg workerConfig) *worker {
	config, err := json.Marshal(cfg)
	t.must(err)
	self, err := os.Executable()
	t.must(err)
	return t.prepare(self, "worker", string(config))
}

// process starts any program.
func (t *trial) process(name string, args ...string) *worker {
	w := t.prepare(name, args...)
	t.must(w.start())
	return w
}

func (t *trial) prepare(name string, args ...string) *worker {
	w := &worker{cmd: exec.Command(name, args...), end: make(chan struct{})}
	w.cmd.Stderr = &w.log
	t.atEnd(func() {
		if w.cmd.Process != nil {
			w.kill()
		}
	})
	return w
}

func (w *worker) start() error {
	w.starting.Lock()
	defer w.starting.Unlock()
	if err := w.cmd.Start(); err != nil {
		return err
	}
	go func() {
		_ = w.cmd.Wait() // how it ended is in its state
		close(w.end)
	}()
	return nil
}

// strike kills the process without waiting for its end, as of any goroutine.
func (w *worker) strike() {
	w.starting.Lock()
	defer w.starting.Unlock()
	_ = w.cmd.Process.Kill() // fails when it has ended
}

// kill ends the process at once and waits for its end.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill() // fails when it has ended
	<-w.end
}

func (t *trial) signal(w *worker, sig os.Signal) { t.must(w.cmd.Process.Signal(sig)) }

func (w *worker) ended() bool {
	select {
	case <-w.end:
		return true
	default:
		return false
	}
}

// output collects what a process writes while others look.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// warnings returns the lines of a log that are more than information.
func (o *output) warnings() (lines []string) {
	for line := range strings.Lines(o.String()) {
		if strings.Contains(line, "level=WARN") || strings.Contains(line, "level=ERROR") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}
