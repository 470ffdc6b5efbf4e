package inbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inbox"
)

func TestSQLite(t *testing.T) {
	testInbox(t, func(t *testing.T) *sql.DB {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+
			"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_txlock=immediate")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	})
}

// testInbox is what an inbox does on any database.
func testInbox(t *testing.T, open func(*testing.T) *sql.DB) {
	migrated := func(t *testing.T) *sql.DB {
		db := open(t)
		for range 2 { // the second time finds it there
			if err := inbox.Migrate(t.Context(), db); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE effects (name TEXT)"); err != nil {
			t.Fatal(err)
		}
		return db
	}

	t.Run("once", func(t *testing.T) {
		db := migrated(t)
		event := envelope("acme", "evt_1", events.UserCreated{})
		same := envelope("acme", "evt_1", events.UserCreated{})
		same.Stream, same.ID = "another", "2-0"
		if !once(t, db, "", event) {
			t.Error("the first time is not the first")
		}
		for _, again := range []*events.Envelope{event, same} {
			if once(t, db, "", again) {
				t.Error("the second time is the first")
			}
		}
	})

	t.Run("what makes events differ", func(t *testing.T) {
		db := migrated(t)
		unknown := envelope("acme", "evt_1", nil)
		unknown.WireType = "user.imported"
		for _, c := range []struct {
			name    string
			handler string
			event   *events.Envelope
			first   bool
		}{
			{"an event", "", envelope("acme", "evt_1", events.UserCreated{}), true},
			{"another identity", "", envelope("acme", "evt_2", events.UserCreated{}), true},
			{"another tenant", "", envelope("globex", "evt_1", events.UserCreated{}), true},
			{"another type", "", envelope("acme", "evt_1", events.UserDeleted{}), true},
			{"a type that nobody knows", "", unknown, true},
			{"another handler", "billing", envelope("acme", "evt_1", events.UserCreated{}), true},
			{"that handler again", "billing", envelope("acme", "evt_1", events.UserCreated{}), false},
			{"an allocation", "", envelope("acme", "alloc_1", events.CreditAllocated{}), true},
			{"its copy on the sync stream", "", envelope("acme", "alloc_1", events.CreditAllocatedSync{}), false},
		} {
			if got := once(t, db, c.handler, c.event); got != c.first {
				t.Errorf("%s: first = %v, want %v", c.name, got, c.first)
			}
		}
	})

	t.Run("rolled back", func(t *testing.T) {
		db := migrated(t)
		event := envelope("acme", "evt_1", events.UserCreated{})
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if first, err := inbox.Once(t.Context(), tx, event); err != nil || !first {
			t.Fatal(first, err)
		}
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if !once(t, db, "", event) {
			t.Error("a rolled back transaction left a record")
		}
	})

	t.Run("many at once", func(t *testing.T) {
		db := migrated(t)
		var wg sync.WaitGroup
		for worker := range 8 {
			wg.Go(func() {
				for i := range 20 {
					event := envelope("acme", fmt.Sprintf("evt_%d", i), events.UserCreated{})
					if err := effect(t.Context(), db, event); err != nil {
						t.Errorf("worker %d: %v", worker, err)
					}
				}
			})
		}
		wg.Wait()
		var effects, different int
		if err := db.QueryRow("SELECT count(*), count(DISTINCT name) FROM effects").Scan(&effects, &different); err != nil {
			t.Fatal(err)
		}
		if effects != 20 || different != 20 {
			t.Errorf("%d effects of %d events, want 20 of 20", effects, different)
		}
	})

	t.Run("prune", func(t *testing.T) {
		db := migrated(t)
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 2500 {
			if _, err := inbox.Once(t.Context(), tx, envelope("acme", fmt.Sprintf("evt_%d", i), events.UserCreated{})); err != nil {
				t.Fatal(err)
			}
		}
		old := time.Now().Add(-40 * 24 * time.Hour).UnixMilli()
		if _, err := tx.Exec("UPDATE freshet_inbox SET handled_at = $1 WHERE identity <> 'evt_7'", old); err != nil {
			t.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		for _, want := range []int64{2499, 0} {
			if n, err := inbox.Prune(t.Context(), db, 30*24*time.Hour); err != nil || n != want {
				t.Fatalf("pruned %d, %v; want %d", n, err, want)
			}
		}
		if once(t, db, "", envelope("acme", "evt_7", events.UserCreated{})) {
			t.Error("a young record was pruned")
		}
		if !once(t, db, "", envelope("acme", "evt_8", events.UserCreated{})) {
			t.Error("an old record is still there")
		}
	})

	t.Run("errors name the event", func(t *testing.T) {
		db := open(t) // not migrated
		tx, err := db.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		for _, event := range []*events.Envelope{envelope("acme", "", events.UserCreated{}), envelope("acme", "evt_1", events.UserCreated{})} {
			first, err := inbox.Once(t.Context(), tx, event)
			if first || err == nil || len(err.Error()) < 20 || err.Error()[:20] != "inbox: a:stream/1-0:" {
				t.Errorf("got %v, %v", first, err)
			}
		}
	})
}

func envelope(tenant, identity string, p events.Payload) *events.Envelope {
	env := &events.Envelope{Stream: "a:stream", ID: "1-0", Tenant: tenant, Identity: identity}
	if p != nil {
		env.Type, env.WireType = p.Type(), p.Type().Name
	}
	return env
}

// once asks in a transaction of its own, and commits.
func once(t *testing.T, db *sql.DB, handler string, event *events.Envelope) bool {
	t.Helper()
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	first, err := inbox.OnceFor(t.Context(), tx, handler, event)
	if err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return first
}

// effect is a handler as it should be written.
func effect(ctx context.Context, db *sql.DB, event *events.Envelope) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	first, err := inbox.Once(ctx, tx, event)
	if err != nil || !first {
		return err
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO effects (name) VALUES ($1)", event.Identity); err != nil {
		return err
	}
	return tx.Commit()
}
