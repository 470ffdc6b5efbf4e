package replica

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
)

// OpenToRead opens the copy that dsn names to be queried, and by nothing that
// is done with it is the copy changed. The tables have to be there already.
func OpenToRead(ctx context.Context, dsn string) (*sql.DB, error) {
	file, ok := strings.CutPrefix(dsn, "sqlite://")
	if !ok || file == "" {
		return nil, errors.New("replica: not a database this can read; want sqlite://FILE")
	}
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("replica: %w", err)
	}
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: file}).EscapedPath()}
	u.RawQuery = "mode=ro&_pragma=busy_timeout(2000)&_pragma=query_only(1)"
	db, err := sql.Open("sqlite", u.String())
	if err != nil {
		return nil, fmt.Errorf("replica: %s: %w", file, err)
	}
	db.SetMaxOpenConns(8)
	if _, err := db.ExecContext(ctx, "SELECT 1 FROM users, roles, organizations, credit_balances LIMIT 0"); err != nil {
		db.Close()
		return nil, fmt.Errorf("replica: %s: %w", file, err)
	}
	return db, nil
}
