package inbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/inbox"
)

func ExampleOnce() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "inbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "app.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if err := inbox.Migrate(ctx, db); err != nil {
		log.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, "CREATE TABLE mails (recipient TEXT)"); err != nil {
		log.Fatal(err)
	}

	// A handler has the envelope as e.Envelope.
	handle := func(ctx context.Context, env *events.Envelope) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		first, err := inbox.Once(ctx, tx, env)
		if err != nil || !first {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO mails VALUES ('ada@example.com')"); err != nil {
			return err
		}
		return tx.Commit()
	}

	env := &events.Envelope{Type: events.UserCreated{}.Type(), Tenant: "acme", Identity: "1764842400000-x1"}
	for range 3 { // delivered three times
		if err := handle(ctx, env); err != nil {
			log.Fatal(err)
		}
	}
	var mails int
	if err := db.QueryRow("SELECT count(*) FROM mails").Scan(&mails); err != nil {
		log.Fatal(err)
	}
	fmt.Println("mails:", mails)
	// Output: mails: 1
}

// Two handlers keep their tables in one database, and each has its effect once.
// What cannot come again any more is forgotten.
func ExampleOnceFor() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "inbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", filepath.Join(dir, "app.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if err := inbox.Migrate(ctx, db); err != nil {
		log.Fatal(err)
	}

	env := &events.Envelope{Type: events.UserCreated{}.Type(), Tenant: "acme", Identity: "1764842400000-x1"}
	for _, handler := range []string{"mails", "search", "mails"} {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			log.Fatal(err)
		}
		first, err := inbox.OnceFor(ctx, tx, handler, env)
		if err != nil {
			log.Fatal(err)
		}
		if err := tx.Commit(); err != nil {
			log.Fatal(err)
		}
		fmt.Println(handler, "first:", first)
	}
	forgotten, err := inbox.Prune(ctx, db, 30*24*time.Hour) // such as once a day
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("forgotten:", forgotten)
	// Output:
	// mails first: true
	// search first: true
	// mails first: false
	// forgotten: 0
}
