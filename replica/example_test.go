package replica_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/freshet/freshet/events"
	"github.com/freshet/freshet/replica"
)

// A consumer hands its batches to Apply:
//
//	freshet.OnEnvelopes(consumer, store.Types(), freshet.BatchConfig{}, store.Apply)
//
// Here the deletion of a user arrives before the creation.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "replica")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := replica.Open(ctx, "sqlite://"+filepath.Join(dir, "suite.db"), replica.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	created := &events.Envelope{
		Stream: "crm:sync:user:user_created", ID: "1764842400000-0", Identity: "1764842400000-x1",
		Type: events.UserCreated{}.Type(), Tenant: "acme", Time: time.UnixMilli(1764842400000),
		Data: json.RawMessage(`{"userId":"u1","email":"ada@example.com"}`),
	}
	deleted := &events.Envelope{
		Stream: "crm:sync:user:user_deleted", ID: "1764842460000-0", Identity: "1764842460000-x2",
		Type: events.UserDeleted{}.Type(), Tenant: "acme", Time: time.UnixMilli(1764842460000),
		Data: json.RawMessage(`{"userId":"u1","reason":"user_deleted_permanently"}`),
	}
	if err := store.Apply(ctx, []*events.Envelope{deleted, created, deleted}); err != nil {
		log.Fatal(err)
	}

	var email, deletedAt, from string
	err = store.DB().QueryRow(`SELECT email, deleted_at, updated_from FROM users WHERE tenant_id = 'acme'`).
		Scan(&email, &deletedAt, &from)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(email, "deleted", deletedAt)
	fmt.Println("by", from)
	// Output:
	// ada@example.com deleted 2025-12-04T10:01:00.000Z
	// by 1764842460000-x2 @ 2025-12-04T10:01:00.000Z
}

// Another program reads the copy, while one keeps it.
func ExampleOpenToRead() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "replica")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	dsn := "sqlite://" + filepath.Join(dir, "suite.db")
	store, err := replica.Open(ctx, dsn, replica.Options{}) // as freshet run does
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	db, err := replica.OpenToRead(ctx, dsn)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	var users int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM users WHERE tenant_id = $1", "acme").Scan(&users); err != nil {
		log.Fatal(err)
	}
	_, err = db.ExecContext(ctx, "DELETE FROM users")
	fmt.Println("users:", users, "changed:", err == nil)
	// Output: users: 0 changed: false
}
