package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/freshet/freshet/events"
)

// The statements are in what SQLite and PostgreSQL have in common; both take
// numbered parameters in the form $1.
const (
	create = `CREATE TABLE IF NOT EXISTS freshet_inbox (
	tenant_id TEXT NOT NULL,
	fact TEXT NOT NULL,
	handler TEXT NOT NULL,
	identity TEXT NOT NULL,
	handled_at BIGINT NOT NULL,
	PRIMARY KEY (tenant_id, fact, handler, identity)
)`
	index  = `CREATE INDEX IF NOT EXISTS freshet_inbox_handled_at ON freshet_inbox (handled_at)`
	insert = `INSERT INTO freshet_inbox (tenant_id, fact, handler, identity, handled_at)
VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`
	prune = `DELETE FROM freshet_inbox WHERE (tenant_id, fact, handler, identity) IN (
	SELECT tenant_id, fact, handler, identity FROM freshet_inbox WHERE handled_at < $1 LIMIT $2)`
)

// pruneRows bounds the rows that one statement of Prune deletes, and so how
// long it keeps handlers from writing.
const pruneRows = 1000

// Tx is the transaction to record events in: a *sql.Tx, or a *sql.Conn in a
// transaction.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Migrate creates the table freshet_inbox where it does not exist.
func Migrate(ctx context.Context, db *sql.DB) error {
	for _, statement := range []string{create, index} {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("inbox: migrate: %w", err)
		}
	}
	return nil
}

// Once records the event in tx and tells whether it is the first time. When
// it is, do the work in tx too and commit; when it is not, the work is done:
// return without an error. A rolled back transaction leaves no record.
//
// Two transactions with one event do not both get true: the second waits for
// the first to end, or fails with the database's error for it.
//
// Handlers that share a database need [OnceFor].
func Once(ctx context.Context, tx Tx, event *events.Envelope) (first bool, err error) {
	return OnceFor(ctx, tx, "", event)
}

// OnceFor is Once for one of several handlers of the same events that keep
// their tables in one database. handler names it, and must stay the same.
func OnceFor(ctx context.Context, tx Tx, handler string, event *events.Envelope) (first bool, err error) {
	if event.Identity == "" {
		return false, fmt.Errorf("inbox: %s/%s: %w", event.Stream, event.ID, errNoIdentity)
	}
	fact := event.TypeName()
	if event.Type != nil && event.Type.Fact != "" {
		fact = event.Type.Fact
	}
	result, err := tx.ExecContext(ctx, insert, event.Tenant, fact, handler, event.Identity, time.Now().UnixMilli())
	if err != nil {
		return false, fmt.Errorf("inbox: %s/%s: %w", event.Stream, event.ID, err)
	}
	rows, err := result.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("inbox: %s/%s: %w", event.Stream, event.ID, err)
	}
	return rows == 1, nil
}

var errNoIdentity = errors.New("the event has no identity")

// Prune forgets events that were handled longer ago than olderThan, and
// returns how many. Keep them for as long as they may come again: at least the
// retention of the streams, 30 days for the suite's.
func Prune(ctx context.Context, db *sql.DB, olderThan time.Duration) (int64, error) {
	before := time.Now().Add(-olderThan).UnixMilli()
	var total int64
	for {
		result, err := db.ExecContext(ctx, prune, before, pruneRows)
		if err != nil {
			return total, fmt.Errorf("inbox: prune: %w", err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return total, fmt.Errorf("inbox: prune: %w", err)
		}
		total += n
		if n < pruneRows {
			return total, nil
		}
	}
}
