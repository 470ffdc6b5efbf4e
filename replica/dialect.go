package replica

import (
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // registers the driver "sqlite"
)

//go:embed migrations
var migrations embed.FS

// dialect is what differs between databases. All else is in what SQLite and
// PostgreSQL have in common: $1 parameters, row values, ON CONFLICT DO UPDATE.
type dialect struct {
	name       goose.Dialect
	migrations string // directory
	begin      string // a transaction that writes
	changes    string // query of a number that differs once another connection has written
	parameter  func(n int) string
}

var sqlite = dialect{
	name:       goose.DialectSQLite3,
	migrations: "migrations/sqlite",
	begin:      "BEGIN IMMEDIATE",
	changes:    "PRAGMA data_version",
	parameter:  func(int) string { return "?" }, // $n works, but costs a search of all n
}

// open opens the database that dsn names. Errors do not show dsn, which may
// hold a password.
func open(dsn string) (*sql.DB, dialect, error) {
	scheme, rest, _ := strings.Cut(dsn, "://")
	switch scheme {
	case "sqlite":
		if rest == "" || strings.HasPrefix(rest, ":memory:") {
			return nil, dialect{}, errors.New("replica: sqlite:// needs a file: events are acknowledged once they are in the copy")
		}
		db, err := sql.Open("sqlite", sqliteURI(rest))
		if err != nil {
			return nil, dialect{}, fmt.Errorf("replica: %s: %w", rest, err)
		}
		return db, sqlite, nil
	case "postgres", "postgresql":
		return nil, dialect{}, errors.New("replica: postgres is not supported yet; use sqlite://FILE")
	}
	return nil, dialect{}, errors.New("replica: not a database this can use; want sqlite://FILE")
}

// sqliteURI asks for what keeps a committed batch: in WAL mode a transaction
// survives the end of the process in any case, and with synchronous=FULL, one
// fsync a batch, a power failure too. Redis is told "done" after the commit,
// so nobody would send the batch again.
func sqliteURI(file string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath()}
	u.RawQuery = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)" +
		// Keys are random, so a batch touches pages all over the file: they are
		// kept in memory (64 MiB at most) and written back less often than after
		// the default of 1,000 pages.
		"&_pragma=cache_size(-65536)&_pragma=wal_autocheckpoint(8000)&_txlock=immediate"
	return u.String()
}
