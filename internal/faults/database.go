package faults

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/freshet/freshet/internal/fake"
)

// What happens to the database that handlers write to.
var databaseFaults = []fault{
	{"F38", "the database of a copy takes no writes", true, databaseLocked},
	{"F39", "the transaction is committed, the acknowledgment lost", true, ackLost},
}

// databaseLocked compares the copy of a freshet run whose database could not
// be written to again and again with the copy of one that nobody disturbed.
func databaseLocked(t *trial) {
	server := t.redis()
	bus := t.bus(server.URL())
	suite := fake.New(t.rand.Uint64(), []string{"acme", "globex"})
	path := func(group string) string { return t.file(group + ".db") }
	run := func(group string, more ...string) *worker {
		return t.process(t.binary(), append([]string{"run", "--redis", server.URL(), "--allow-no-persistence", "--group", group, "--replica", "sqlite://" + path(group),
			"--handler-timeout", "1s", "--lease", "2s", "--max-attempts", "3"}, more...)...)
	}
	publish := func(n int) {
		for range n {
			_, err := bus.PublishMessage(t.ctx, suite.Next())
			t.must(err)
		}
		t.published += n
	}
	w := run("disturbed")
	publish(200)
	t.until("the copy is begun", 20*time.Second, func() bool { return strings.Contains(w.log.String(), `"consuming"`) })
	t.copied(server, "disturbed")
	db, err := sql.Open("sqlite", "file:"+path("disturbed")+"?_txlock=exclusive&_pragma=busy_timeout(10000)")
	t.must(err)
	defer db.Close()
	rounds, lock := scaled(t, 5, 1), scaled(t, 15*time.Second, 6*time.Second)
	for range rounds {
		tx, err := db.BeginTx(t.ctx, nil)
		t.must(err)
		locked := time.Now()
		publish(300)
		t.pass(lock - time.Since(locked))
		t.check(t.behind(server, "disturbed"), "the copy was written to while it was locked")
		t.must(tx.Rollback())
		free := time.Now()
		t.copied(server, "disturbed")
		t.recovered("catching up", time.Since(free), 31*time.Second)
	}
	t.check(strings.Contains(w.log.String(), "paused"), "the outage was not noticed")
	t.signal(w, syscall.SIGTERM)
	t.until("the copy's process ends", 30*time.Second, w.ended)
	t.check(w.cmd.ProcessState.ExitCode() == 0, "exit code %d", w.cmd.ProcessState.ExitCode())
	w = run("undisturbed", "--drain")
	t.until("the other copy is made", 60*time.Second, w.ended)
	letters := t.do(server, "KEYS", "{*}:dlq:disturbed").([]any)
	t.check(len(letters) == 0, "dead letters on %v", letters)
	missing := difference(t.rows(path("undisturbed")), t.rows(path("disturbed")))
	t.lost = len(missing)
	t.check(len(missing) == 0, "rows that only the undisturbed copy has, such as %s", slices.Concat(missing, []string{""})[0])
	more := difference(t.rows(path("disturbed")), t.rows(path("undisturbed")))
	t.check(len(more) == 0, "rows that only the disturbed copy has, such as %s", slices.Concat(more, []string{""})[0])
	t.note("locked %d times for %v; the copy is that of an undisturbed run, row for row", rounds, lock)
}

// copied waits until a group has settled everything.
func (t *trial) copied(server server, group string) {
	t.until("the copy is up to date", 60*time.Second, func() bool { return !t.behind(server, group) })
}

// behind reports whether a group has something to settle on any stream.
func (t *trial) behind(server server, group string) bool {
	return slices.ContainsFunc(t.do(server, "KEYS", "*").([]any), func(key any) bool {
		stream := key.(string)
		return !strings.HasPrefix(stream, "freshet:") && !strings.HasPrefix(stream, "{") && !isSettled(server, stream, group)
	})
}

// rows returns all rows of all tables of a copy as text.
func (t *trial) rows(path string) (all []string) {
	db, err := sql.Open("sqlite", path)
	t.must(err)
	defer db.Close()
	for _, table := range t.query(db, `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%'`) {
		for _, row := range t.query(db, `SELECT * FROM `+table) {
			all = append(all, table+": "+row)
		}
	}
	slices.Sort(all)
	return all
}

func (t *trial) query(db *sql.DB, query string) (lines []string) {
	result, err := db.QueryContext(t.ctx, query)
	t.must(err)
	defer result.Close()
	columns, err := result.Columns()
	t.must(err)
	for result.Next() {
		cells, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range cells {
			into[i] = &cells[i]
		}
		t.must(result.Scan(into...))
		for i, cell := range cells {
			cells[i] = fmt.Sprint(cell)
		}
		line := ""
		for i, cell := range cells {
			line += strings.Repeat(" | ", min(i, 1)) + cell.(string)
		}
		lines = append(lines, line)
	}
	t.must(result.Err())
	return lines
}

// difference returns the rows of a sorted list that another lacks.
func difference(of, from []string) (missing []string) {
	for _, row := range of {
		if _, found := slices.BinarySearch(from, row); !found {
			missing = append(missing, row)
		}
	}
	return missing
}

func ackLost(t *trial) {
	server := t.redis()
	p := t.proxy(server.Addr())
	j := &journal{path: t.file("journal")}
	cfg := t.robust(p.url(), j)
	l := t.load(server.URL())
	rounds := scaled(t, 30, 4)
	for range rounds {
		l.some(t.ctx, 50)
		w := t.unstarted(cfg)
		p.at(func(command []string) harm {
			if command[0] != "XACK" {
				return none
			}
			w.strike() // its transactions are committed
			return cutBefore
		})
		t.must(w.start())
		t.until("the worker is killed", 20*time.Second, w.ended)
		p.at(nil)
		w = t.worker(cfg)
		t.settled(server, group, 20*time.Second)
		w.kill()
	}
	t.noneLost(server, group, l, j)
	t.onceEach(cfg.Table, j)
	t.check(t.twice > 0, "nothing was delivered twice")
	t.note("%d kills at the acknowledgment; %d events were delivered again, each is in the table once", rounds, t.twice)
}
